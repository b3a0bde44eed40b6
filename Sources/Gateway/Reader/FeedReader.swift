import Feed
import LibPQ
import Logging
import Synchronization

/// The node's one way in: a thread that sleeps on LISTEN, reads the log when the bell rings and publishes each step.
final class FeedReader: Sendable {
    private struct State {
        var isStopping = false
        var thread: WorkerThread? = nil
    }

    private let settings: ConnectionSettings
    private let node: String
    private let hub: Hub
    private let interest: FilterInterest
    private let revocations: Revocations
    private let health: ReaderHealth
    private let logger: Logger
    private let wakeup: Wakeup
    private let state = Mutex(State())

    /// - Parameter settings: with the node's role; the sessions' names are put in here.
    init(
        settings: ConnectionSettings,
        node: String,
        hub: Hub,
        interest: FilterInterest,
        revocations: Revocations,
        health: ReaderHealth,
        logger: Logger
    ) throws {
        self.settings = settings
        self.node = node
        self.hub = hub
        self.interest = interest
        self.revocations = revocations
        self.health = health
        self.logger = logger
        self.wakeup = try Wakeup()
    }

    func start() {
        self.state.withLock { state in
            state.thread = WorkerThread(name: "jobfeed-reader") { self.run() }
        }
    }

    /// Reads once more, soon: somebody asked for a feed that this node does not know.
    func poke() {
        self.wakeup.signal()
    }

    /// Blocks until the thread has ended.
    func stop() {
        let thread = self.state.withLock { state in
            state.isStopping = true
            return state.thread.take()
        }
        self.wakeup.signal()
        thread?.join()
    }

    private var isStopping: Bool { self.state.withLock { $0.isStopping } }

    private func run() {
        var follower = LogFollower(revocations: self.revocations)
        var backoff = Duration.milliseconds(200)
        while !self.isStopping {
            do {
                try self.follow(&follower) { backoff = .milliseconds(200) }
            } catch {
                guard !self.isStopping else { return }
                self.health.lost(error)
                self.logger.warning(
                    "Lost the database; subscribers wait and nothing is lost",
                    metadata: ["error": "\(error)", "retry_in": "\(backoff)"]
                )
                Pause.wait(backoff) { self.isStopping }
                backoff = min(backoff * 2, .seconds(10))
            }
        }
    }

    /// One pair of sessions, until one of them fails: LISTEN first, so that nothing falls between it and the first read.
    private func follow(_ follower: inout LogFollower, connected: () -> Void) throws {
        let listener = try Listener.open(
            self.settings.with(applicationName: "jobfeed/\(self.node)/listen"),
            channel: "jobfeed",
            wakeup: self.wakeup
        )
        defer { listener.close() }
        let connection = try Connection.open(self.settings.with(applicationName: "jobfeed/\(self.node)/read"))
        defer { connection.close() }
        try connection.execute("SET search_path = pg_catalog")
        try LogReader.prepare(connection)
        if let step = try follower.begin(connection) { self.hub.publish(step) }
        self.logger.info("Following the log", metadata: ["listen_pid": "\(listener.backendPID)"])
        let registration = NodeRegistration(node: self.node, pid: listener.backendPID)
        try registration.announce(connection)
        connected()
        while !self.isStopping {
            let step = try follower.next(connection, interest: self.interest)
            self.hub.publish(step)
            // Ends the transaction only now: its cost is not the subscribers'.
            try connection.execute("COMMIT")
            self.health.read(at: step.readAt)
            switch listener.wait(Self.backstop()) {
            case .notified, .woken: break
            case .timedOut:
                try listener.check()
                try registration.announce(connection)
            case .lost(let error): throw error
            }
        }
        try registration.withdraw(connection)
    }

    /// How long a node waits for the bell before it looks whether it missed one.
    private static func backstop() -> Duration {
        .milliseconds(Int.random(in: 2000...4000))
    }
}

/// Sleeps in small pieces, so that a stop is noticed.
private enum Pause {
    static func wait(_ duration: Duration, unless isStopping: () -> Bool) {
        let until = ContinuousClock.now + duration
        while ContinuousClock.now < until, !isStopping() {
            ThreadSleep.milliseconds(50)
        }
    }
}
