import LibPQ

/// The row that tells writers and other nodes that this gateway runs, and whether it has to be rung.
struct NodeRegistration {
    let connection: Connection
    let node: String
    /// The LISTEN session's backend: when `pg_stat_activity` does not have it, the row is stale.
    let pid: Int32

    /// - Returns: whether there was no such row, so that no writer can have rung.
    func announce(isAsleep: Bool) throws -> Bool {
        let sql = """
            INSERT INTO jobfeed.node (node, pid, asleep, seen_at) VALUES ($1, $2::int, $3::boolean, now())
            ON CONFLICT (node) DO UPDATE SET pid = excluded.pid, asleep = excluded.asleep, seen_at = excluded.seen_at
            RETURNING xmax = 0
            """
        let result = try self.connection.queryCached(sql, [self.node, String(self.pid), isAsleep ? "t" : "f"])
        return result.bool(0, 0) ?? true
    }

    /// A transaction id above those of all writers that looked at the row before now.
    ///
    /// A transaction of its own: the xid has to be given out after the row was committed.
    func barrier() throws -> UInt64 {
        let result = try self.connection.query("SELECT pg_current_xact_id()::text")
        guard let xid = result.string(0, 0).flatMap({ UInt64($0) }) else {
            throw PostgresError(kind: .server, message: "the database gave no transaction id")
        }
        return xid
    }

    func withdraw() throws {
        _ = try self.connection.query(
            "DELETE FROM jobfeed.node WHERE node = $1 AND pid = $2::int",
            [self.node, String(self.pid)]
        )
    }
}
