import LibPQ
import Testing

@Suite struct ListenerTests {
    private let wakeup: Wakeup
    private let listener: Listener
    private let other: Connection
    private let channel: String

    init() throws {
        self.wakeup = try Wakeup()
        self.channel = "Rings \(UInt64.random(in: .min ... .max))"
        self.listener = try Listener.open(Server.settings(), channel: self.channel, wakeup: self.wakeup)
        self.other = try Server.connect()
    }

    private func ring(_ payload: String = "") throws {
        _ = try self.other.query("SELECT pg_notify($1, $2)", [self.channel, payload])
    }

    @Test func countsNotifications() throws {
        // Equal ones of one transaction are one.
        try self.other.execute("BEGIN")
        for number in 1...3 { try self.ring("\(number)") }
        try self.other.execute("COMMIT")
        guard case .notified(count: 3) = self.listener.wait(.seconds(30)) else {
            Issue.record("expected three notifications")
            return
        }
        guard case .timedOut = self.listener.wait(.zero) else {
            Issue.record("expected nothing more")
            return
        }
    }

    @Test func wakesFromAnotherThread() throws {
        let wakeup = self.wakeup
        let thread = WorkerThread(name: "waker") { wakeup.signal() }
        guard case .woken = self.listener.wait(.seconds(30)) else {
            Issue.record("expected a wakeup")
            return
        }
        thread.join()
        guard case .timedOut = self.listener.wait(.milliseconds(1)) else {
            Issue.record("a signal wakes once")
            return
        }
    }

    @Test func givesNotificationsBeforeASignalAndLosesNeither() throws {
        try self.ring()
        // With its answer the notification has arrived.
        try self.listener.check()
        self.wakeup.signal()
        self.wakeup.signal()
        guard case .notified = self.listener.wait(.seconds(30)), case .woken = self.listener.wait(.seconds(30)) else {
            Issue.record("expected a notification and then a wakeup")
            return
        }
    }

    @Test func timesOutNoEarlierThanAsked() {
        let start = ContinuousClock.now
        guard case .timedOut = self.listener.wait(.milliseconds(30)) else {
            Issue.record("expected a timeout")
            return
        }
        #expect(ContinuousClock.now - start >= .milliseconds(30))
    }

    @Test func aCheckKeepsTheNotificationsItMeets() throws {
        try self.ring()
        try self.listener.check()
        guard case .notified(count: 1) = self.listener.wait(.zero) else {
            Issue.record("expected the notification that came with the answer of the check")
            return
        }
    }

    @Test func tellsWhenItsBackendIsTerminated() throws {
        _ = try self.other.query("SELECT pg_terminate_backend($1::int)", ["\(self.listener.backendPID)"])
        guard case .lost(let error) = self.listener.wait(.seconds(30)) else {
            Issue.record("expected the loss")
            return
        }
        #expect(error.kind == .connection)
        #expect(error.sqlState == "57P01")
        #expect(postgresError { try self.listener.check() }?.kind == .connection)
    }

    @Test func aClosedListenerIsLost() {
        self.listener.close()
        guard case .lost(let error) = self.listener.wait(.seconds(30)) else {
            Issue.record("expected the loss")
            return
        }
        #expect(error.kind == .closed)
    }
}
