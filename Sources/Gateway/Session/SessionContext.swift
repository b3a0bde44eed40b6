import LibPQ
import Logging
import NIOCore

/// What all sessions of a node share.
struct SessionContext: Sendable {
    struct Limits: Sendable {
        var subscriptions = 128
        var messageBytes = 65_536
        var commandsPerSecond = 200
        /// Waiting frames of live changes; what a snapshot or a replay takes comes on top, and is sent as the socket drains.
        var queuedBytes = 1 << 20
        var errors = 100
        /// Commands that wait for an authentication.
        var waitingCommands = 256
    }

    let node: String
    let limits: Limits
    let census: ConnectionCensus
    let heartbeat: Duration
    let authenticator: Authenticator
    let revocations: Revocations
    let pool: ConnectionPool
    let replays: LogReplays
    let interest: FilterInterest
    let reader: FeedReader
    let health: ReaderHealth
    let metrics: GatewayMetrics
    let logger: Logger
}
