import NIOCore

@testable import WebSocketTransport

extension ConnectionStateMachine.Close: Equatable {
    var name: String {
        let frame = self.frame.map { "\($0.code) \($0.reason)" } ?? "none"
        return "close \(frame) \(self.after) +\(self.pending.count)"
    }

    static func == (left: Self, right: Self) -> Bool { left.name == right.name }
}

extension OutboundFrame {
    /// The payload of a short unmasked frame.
    var text: String { String(decoding: self.bytes.readableBytesView.dropFirst(2), as: UTF8.self) }
}

extension ConnectionStateMachine.SendAction {
    var name: String {
        switch self {
        case .write(let frame): "write \(frame.text)"
        case .queued: "queued"
        case .drop: "drop"
        case .close(let close): close.name
        }
    }
}

extension ConnectionStateMachine.DrainAction {
    var name: String {
        switch self {
        case .write(let frame): "write \(frame.text)"
        case .sendPong(let payload): "pong \(String(buffer: payload))"
        case .notifyDrained: "drained"
        case .wait: "wait"
        }
    }
}

extension ConnectionStateMachine.FrameAction {
    var name: String {
        switch self {
        case .none: "none"
        case .deliver(let text): "deliver \(String(buffer: text))"
        case .deliverBinary: "binary"
        case .sendPong(let payload): "pong \(String(buffer: payload))"
        case .close(let close): close.name
        case .disconnect: "disconnect"
        }
    }
}

extension ConnectionStateMachine.TickAction {
    var name: String {
        switch self {
        case .none: "none"
        case .sendPing: "ping"
        case .close(let close): close.name
        case .disconnect: "disconnect"
        }
    }
}
