import Feed
import LibPQ

extension Connection {
    /// Runs a statement whose text is one of few: parsed and planned once per session.
    func queryCached(_ sql: String, _ parameters: [String?] = []) throws(PostgresError) -> LibPQ.Result {
        try self.queryPrepared(self.cached(sql), parameters)
    }

    /// The same, and hands the rows over one by one.
    func streamCached(
        _ sql: String,
        _ parameters: [String?],
        row: (borrowing RowView) throws -> Bool
    ) throws {
        try self.streamPrepared(self.cached(sql), parameters, row: row)
    }

    /// In one round trip with the statements that open its transaction, which are run before it is parsed, too.
    func beginThenQueryCached(
        _ statements: [String],
        _ sql: String,
        _ parameters: [String?]
    ) throws(PostgresError) -> LibPQ.Result {
        let name = Self.cachedName(sql)
        if self.isPrepared(name) { return try self.beginThenQueryPrepared(statements, name, parameters) }
        try self.execute(statements.joined(separator: "; "))
        return try self.queryCached(sql, parameters)
    }

    private static func cachedName(_ sql: String) -> String {
        "jobfeed_" + String(Cursor.fingerprint(ofEpoch: sql), radix: 36)
    }

    private func cached(_ sql: String) throws(PostgresError) -> String {
        let name = Self.cachedName(sql)
        if !self.isPrepared(name) { try self.prepare(name, sql) }
        return name
    }
}
