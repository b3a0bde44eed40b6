import Feed
import JobFeedProtocol
import NIOCore
import WebSocketTransport

/// What time alone brings about.
extension Session {
    private static let authenticationTime = TimeAmount.seconds(10)
    /// Past `exp`, until the connection is closed.
    private static let expiryGrace: Double = 25
    /// How long the database may be away before clients are told to try elsewhere.
    private static let databaseGrace = Duration.seconds(60)

    func tick(now: NIODeadline, wallClockSeconds: Double) {
        guard let identity = self.identity else {
            if now - self.openedAt > Self.authenticationTime, !self.isVerifying { self.close(.authenticationTimeout) }
            return
        }
        self.closeIfTooSlow(now: now)
        if let code = self.tongue.tick() { return self.close(code) }
        // Errors count as a flood, not over a lifetime.
        self.errors = max(0, self.errors - 1)
        // Also what was revoked between the token's check and the first tick.
        let revocations = self.context.revocations.version
        if self.revocationsSeen != revocations {
            self.revocationsSeen = revocations
            if self.context.revocations.refuses(identity, now: wallClockSeconds) { return self.close(.revoked) }
        }
        if wallClockSeconds > identity.expiresAt + Self.expiryGrace { return self.close(.tokenExpired) }
        if let since = self.context.health.status.lostSince, .now - since > Self.databaseGrace {
            return self.close(.feedUnavailable)
        }
        if now - self.lastSent >= .nanoseconds(Int64(self.context.heartbeat / .nanoseconds(1))) {
            self.heartbeat(identity, wallClockSeconds)
        }
    }

    private func heartbeat(_ identity: Identity, _ wallClockSeconds: Double) {
        guard self.outbox.isEmpty, let position = self.shard.position else { return }
        let isComplete = self.subscriptions.values.allSatisfy { subscription in
            if case .live(let group) = subscription.state {
                return group.coalescer?.isEmpty ?? true && subscription.lag?.isEmpty ?? true
            }
            return false
        }
        let cursor = isComplete && self.shard.isCaughtUp && !self.subscriptions.isEmpty ? position.text : nil
        self.answer(
            .heartbeat(
                asOf: Timestamp.iso8601(micros: position.readAt),
                tokenExpiresIn: max(0, Int(identity.expiresAt - wallClockSeconds)),
                cursor: cursor
            )
        )
        self.connection?.flush()
    }
}
