import LibPQ
import Testing

@Suite struct StreamTests {
    private struct Stop: Error {}

    @Test func handsOverEveryRow() throws {
        let connection = try Server.connect()
        var count = 0
        var sum: Int64 = 0
        var nulls = 0
        try connection.stream("SELECT n, nullif(n % 2, 1)::text FROM generate_series(1, $1::int) AS n", ["100000"]) {
            count += 1
            sum += $0.int64(0) ?? 0
            if $0.string(1) == nil { nulls += 1 }
            return true
        }
        #expect(count == 100_000)
        #expect(sum == 5_000_050_000)
        #expect(nulls == 50_000)
        #expect(connection.transactionStatus == .idle)
    }

    @Test(arguments: [1, 10]) func stopsEarlyWithoutReadingTheRest(limit: Int) throws {
        let connection = try Server.connect()
        var count = 0
        // Would take hours to the end; a set in FROM would be computed before the first row.
        try connection.stream("SELECT generate_series(1, 1000000000000)") { _ in
            count += 1
            return count < limit
        }
        #expect(count == limit)
        #expect(try connection.query("SELECT 7").int64(0, 0) == 7)
    }

    @Test func anErrorOfTheBodyStopsToo() throws {
        let connection = try Server.connect()
        #expect(throws: Stop.self) {
            try connection.stream("SELECT generate_series(1, 1000000000000)") { _ in throw Stop() }
        }
        #expect(try connection.query("SELECT 7").int64(0, 0) == 7)
    }

    @Test func anErrorAfterSomeRowsIsThrown() throws {
        let connection = try Server.connect()
        var count = 0
        let error = postgresError {
            try connection.stream("SELECT 1 / (5 - n) FROM generate_series(1, 10) AS n") { _ in
                count += 1
                return true
            }
        }
        #expect(error?.sqlState == "22012")
        #expect(count == 4)
        #expect(connection.isUsable)
    }

    @Test func anEarlyStopFailsTheOpenTransaction() throws {
        let connection = try Server.connect()
        try connection.execute("BEGIN")
        try connection.stream("SELECT generate_series(1, 1000000000000)") { _ in false }
        #expect(connection.transactionStatus == .failed)
        try connection.execute("ROLLBACK")
        #expect(connection.isUsable)
    }
}
