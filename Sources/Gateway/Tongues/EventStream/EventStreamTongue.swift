import JobFeedProtocol
import NIOCore
import WebSocketTransport

/// One subscription as a stream of events, whose client says nothing after its request.
final class EventStreamTongue: Tongue {
    /// The id that all objects of a stream carry.
    static let subscriptionID = "feed"

    /// An error ends the only subscription, and with it the stream.
    private(set) var isOver = false

    func turns(after text: ByteBuffer) throws(CommandError) -> [Turn] { [] }

    func turns(after answer: Answer) -> [Turn] {
        guard let json = NativeTongue.json(answer) else { return [] }
        if case .error = answer { self.isOver = true }
        let (type, cursor) = Self.event(answer)
        return [.tell(EventStreamText.event(type, json, cursor: cursor))]
    }

    func encoding(of request: Subscribe) -> any RowEncoding { EventStreamEncoding() }

    private static func event(_ answer: Answer) -> (type: String, cursor: String?) {
        switch answer {
        case .accepted: ("accepted", nil)
        case .welcome: ("welcome", nil)
        case .subscribed: ("subscribed", nil)
        case .live(_, let cursor): ("live", cursor)
        case .reset: ("reset", nil)
        case .unsubscribed: ("unsubscribed", nil)
        case .authenticated: ("authenticated", nil)
        case .pong: ("pong", nil)
        case .heartbeat(_, _, let cursor): ("heartbeat", cursor)
        case .error: ("error", nil)
        }
    }

    /// What a WebSocket's close frame says.
    static func closing(code: UInt16, reason: String) -> OutboundFrame {
        let mayReturn = CloseCode.mayReconnect(code)
        let advice = mayReturn ? "connect again, with the last id" : "do not connect again before something is changed"
        var writer = MessageWriter()
        writer.beginObject()
        writer.member("type", "error")
        writer.member("id", Self.subscriptionID)
        writer.member("code", CloseCode(rawValue: code)?.reason ?? "closed")
        writer.member("message", "\(reason): \(advice)")
        writer.member("retry", mayReturn)
        writer.member("close", Int(code))
        writer.endObject()
        return EventStreamText.event("error", writer.bytes)
    }
}

@available(*, unavailable)
extension EventStreamTongue: Sendable {}
