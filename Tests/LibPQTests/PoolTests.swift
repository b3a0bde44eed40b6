import LibPQ
import Logging
import Synchronization
import Testing

@Suite struct PoolTests {
    /// What happened, in order.
    private final class Diary: Sendable {
        private let state = Mutex<[Int]>([])

        var entries: [Int] { self.state.withLock { $0 } }

        func note(_ entry: Int) { self.state.withLock { $0.append(entry) } }
    }

    /// Occupies a thread of the pool until `open`.
    private final class Gate: Sendable {
        private let state = Mutex((isOpen: false, entered: 0))

        var entered: Int { self.state.withLock { $0.entered } }

        func open() { self.state.withLock { $0.isOpen = true } }

        func pass() throws {
            self.state.withLock { $0.entered += 1 }
            try waitUntil { self.state.withLock { $0.isOpen } }
        }
    }

    @Test func runsBodiesOnConnectionsThatStay() async throws {
        try await withPool(Server.settings()) { pool in
            let pids = try await (0..<5).asyncMap { _ in try await pool.withConnection { $0.backendPID } }
            #expect(Set(pids).count == 1)
            #expect(pids[0] > 0)
        }
    }

    @Test func tellsWhoDoesNotAwait() async throws {
        try await withPool(Server.settings()) { pool in
            let pid = try await withCheckedThrowingContinuation { continuation in
                pool.run(for: "a") {
                    $0.backendPID
                } then: {
                    continuation.resume(with: $0)
                }
            }
            #expect(pid > 0)
            await #expect(throws: CancellationError.self) {
                try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                    pool.run(for: "a") { _ in
                        throw CancellationError()
                    } then: {
                        continuation.resume(with: $0)
                    }
                }
            }
        }
    }

    @Test func runsAsManyAtOnceAsItHasThreads() async throws {
        try await withPool(Server.settings(), size: 3) { pool in
            let gate = Gate()
            let pids = try await withThrowingTaskGroup(of: Int32.self) { group in
                for _ in 0..<3 {
                    group.addTask {
                        try await pool.withConnection { connection in
                            try gate.pass()
                            return connection.backendPID
                        }
                    }
                }
                try await eventually { gate.entered == 3 }
                gate.open()
                return try await group.reduce(into: Set<Int32>()) { $0.insert($1) }
            }
            #expect(pids.count == 3)
        }
    }

    @Test func refusesWhenTheQueueIsFull() async throws {
        let events = Diary()
        let observe: @Sendable (ConnectionPool.Event) -> Void = { event in
            switch event {
            case .refused: events.note(0)
            case .ran(let waited, let used): events.note(waited >= .zero && used > .zero ? 1 : -1)
            }
        }
        try await withPool(Server.settings(), maximumWaiting: 2, observe: observe) { pool in
            let gate = Gate()
            let running = Task { try await pool.withConnection { _ in try gate.pass() } }
            try await eventually { gate.entered == 1 }
            let order = Diary()
            var waiting: [Task<Void, any Error>] = []
            for number in 1...2 {
                waiting.append(Task { try await pool.withConnection { _ in order.note(number) } })
                try await eventually { pool.waiting == number }
            }
            await #expect(throws: PoolError.overloaded) { try await pool.withConnection { _ in } }
            gate.open()
            try await running.value
            for task in waiting { try await task.value }
            #expect(order.entries == [1, 2])
            #expect(events.entries == [0, 1, 1, 1])
            #expect(pool.waiting == 0)
        }
    }

    @Test func aQueueOfZeroStillServesIdleThreads() async throws {
        try await withPool(Server.settings(), maximumWaiting: 0) { pool in
            for _ in 0..<50 {
                let one = try await pool.withConnection { try $0.query("SELECT 1").int64(0, 0) }
                #expect(one == 1)
            }
        }
    }

    @Test func cancellationTakesAWaiterOut() async throws {
        try await withPool(Server.settings()) { pool in
            let gate = Gate()
            let running = Task { try await pool.withConnection { _ in try gate.pass() } }
            try await eventually { gate.entered == 1 }
            let waiter = Task { try await pool.withConnection { _ in Issue.record("a cancelled body ran") } }
            try await eventually { pool.waiting == 1 }
            waiter.cancel()
            await #expect(throws: CancellationError.self) { try await waiter.value }
            #expect(pool.waiting == 0)

            let late = Task {
                withUnsafeCurrentTask { $0?.cancel() }
                return try await pool.withConnection { _ in true }
            }
            await #expect(throws: CancellationError.self) { _ = try await late.value }
            gate.open()
            try await running.value
        }
    }

    @Test func rollsBackWhatABodyLeavesOpen() async throws {
        try await withPool(Server.settings()) { pool in
            try await pool.withConnection { try $0.execute("CREATE TEMP TABLE left_open (n int)") }
            let pid = try await pool.withConnection { connection in
                try connection.execute("BEGIN; INSERT INTO left_open VALUES (1)")
                return connection.backendPID
            }
            _ = try? await pool.withConnection { try $0.execute("BEGIN; SELECT 1/0") }
            try await pool.withConnection { connection in
                #expect(connection.backendPID == pid)
                #expect(connection.transactionStatus == .idle)
                let rows = try connection.query("SELECT count(*) FROM left_open")
                #expect(rows.int64(0, 0) == 0)
            }
        }
    }

    @Test func reopensAfterItsBackendWasTerminated() async throws {
        let admin = try Server.settings()
        try await withPool(Server.settings()) { pool in
            let first = try await pool.withConnection { connection in
                let pid = connection.backendPID
                try Connection.open(admin).terminate(connection)
                return pid
            }
            let second = try await pool.withConnection { try $0.query("SELECT pg_backend_pid()").int64(0, 0) }
            #expect(second != nil && second != Int64(first))
        }
    }

    @Test func runsABodyAgainOnlyIfItSentNothing() async throws {
        let admin = try Server.settings()
        try await withPool(Server.settings()) { pool in
            let runs = Diary()
            let error = await #expect(throws: PostgresError.self) {
                try await pool.withConnection { connection in
                    runs.note(1)
                    try connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
                }
            }
            #expect(error?.kind == .connection)
            #expect(runs.entries == [1])

            let pid = try await pool.withConnection { connection in
                runs.note(2)
                if runs.entries == [1, 2] { try Connection.open(admin).terminate(connection) }
                return try connection.query("SELECT pg_backend_pid()").int64(0, 0)
            }
            #expect(runs.entries == [1, 2, 2])
            #expect(pid != nil)
        }
    }

    @Test func reportsAnUnreachableServer() async throws {
        let settings = ConnectionSettings(conninfo: "host=127.0.0.1 port=1", applicationName: "tests")
        try await withPool(settings) { pool in
            for _ in 0..<3 {
                let error = await #expect(throws: PostgresError.self) { try await pool.withConnection { _ in } }
                #expect(error?.kind == .connection)
            }
        }
    }

    @Test func shutdownLetsTheRunningFinishAndFailsTheWaiting() async throws {
        let pool = try ConnectionPool(
            settings: try Server.settings(),
            size: 1,
            maximumWaiting: 5,
            logger: Logger(label: "test")
        )
        let gate = Gate()
        let running = Task { try await pool.withConnection { try $0.query("SELECT 1").int64(0, 0) } }
        _ = try await running.value
        let blocked = Task { try await pool.withConnection { _ in try gate.pass() } }
        try await eventually { gate.entered == 1 }
        let waiter = Task { try await pool.withConnection { _ in } }
        try await eventually { pool.waiting == 1 }
        let ended = Task { await pool.shutdown() }
        await #expect(throws: PoolError.shutdown) { try await waiter.value }
        await #expect(throws: PoolError.shutdown) { try await pool.withConnection { _ in } }
        gate.open()
        try await blocked.value
        await ended.value
        await pool.shutdown()
    }
}

extension Connection {
    /// Returns when the goodbye of the victim's backend has arrived.
    fileprivate func terminate(_ victim: Connection) throws {
        _ = try self.query("SELECT pg_terminate_backend($1::int)", [String(victim.backendPID)])
        try waitUntil { victim.loss() != nil }
    }
}

extension Sequence {
    fileprivate func asyncMap<T>(_ transform: (Element) async throws -> T) async rethrows -> [T] {
        var values: [T] = []
        for element in self { values.append(try await transform(element)) }
        return values
    }
}
