import LibPQ
import Testing

@Suite struct PipelineTests {
    private static let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

    @Test func beginsAndQueriesInOneSnapshot() throws {
        let connection = try Server.connect()
        try connection.prepare("q", "SELECT $1::text, current_setting('transaction_isolation'), pg_current_snapshot()")
        let first = try connection.beginThenQueryPrepared([Self.begin], "q", ["ü"])
        #expect(first.string(0, 0) == "ü")
        #expect(first.string(0, 1) == "repeatable read")
        #expect(connection.transactionStatus == .inTransaction)

        let other = try Server.connect()
        try other.execute("CREATE TABLE pipeline_moves_on (); DROP TABLE pipeline_moves_on")
        #expect(try connection.queryPrepared("q", ["x"]).string(0, 2) == first.string(0, 2))
        try connection.execute("COMMIT")
        #expect(try connection.queryPrepared("q", ["x"]).string(0, 2) != first.string(0, 2))
    }

    @Test(arguments: [
        (Self.begin, "divide", ["0"], "22012"),
        (Self.begin, "missing", [], "26000"),
        (Self.begin, "divide", [], "08P01"),
        ("BEGIN TRANSACTION OF SOME KIND", "divide", ["1"], "42601"),
    ])
    func anErrorLeavesNoTransaction(begin: String, name: String, parameters: [String], state: String) throws {
        let connection = try Server.connect()
        try connection.prepare("divide", "SELECT 1 / $1::int")
        let error = postgresError { _ = try connection.beginThenQueryPrepared([begin], name, parameters) }
        #expect(error?.sqlState == state)
        #expect(connection.transactionStatus == .idle)
        #expect(try connection.beginThenQueryPrepared([Self.begin], "divide", ["1"]).int64(0, 0) == 1)
    }

    @Test func readsManyRows() throws {
        let connection = try Server.connect()
        try connection.prepare("many", "SELECT n, repeat('x', 100) FROM generate_series(1, 100000) AS n")
        let rows = try connection.beginThenQueryPrepared([Self.begin], "many")
        #expect(rows.rowCount == 100_000)
        #expect(rows.int64(99_999, 0) == 100_000)
        try connection.execute("COMMIT")
    }

    @Test func survivesTheLossOfItsBackend() throws {
        let connection = try Server.connect()
        try connection.prepare("die", "SELECT pg_terminate_backend(pg_backend_pid())")
        #expect(postgresError { _ = try connection.beginThenQueryPrepared([Self.begin], "die") }?.kind == .connection)
        #expect(!connection.isUsable)
        try connection.reset()
        #expect(connection.isUsable)
    }
}
