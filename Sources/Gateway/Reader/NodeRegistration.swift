import LibPQ

/// The row that tells writers and other nodes that this gateway runs.
struct NodeRegistration {
    let node: String
    /// The LISTEN session's backend: when `pg_stat_activity` does not have it, the row is stale.
    let pid: Int32

    func announce(_ connection: Connection) throws {
        let sql = """
            INSERT INTO jobfeed.node (node, pid, asleep, seen_at) VALUES ($1, $2::int, true, now())
            ON CONFLICT (node) DO UPDATE SET pid = excluded.pid, asleep = excluded.asleep, seen_at = excluded.seen_at
            """
        _ = try connection.query(sql, [self.node, String(self.pid)])
        // Rows of nodes that were killed.
        try connection.execute("DELETE FROM jobfeed.node WHERE pid NOT IN (SELECT pid FROM pg_stat_activity)")
    }

    func withdraw(_ connection: Connection) throws {
        _ = try connection.query(
            "DELETE FROM jobfeed.node WHERE node = $1 AND pid = $2::int",
            [self.node, String(self.pid)]
        )
    }
}
