import EmbeddedPostgres
import LibPQ
import Testing

@Suite struct ConnectionTests {
    @Test func readsTextNullsNumbersAndNames() throws {
        let connection = try Server.connect()
        let rows = try connection.query(
            "SELECT n AS number, nullif(n, 2)::text AS gap, n = 1 AS first FROM generate_series(1, 3) AS n"
        )
        #expect(rows.rowCount == 3)
        #expect(rows.columnCount == 3)
        #expect((0..<3).map { rows.columnName($0) } == ["number", "gap", "first"])
        #expect((0..<3).map { rows.int64($0, 0) } == [1, 2, 3])
        #expect((0..<3).map { rows.string($0, 1) } == ["1", nil, "3"])
        #expect((0..<3).map { rows.bool($0, 2) } == [true, false, false])
        #expect(rows.int64(1, 1) == nil)
        #expect(rows.bytes(0, 1) == [UInt8(ascii: "1")])
        #expect(rows.withBytes(1, 1) { $0 == nil })
        #expect(rows.affectedRows == 3)
    }

    @Test(arguments: ["", "Grüße, Kraków — 東京 👩‍👩‍👧", "a'b\"c\\d\n\t", String(repeating: "ß", count: 100_000)])
    func parametersComeBackUnchanged(text: String) throws {
        let connection = try Server.connect()
        let rows = try connection.query("SELECT $1::text, $2::text, $3::int", [text, nil, "42"])
        #expect(rows.string(0, 0) == text)
        #expect(rows.bytes(0, 0) == Array(text.utf8))
        #expect(rows.string(0, 1) == nil)
        #expect(rows.int64(0, 2) == 42)
    }

    @Test func refusesWhatACStringWouldCutShort() throws {
        let connection = try Server.connect()
        let parameter = postgresError { _ = try connection.query("SELECT $1::text", ["secret\0tail"]) }
        #expect(parameter?.sqlState == "22021")
        #expect(parameter?.message == "parameter $1 contains a NUL character, which PostgreSQL text cannot hold")
        #expect(postgresError { try connection.execute("SELECT 1\0; DROP TABLE x") }?.sqlState == "22021")
        #expect(postgresError { _ = try connection.query("SELECT 1", Array(repeating: nil, count: 65_536)) } != nil)
        #expect(connection.isUsable)
    }

    @Test(arguments: [
        ("SELEKT 1", "42601", PostgresError.Kind.server),
        ("SELECT * FROM no_such_table", "42P01", .server),
        ("SELECT 1 / 0", "22012", .server),
        ("SET statement_timeout = '10ms'; SELECT pg_sleep(60)", "57014", .cancelled),
    ])
    func errorsCarryTheirState(sql: String, state: String, kind: PostgresError.Kind) throws {
        let connection = try Server.connect()
        let error = try #require(postgresError { try connection.execute(sql) })
        #expect(error.sqlState == state)
        #expect(error.kind == kind)
        #expect(error.severity == "ERROR")
        #expect(error.description.contains("SQLSTATE \(state)"))
        #expect(connection.isUsable)
    }

    @Test func errorsCarryDetailAndHint() throws {
        let connection = try Server.connect()
        let sql = "DO $$ BEGIN RAISE EXCEPTION 'no' USING DETAIL = 'because', HINT = 'try', ERRCODE = 'P0042'; END $$"
        let error = postgresError { try connection.execute(sql) }
        #expect(error?.description == "no (SQLSTATE P0042); detail: because; hint: try")
    }

    @Test func theFirstErrorOfSeveralStatementsWins() throws {
        let connection = try Server.connect()
        #expect(postgresError { try connection.execute("SELECT 1; SELECT 1/0; SELEKT") }?.sqlState == "42601")
        #expect(postgresError { try connection.execute("SELECT 1; SELECT 1/0; SELECT 1") }?.sqlState == "22012")
        try connection.execute("CREATE TEMP TABLE t (n int); INSERT INTO t VALUES (1), (2)")
        #expect(try connection.query("UPDATE t SET n = n + 1").affectedRows == 2)
    }

    @Test func copyIsRefusedAndClosesTheConnection() throws {
        let connection = try Server.connect()
        #expect(postgresError { try connection.execute("COPY (SELECT 1) TO STDOUT") }?.kind == .closed)
        #expect(postgresError { try connection.execute("SELECT 1") }?.kind == .closed)
        #expect(!connection.isUsable)
        try connection.reset()
        #expect(try connection.query("SELECT 1").int64(0, 0) == 1)
    }

    @Test func preparedStatementsBelongToTheSession() throws {
        let connection = try Server.connect()
        #expect(!connection.isPrepared("twice"))
        try connection.prepare("twice", "SELECT $1::int * 2")
        #expect(connection.isPrepared("twice"))
        #expect(try connection.queryPrepared("twice", ["21"]).int64(0, 0) == 42)
        #expect(postgresError { _ = try connection.queryPrepared("thrice") }?.sqlState == "26000")
        let before = connection.backendPID
        try connection.reset()
        #expect(connection.backendPID != before)
        #expect(!connection.isPrepared("twice"))
    }

    @Test func losingTheBackendIsAConnectionError() throws {
        let connection = try Server.connect()
        let error = try #require(
            postgresError {
                try connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            }
        )
        #expect(error.kind == .connection)
        #expect(error.sqlState == "57P01")
        #expect(!connection.isUsable)
        #expect(postgresError { try connection.execute("SELECT 1") }?.kind == .connection)
    }

    @Test func theSessionIsSetUpTheSameEverywhere() throws {
        let connection = try Server.connect()
        try connection.execute("CREATE ROLE odd LOGIN; ALTER ROLE odd SET TimeZone = 'Asia/Tokyo'")
        try connection.execute("ALTER ROLE odd SET IntervalStyle = 'iso_8601'; ALTER ROLE odd SET DateStyle = 'German'")
        let url = try Server.cluster().url(user: "odd") + "?options=-c%20work_mem%3D2MB"
        let odd = try Connection.open(ConnectionSettings(conninfo: url, applicationName: "unicode ✓"))
        let rows = try odd.query(
            "SELECT current_setting('TimeZone'), '1 day'::interval::text, to_jsonb('epoch'::timestamptz)::text, "
                + "current_setting('work_mem'), current_date::text ~ '^\\d{4}-', current_setting('client_encoding')"
        )
        #expect(
            (0..<6).map { rows.string(0, $0) } == [
                "UTC", "1 day", "\"1970-01-01T00:00:00+00:00\"", "2MB", "t", "UTF8",
            ]
        )
    }

    @Test func actsInTheRoleOfTheSettings() throws {
        let admin = try Server.connect()
        try admin.execute("CREATE ROLE \"Read \"\"er\"")
        let connection = try Server.connect(role: "Read \"er")
        #expect(try connection.query("SELECT current_user, session_user").string(0, 0) == "Read \"er")
        try connection.reset()
        #expect(try connection.query("SELECT current_user").string(0, 0) == "Read \"er")
        #expect(postgresError { _ = try Server.connect(role: "nobody here") }?.sqlState == "22023")
    }
}
