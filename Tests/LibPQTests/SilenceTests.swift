import LibPQ
import Logging
import Testing

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

@Suite(.serialized) struct SilenceTests {
    private func impatient() throws -> Connection {
        try Connection.open(Server.settings().with(responseTimeout: .milliseconds(200)))
    }

    private static let statements: [@Sendable (Connection) throws -> Void] = [
        { try $0.execute("SELECT pg_sleep(60)") },
        { _ = try $0.query("SELECT pg_sleep(60), $1::text", ["x"]) },
        {
            try $0.prepare("sleep", "SELECT pg_sleep(60)")
            _ = try $0.queryPrepared("sleep")
        },
        {
            try $0.prepare("sleep", "SELECT pg_sleep(60)")
            _ = try $0.beginThenQueryPrepared(["BEGIN"], "sleep")
        },
        { try $0.stream("SELECT pg_sleep(60)") { _ in true } },
        { connection in
            // Rows that have arrived do not help when no more follow.
            let sql = "SELECT CASE n WHEN 2000 THEN pg_sleep(60)::text ELSE 'x' END FROM generate_series(1, 2000) AS n"
            try connection.stream(sql) { _ in true }
        },
    ]

    @Test(arguments: statements.indices) func aServerThatOwesAnAnswerIsGivenUp(number: Int) async throws {
        let connection = try self.impatient()
        let pid = connection.backendPID
        let error = try #require(postgresError { try Self.statements[number](connection) })
        #expect(error.kind == .connection)
        #expect(error.message.contains("no answer within"))
        #expect(!connection.isUsable)
        // What was given up does not run on: it may wait for a lock, and more of them would come.
        let other = try Server.connect()
        try await eventually {
            try other.query("SELECT count(*) FROM pg_stat_activity WHERE pid = $1::int", [String(pid)]).int64(0, 0) == 0
        }
    }

    @Test func whatArrivesInPiecesMayTakeLonger() throws {
        let connection = try self.impatient()
        var count = 0
        // Eight kilobytes fill the server's buffer, which is then sent.
        try connection.stream("SELECT repeat('x', 9000) || pg_sleep(0.05)::text FROM generate_series(1, 10)") { _ in
            count += 1
            return true
        }
        #expect(count == 10)
        #expect(connection.isUsable)
    }

    @Test func aServerThatTakesNothingIsGivenUp() throws {
        let connection = try self.impatient()
        let pid = connection.backendPID
        #expect(kill(pid, SIGSTOP) == 0)
        defer { kill(pid, SIGCONT) }
        let large = String(repeating: "x", count: 50_000_000)
        let error = try #require(postgresError { _ = try connection.query("SELECT length($1)", [large]) })
        #expect(error.message.contains("no answer within"))
    }

    @Test func largeTextsGoBothWays() throws {
        let connection = try Server.connect()
        let large = String(repeating: "x", count: 20_000_000)
        #expect(try connection.query("SELECT $1 || 'y'", [large]).string(0, 0)?.utf8.count == 20_000_001)
    }

    @Test func shutdownGivesUpWhatDoesNotEnd() async throws {
        let pool = try ConnectionPool(
            settings: try Server.settings(),
            size: 1,
            maximumWaiting: 5,
            logger: Logger(label: "test")
        )
        let running = Task { try await pool.withConnection { try $0.execute("SELECT pg_sleep(600)") } }
        let other = try Server.connect()
        try await eventually {
            try other.query("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%sleep(600)' AND state = 'active'")
                .int64(0, 0) == 1
        }
        await pool.shutdown(grace: .milliseconds(100))
        let error = await #expect(throws: PostgresError.self) { try await running.value }
        #expect(error?.kind == .closed)
    }
}
