import Feed
import Synchronization

/// What the reader knows of itself, for `/readyz` and for closing sessions when the database stays away.
final class ReaderHealth: Sendable {
    struct Status: Sendable {
        /// When the log was last read to its end.
        var lastRead: ContinuousClock.Instant? = nil
        /// Microseconds since 1970, by the clock of the database.
        var asOf: Int64? = nil
        /// Since when there is no database, and why.
        var lostSince: ContinuousClock.Instant? = nil
        var lastError: String? = nil
        var mode: Doorbell.Mode? = nil
        /// `nil` before the log was first looked after.
        var log: LogStatus? = nil
    }

    private let value = Mutex(Status())

    var status: Status { self.value.withLock { $0 } }

    func read(at micros: Int64, mode: Doorbell.Mode) {
        self.value.withLock { status in
            status = Status(lastRead: .now, asOf: micros, mode: mode, log: status.log)
        }
    }

    func kept(_ log: LogStatus) {
        self.value.withLock { $0.log = log }
    }

    func lost(_ error: any Error) {
        self.value.withLock { status in
            if status.lostSince == nil { status.lostSince = .now }
            status.lastError = "\(error)"
        }
    }
}
