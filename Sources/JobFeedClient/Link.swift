#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// A moment on both clocks: the steady one for intervals, the wall for what is shown.
struct Moment: Sendable, Equatable {
    var instant: ContinuousClock.Instant
    var wall: Date
}

/// What an open connection says about itself: its pulse, its lag, its token's age.
struct Link: Sendable {
    typealias Instant = ContinuousClock.Instant

    enum Health: Sendable, Equatable {
        case good
        /// The server is there, but its view is old.
        case lagging
        /// Nothing was heard for two heartbeats.
        case silent
    }

    /// Idle gateways look at the log every few seconds, so a lag of some seconds is not one.
    static let lagTolerance = 10.0

    var heartbeat: Duration
    private(set) var lastHeard: Instant
    private(set) var health = Health.good
    private(set) var hasPinged = false
    /// By the server's clock.
    private var tokenExpiry: Date?
    /// How far the server's clock is ahead of this one, in seconds.
    private var clockOffset = 0.0
    private var refreshAt: Instant?
    private var refreshLead = 0.0

    init(heartbeatSeconds: Double?, expiresAt: String?, now: Moment) {
        // A heartbeat outside of these bounds would make a dead connection look alive, or a good one dead.
        self.heartbeat = .seconds(min(max(heartbeatSeconds ?? 25, 1), 300))
        self.lastHeard = now.instant
        self.tokenAccepted(expiresAt: expiresAt, now: now)
    }

    // MARK: Pulse

    /// Answers whether the connection has just come back from silence.
    mutating func heard(now: Moment) -> Bool {
        self.lastHeard = now.instant
        self.hasPinged = false
        guard self.health == .silent else { return false }
        self.health = .good
        return true
    }

    enum Pulse: Sendable, Equatable {
        case steady
        case ask(since: Date)
        case dead(after: Duration)
    }

    mutating func pulse(now: Moment) -> Pulse {
        let silence = self.lastHeard.duration(to: now.instant)
        if silence >= self.heartbeat * 3 {
            return .dead(after: silence)
        }
        guard silence >= self.heartbeat * 2, !self.hasPinged else { return .steady }
        self.hasPinged = true
        self.health = .silent
        return .ask(since: now.wall.addingTimeInterval(-(silence / .seconds(1))))
    }

    // MARK: Lag

    enum Lag: Sendable, Equatable {
        case unchanged
        case behind(since: Date)
        case caughtUp
    }

    mutating func completeUpTo(_ timestamp: String?, tokenExpiresIn: Double?, now: Moment) -> Lag {
        if let tokenExpiresIn, let expiry = self.tokenExpiry {
            self.clockOffset = expiry.timeIntervalSince(now.wall) - tokenExpiresIn
            self.refreshAt = now.instant + .seconds(max(tokenExpiresIn - self.refreshLead, 0))
        }
        guard let asOf = timestamp.flatMap({ Date(timestamp: $0) }) else { return .unchanged }
        let lag = now.wall.timeIntervalSince(asOf) + self.clockOffset
        switch (lag > Self.lagTolerance, self.health) {
        case (true, .lagging), (false, .good), (false, .silent): return .unchanged
        case (true, .good), (true, .silent):
            self.health = .lagging
            return .behind(since: asOf.addingTimeInterval(-self.clockOffset))
        case (false, .lagging):
            self.health = .good
            return .caughtUp
        }
    }

    // MARK: Token

    mutating func tokenAccepted(expiresAt: String?, now: Moment) {
        self.tokenExpiry = expiresAt.flatMap { Date(timestamp: $0) }
        guard let expiry = self.tokenExpiry else {
            self.refreshAt = nil
            return
        }
        let remaining = min(max(expiry.timeIntervalSince(now.wall) - self.clockOffset, 0), 1e9)
        self.refreshLead = min(max(remaining / 5, 5), 60)
        self.refreshAt = now.instant + .seconds(max(remaining - self.refreshLead, 1))
    }

    /// Answers true once when it is time for a new token; ``retryRefresh(now:)`` arms it again.
    mutating func isRefreshDue(now: Moment) -> Bool {
        guard let refreshAt = self.refreshAt, refreshAt <= now.instant else { return false }
        self.refreshAt = nil
        return true
    }

    mutating func retryRefresh(now: Moment) {
        self.refreshAt = now.instant + .seconds(15)
    }
}
