import Feed
import LibPQ

/// Hears the doorbell, or, behind a pooler that lends sessions by the transaction, just sleeps.
struct Ear {
    private let listener: Listener?
    private let wakeup: Wakeup

    /// - Parameter settings: `nil` where LISTEN is known not to work.
    init(_ settings: ConnectionSettings?, wakeup: Wakeup, abandon: Wakeup) throws(PostgresError) {
        self.wakeup = wakeup
        guard let settings else {
            self.listener = nil
            return
        }
        self.listener = try Listener.open(settings, channel: "jobfeed", wakeup: wakeup, abandon: abandon)
    }

    var canListen: Bool { self.listener != nil }

    var backendPID: Int32? { self.listener?.backendPID }

    func close() {
        self.listener?.close()
    }

    /// Throws when the LISTEN session gives no sign of life.
    func check() throws(PostgresError) {
        try self.listener?.check()
    }

    /// Until somebody rings or pokes, or the time is over.
    func wait(_ nanoseconds: Int64) throws(PostgresError) -> Doorbell.Cause {
        guard let listener else { return self.sleep(nanoseconds) }
        switch listener.wait(.nanoseconds(nanoseconds)) {
        case .notified: return .rung
        case .woken: return .poked
        case .timedOut: return .timer
        case .lost(let error): throw error
        }
    }

    /// Until the time is over or somebody pokes; forgets the rings of that time.
    func pause(_ nanoseconds: Int64) throws(PostgresError) -> Doorbell.Cause {
        let cause = self.sleep(nanoseconds)
        if let listener, case .lost(let error) = listener.drain() { throw error }
        return cause
    }

    private func sleep(_ nanoseconds: Int64) -> Doorbell.Cause {
        guard nanoseconds > 0 else { return .timer }
        return self.wakeup.wait(.nanoseconds(nanoseconds)) ? .poked : .timer
    }
}

extension Doorbell {
    /// Whether the node's row tells writers to ring.
    var isRung: Bool { self.mode == .asleep || self.mode == .fallingAsleep }
}
