import LibPQ
import Logging
import Synchronization

/// How long and how large the log may get.
package struct Retention: Sendable, Equatable {
    /// Cursors up to this old can resume.
    package var age = Duration.seconds(86_400)
    /// The whole log, indexes included; where this and ``age`` collide, this wins.
    package var bytes: Int64 = 1 << 30
    /// How long a change stays at least, so that live nodes have read it.
    package var grace = Duration.seconds(60)

    package init() {}
}

/// The node's housekeeping, on a thread and a session of its own: rotates the log and removes what dead nodes left.
final class LogKeeper: Sendable {
    private struct State {
        var isStopping = false
        var thread: WorkerThread? = nil
    }

    private let settings: ConnectionSettings
    private let retention: Retention
    private let health: ReaderHealth
    private let metrics: GatewayMetrics
    private let abandon: Wakeup
    private let logger: Logger
    private let state = Mutex(State())

    /// - Parameter abandon: signalled when the statement that runs is to be given up; only after ``stop()`` was called.
    init(
        settings: ConnectionSettings,
        node: String,
        retention: Retention,
        health: ReaderHealth,
        abandon: Wakeup,
        metrics: GatewayMetrics,
        logger: Logger
    ) {
        self.settings = settings.with(applicationName: "jobfeed/\(node)/keep")
        self.retention = retention
        self.health = health
        self.metrics = metrics
        self.abandon = abandon
        self.logger = logger
    }

    func start() {
        self.state.withLock { state in
            state.thread = WorkerThread(name: "jobfeed-keeper") { self.run() }
        }
    }

    /// Blocks until the thread has ended.
    func stop() {
        let thread = self.state.withLock { state in
            state.isStopping = true
            return state.thread.take()
        }
        thread?.join()
    }

    private var isStopping: Bool { self.state.withLock { $0.isStopping } }

    private func run() {
        var saidSo = false
        while !self.isStopping {
            do {
                let connection = try Connection.open(self.settings, abandon: self.abandon)
                defer { connection.close() }
                while !self.isStopping {
                    try self.keep(connection)
                    saidSo = false
                    ThreadSleep.wait(self.interval) { self.isStopping }
                }
            } catch {
                guard !self.isStopping else { return }
                self.metrics.rotations.increment(.failed)
                // The reader says so when the database is away.
                let level: Logger.Level = saidSo || error.isConnectionLoss ? .debug : .error
                self.logger.log(level: level, "Cannot keep the log in bounds", metadata: ["error": "\(error)"])
                saidSo = true
                ThreadSleep.wait(.seconds(2)) { self.isStopping }
            }
        }
    }

    /// Often enough to rotate several times within the time that is retained.
    private var interval: Duration {
        let wanted = min(.seconds(5), max(.milliseconds(200), self.retention.age / 30))
        return wanted * Double.random(in: 0.75...1.25)
    }

    private func keep(_ connection: Connection) throws {
        // A crash of the database empties the table of nodes; a crash of a node leaves its row.
        try connection.execute("DELETE FROM jobfeed.node WHERE pid NOT IN (SELECT pid FROM pg_stat_activity)")
        while try self.rotate(connection) {}
    }

    /// - Returns: whether there is more to do at once.
    private func rotate(_ connection: Connection) throws -> Bool {
        let result = try connection.query(
            """
            SELECT outcome, slot, bytes, extract(epoch FROM now() - oldest)::bigint,
                   extract(epoch FROM now() - overdue_since)::bigint
            FROM jobfeed.rotate($1::text::interval, $2::text::bigint, grace => $3::text::interval)
            """,
            [
                "\(self.retention.age.milliseconds) milliseconds", String(self.retention.bytes),
                "\(self.retention.grace.milliseconds) milliseconds",
            ]
        )
        let outcome = result.string(0, 0) ?? ""
        if let outcome = RotationOutcome(rawValue: outcome) { self.metrics.rotations.increment(outcome) }
        if outcome != "busy" {
            let log = LogStatus(
                slot: result.int64(0, 1).map { Int($0) } ?? 0,
                bytes: result.int64(0, 2) ?? 0,
                oldestSeconds: result.int64(0, 3),
                overdueSeconds: result.int64(0, 4)
            )
            self.health.kept(log)
            self.metrics.count(log)
        }
        if outcome == "emptied" || outcome == "switched" {
            self.logger.info(
                "Rotated the log",
                metadata: ["outcome": "\(outcome)", "bytes": "\(result.int64(0, 2) ?? 0)"]
            )
        }
        return outcome == "emptied"
    }
}

/// The log as the keeper last saw it.
struct LogStatus: Sendable {
    let slot: Int
    let bytes: Int64
    /// Age of the oldest change.
    let oldestSeconds: Int64?
    /// For how long a rotation has been due that could not be done.
    let overdueSeconds: Int64?
}

extension Duration {
    var milliseconds: Int64 { Int64(self / .milliseconds(1)) }
}

extension Error {
    fileprivate var isConnectionLoss: Bool { (self as? PostgresError)?.kind == .connection }
}
