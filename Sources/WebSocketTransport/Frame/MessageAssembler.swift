import NIOCore
import NIOWebSocket

/// Joins frames into messages and refuses what RFC 6455 sections 5 and 8.1 forbid.
struct MessageAssembler {
    enum Event {
        case incomplete
        case text(ByteBuffer)
        case binary
        case ping(ByteBuffer)
        case pong
        case close(CloseFrame?)
    }

    private enum Message {
        case none
        case text(ByteBuffer)
        /// Only the length is kept: nobody reads binary messages here.
        case binary(bytes: Int)
    }

    private let isServer: Bool
    private let maxMessageBytes: Int
    private var message = Message.none

    init(isServer: Bool, maxMessageBytes: Int) {
        self.isServer = isServer
        self.maxMessageBytes = maxMessageBytes
    }

    mutating func frameReceived(_ frame: WebSocketFrame) throws(ProtocolViolation) -> Event {
        guard (frame.maskKey != nil) == self.isServer else {
            throw self.isServer ? .unmaskedClientFrame : .maskedServerFrame
        }
        guard !frame.rsv1, !frame.rsv2, !frame.rsv3 else {
            throw .reservedBits
        }
        switch frame.opcode {
        case .connectionClose, .ping, .pong:
            return try Self.controlFrameReceived(frame)
        case .text, .binary:
            return try self.firstFrameReceived(frame)
        case .continuation:
            return try self.continuationReceived(frame)
        default:
            throw .unknownOpcode(UInt8(webSocketOpcode: frame.opcode))
        }
    }

    private static func controlFrameReceived(_ frame: WebSocketFrame) throws(ProtocolViolation) -> Event {
        guard frame.fin else {
            throw .fragmentedControlFrame
        }
        guard frame.length <= 125 else {
            throw .longControlFrame
        }
        switch frame.opcode {
        case .ping: return .ping(frame.unmaskedData)
        case .pong: return .pong
        default: return .close(try CloseFrame.parse(frame.unmaskedData))
        }
    }

    private mutating func firstFrameReceived(_ frame: WebSocketFrame) throws(ProtocolViolation) -> Event {
        guard case .none = self.message else {
            throw .interleavedMessage
        }
        guard frame.length <= self.maxMessageBytes else {
            throw .tooBig(limit: self.maxMessageBytes)
        }
        if frame.opcode == .binary {
            self.message = .binary(bytes: frame.length)
        } else if frame.fin {
            return try Self.completed(frame.unmaskedData)
        } else {
            // A copy: the payload of a fragment is a slice of the whole receive buffer.
            self.message = .text(ByteBuffer(bytes: frame.unmaskedData.readableBytesView))
        }
        return try frame.fin ? self.finish() : .incomplete
    }

    private mutating func continuationReceived(_ frame: WebSocketFrame) throws(ProtocolViolation) -> Event {
        switch self.message {
        case .none:
            throw .unexpectedContinuation
        case .binary(let bytes):
            guard frame.length <= self.maxMessageBytes - bytes else {
                throw .tooBig(limit: self.maxMessageBytes)
            }
            self.message = .binary(bytes: bytes + frame.length)
        case .text(var text):
            guard frame.length <= self.maxMessageBytes - text.readableBytes else {
                throw .tooBig(limit: self.maxMessageBytes)
            }
            self.message = .none
            text.writeImmutableBuffer(frame.unmaskedData)
            self.message = .text(text)
        }
        return try frame.fin ? self.finish() : .incomplete
    }

    private mutating func finish() throws(ProtocolViolation) -> Event {
        defer { self.message = .none }
        switch self.message {
        case .none: return .incomplete
        case .binary: return .binary
        case .text(let text): return try Self.completed(text)
        }
    }

    private static func completed(_ text: ByteBuffer) throws(ProtocolViolation) -> Event {
        guard text.isValidUTF8 else {
            throw .invalidUTF8
        }
        return .text(text)
    }
}
