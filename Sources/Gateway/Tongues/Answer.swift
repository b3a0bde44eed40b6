import JobFeedProtocol

/// What a session tells its client, apart from rows and their changes; `ServerMessage` says what each means.
enum Answer {
    case welcome(Welcome)
    /// The subscription is a valid one and begins; said at once, unlike all that follows.
    case accepted(id: String)
    /// - Parameter reason: why it was not recovered; `nil` when it was.
    case subscribed(id: String, recovered: Bool, reason: String?)
    case live(id: String, cursor: String)
    case reset(id: String, ResetReason)
    case unsubscribed(id: String)
    case authenticated(id: String, expiresAt: String)
    case pong(id: String)
    /// - Parameter cursor: every live subscription of the connection is complete up to here.
    case heartbeat(asOf: String, tokenExpiresIn: Int, cursor: String?)
    case error(id: String?, ErrorCode, String)

    struct Welcome {
        let connection: String
        let node: String
        let identity: Identity
        let heartbeatSeconds: Int
        let limits: SessionContext.Limits
    }
}
