import Feed
import LibPQ
import Logging
import NIOCore
import Synchronization

/// The node's one way in: a thread that sleeps on LISTEN, reads the log when the bell rings and publishes each step.
final class FeedReader: Sendable {
    private struct State {
        var isStopping = false
        var thread: WorkerThread? = nil
    }

    private let settings: ConnectionSettings
    private let canListen: Bool
    private let node: String
    private let hub: Hub
    private let interest: FilterInterest
    private let revocations: Revocations
    private let claims: KeptClaims
    private let health: ReaderHealth
    /// How much of the log to read at the start, for resumes from memory.
    private let preloadBytes: Int
    private let metrics: GatewayMetrics
    private let logger: Logger
    private let wakeup: Wakeup
    /// Signalled when the statement that runs is to be given up; only after `stop` was called.
    private let abandon: Wakeup
    private let asked = Atomic<UInt64>(0)
    private let state = Mutex(State())

    /// - Parameter settings: with the node's role; the sessions' names are put in here.
    init(
        settings: ConnectionSettings,
        canListen: Bool,
        node: String,
        hub: Hub,
        interest: FilterInterest,
        revocations: Revocations,
        claims: KeptClaims,
        health: ReaderHealth,
        preloadBytes: Int,
        abandon: Wakeup,
        metrics: GatewayMetrics,
        logger: Logger
    ) throws {
        self.settings = settings
        self.canListen = canListen
        self.node = node
        self.hub = hub
        self.interest = interest
        self.revocations = revocations
        self.claims = claims
        self.health = health
        self.preloadBytes = preloadBytes
        self.metrics = metrics
        self.logger = logger
        self.wakeup = try Wakeup()
        self.abandon = abandon
    }

    func start() {
        self.state.withLock { state in
            state.thread = WorkerThread(name: "jobfeed-reader") { self.run() }
        }
    }

    /// Reads once more, soon.
    ///
    /// - Returns: what ``Step/answers`` of a step that was read after this call is at least.
    @discardableResult
    func poke() -> UInt64 {
        let number = self.asked.add(1, ordering: .relaxed).newValue
        self.wakeup.signal()
        return number
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
        var follower = LogFollower(revocations: self.revocations, claims: self.claims)
        var backoff = Duration.milliseconds(200)
        while !self.isStopping {
            do {
                try self.follow(&follower) { backoff = .milliseconds(200) }
            } catch {
                guard !self.isStopping else { return }
                self.health.lost(error)
                self.metrics.databaseLosses.increment()
                self.metrics.doorbell.enter(.disconnected)
                self.logger.warning(
                    "Lost the database; subscribers wait and nothing is lost",
                    metadata: ["error": "\(error)", "retry_in": "\(backoff)"]
                )
                ThreadSleep.wait(backoff) { self.isStopping }
                backoff = min(backoff * 2, .seconds(10))
            }
        }
    }

    /// One pair of sessions, until one of them fails: LISTEN first, so that nothing falls between it and the first read.
    private func follow(_ follower: inout LogFollower, connected: () -> Void) throws {
        let ear = try Ear(
            self.canListen ? self.settings.with(applicationName: "jobfeed/\(self.node)/listen") : nil,
            wakeup: self.wakeup,
            abandon: self.abandon
        )
        defer { ear.close() }
        let connection = try Connection.open(
            self.settings.with(applicationName: "jobfeed/\(self.node)/read"),
            abandon: self.abandon
        )
        defer { connection.close() }
        try LogReader.prepare(connection)
        let opening = ["BEGIN ISOLATION LEVEL READ COMMITTED"] + connection.settings.transactionSettings
        try connection.execute(opening.joined(separator: "; "))
        if let step = try follower.begin(connection, preload: self.preloadBytes) { self.hub.publish(step) }
        try connection.execute("COMMIT")
        let registration = NodeRegistration(
            connection: connection,
            node: self.node,
            pid: ear.backendPID ?? connection.backendPID
        )
        self.logger.info("Following the log", metadata: ["listening": "\(ear.canListen)"])
        connected()

        var doorbell = Doorbell(seed: .random(in: .min ... .max))
        var action = doorbell.connected(canListen: ear.canListen, now: Self.now)
        var announced = ContinuousClock.now
        var misses = 0
        var (began, ended) = (Self.now, Self.now)
        var (answered, published) = (UInt64.max, began)
        while !self.isStopping {
            let cause: Doorbell.Cause
            switch action {
            case .arm:
                try self.endTransaction(connection)
                _ = try registration.announce(isAsleep: true)
                action = doorbell.armed(barrier: try registration.barrier(), now: Self.now)
                continue
            case .disarm:
                try self.endTransaction(connection)
                _ = try registration.announce(isAsleep: false)
                action = doorbell.disarmed(now: Self.now)
                continue
            case .wait(let nanoseconds):
                try self.endTransaction(connection)
                cause = try ear.wait(nanoseconds)
            case .pause(let nanoseconds):
                // The next read ends this transaction on its way, unless that is far off.
                if nanoseconds > Self.longestOpen { try self.endTransaction(connection) }
                let now = Self.now
                cause = try ear.pause(max(nanoseconds - (now - began), (ended - began) / 4))
            }
            began = Self.now
            let asked = self.asked.load(ordering: .relaxed)
            var step = try follower.next(connection, interest: self.interest)
            step.answers = asked
            if doorbell.mode != .awake || !step.isIdle || asked != answered || began - published > Self.longestSilence {
                (answered, published) = (asked, began)
                self.hub.publish(step)
            }
            ended = Self.now
            self.health.read(at: step.readAt, mode: doorbell.mode)
            self.metrics.count(step, cause, in: doorbell.mode)
            action = doorbell.afterRead(found: step.found, snapshot: step.end, cause: cause, now: Self.now)
            if doorbell.misses > misses {
                self.metrics.backstopFinds.increment(by: doorbell.misses - misses)
                misses = doorbell.misses
                self.logger.error("Found changes that no notification announced", metadata: ["total": "\(misses)"])
            }
            if .now - announced > Self.announceInterval {
                announced = .now
                try self.endTransaction(connection)
                try ear.check()
                if try registration.announce(isAsleep: doorbell.isRung) {
                    action = doorbell.connected(canListen: ear.canListen, now: Self.now)
                }
            }
        }
        try self.endTransaction(connection)
        try registration.withdraw()
    }

    /// Not before the step is on its way: the time that this takes is not the subscribers'.
    private func endTransaction(_ connection: Connection) throws {
        if connection.transactionStatus == .inTransaction { try connection.execute("COMMIT") }
    }

    /// A snapshot that is held keeps vacuum from its work, a lock on the log keeps `jobfeed.rotate` waiting.
    private static let longestOpen: Int64 = 5_000_000

    /// While awake, steps in which nothing happened are not worth waking the loops for, except now and then.
    private static let longestSilence: Int64 = 20_000_000

    /// How often a node proves that it and its LISTEN session are alive.
    private static let announceInterval = Duration.seconds(3)

    private static var now: Int64 { Int64(clamping: NIODeadline.now().uptimeNanoseconds) }
}
