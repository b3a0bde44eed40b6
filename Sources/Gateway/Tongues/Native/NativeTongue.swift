import JobFeedProtocol
import NIOCore
import WebSocketTransport

/// `jobfeed.v1`, one JSON object in each text frame; see `docs/protocol.md`.
final class NativeTongue: Tongue, Sendable {
    static let shared = NativeTongue()

    func turns(after text: ByteBuffer) throws(CommandError) -> [Turn] {
        [.ask(try Command.parse(Array(text.readableBytesView)))]
    }

    func turns(after answer: Answer) -> [Turn] {
        guard let json = Self.json(answer) else { return [] }
        return [.tell(OutboundFrame.text(capacity: json.count) { $0.writeBytes(json) })]
    }

    func encoding(of request: Subscribe) -> any RowEncoding { NativeEncoding() }

    /// `nil` when the client is not told.
    static func json(_ answer: Answer) -> [UInt8]? {
        switch answer {
        case .accepted: nil
        case .welcome(let welcome):
            MessageWriter.welcome(
                connection: welcome.connection,
                node: welcome.node,
                user: welcome.identity.user,
                access: welcome.identity.access.rawValue,
                expiresAt: welcome.identity.expiresAtText,
                heartbeatSeconds: welcome.heartbeatSeconds,
                subscriptions: welcome.limits.subscriptions,
                messageBytes: welcome.limits.messageBytes
            )
        case .subscribed(let id, let recovered, let reason):
            MessageWriter.subscribed(id: id, recovered: recovered, reason: reason)
        case .live(let id, let cursor): MessageWriter.live(id: id, cursor: cursor)
        case .reset(let id, let reason): MessageWriter.reset(id: id, reason: reason.rawValue)
        case .unsubscribed(let id): MessageWriter.unsubscribed(id: id)
        case .authenticated(let id, let expiresAt): MessageWriter.authenticated(id: id, expiresAt: expiresAt)
        case .pong(let id): MessageWriter.pong(id: id)
        case .heartbeat(let asOf, let tokenExpiresIn, let cursor):
            MessageWriter.heartbeat(asOf: asOf, tokenExpiresIn: tokenExpiresIn, cursor: cursor)
        case .error(let id, let code, let message): MessageWriter.error(id: id, code: code, message: message)
        }
    }
}
