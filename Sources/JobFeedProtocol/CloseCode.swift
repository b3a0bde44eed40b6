/// Why a connection was closed; the one table of codes, their reasons, and whether the client may come back.
public enum CloseCode: UInt16, Sendable, Equatable, CaseIterable {
    /// The peer is done.
    case normal = 1000
    /// The node drains; another one, or the same one later, goes on from the cursor.
    case goingAway = 1001
    /// A message is larger than the peer accepts.
    case messageTooBig = 1009
    /// A fault of the server.
    case internalError = 1011
    /// The server restarts.
    case serviceRestart = 1012
    /// The server is overloaded.
    case tryAgainLater = 1013

    /// The client reads more slowly than its subscriptions change.
    case slowConsumer = 4000
    /// The token expired and was not renewed within the grace of 25 seconds.
    case tokenExpired = 4001
    /// The client answered no ping.
    case pongTimeout = 4002
    /// The client does too much; the reason says for how long to wait.
    case rateLimited = 4003
    /// Postgres has been away for long.
    case feedUnavailable = 4004

    /// Not JSON, a binary frame, or too many errors.
    case protocolError = 4500
    /// The token is not accepted.
    case unauthenticated = 4501
    /// The user may not connect, or a refresh was for another user.
    case forbidden = 4503
    /// An operator ended this session.
    case revoked = 4504
    /// No token came within 10 seconds.
    case authenticationTimeout = 4508
    /// The user holds as many connections as allowed.
    case connectionLimit = 4509

    /// The text that goes with the code in the close frame.
    public var reason: String {
        switch self {
        case .normal: "normal"
        case .goingAway: "going_away"
        case .messageTooBig: "message_too_big"
        case .internalError: "internal_error"
        case .serviceRestart: "service_restart"
        case .tryAgainLater: "try_again_later"
        case .slowConsumer: "slow_consumer"
        case .tokenExpired: "token_expired"
        case .pongTimeout: "pong_timeout"
        case .rateLimited: "rate_limited"
        case .feedUnavailable: "feed_unavailable"
        case .protocolError: "protocol_error"
        case .unauthenticated: "unauthenticated"
        case .forbidden: "forbidden"
        case .revoked: "revoked"
        case .authenticationTimeout: "authentication_timeout"
        case .connectionLimit: "connection_limit"
        }
    }

    public var mayReconnect: Bool { Self.mayReconnect(self.rawValue) }

    /// Whether a client may reconnect (with backoff, from its last cursor) after a close with `code`, known or not.
    public static func mayReconnect(_ code: UInt16) -> Bool {
        switch code {
        case 4000...4499: true
        case 4500...4999: false
        // RFC 6455 §7.4.1: what was sent is at fault, and would be sent again.
        case 1002, 1003, 1007, 1008, 1009, 1010: false
        default: true
        }
    }
}
