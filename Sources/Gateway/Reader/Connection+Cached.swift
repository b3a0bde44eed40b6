import Feed
import LibPQ

extension Connection {
    /// Runs a statement whose text is one of few: parsed and planned once per session.
    func queryCached(_ sql: String, _ parameters: [String?] = []) throws(PostgresError) -> LibPQ.Result {
        let name = "jobfeed_" + String(Cursor.fingerprint(ofEpoch: sql), radix: 36)
        if !self.isPrepared(name) { try self.prepare(name, sql) }
        return try self.queryPrepared(name, parameters)
    }
}
