import Feed
import LibPQ

/// Reads the log between two snapshots and everything else that belongs to that step, in one transaction.
///
/// Blocking; whoever calls owns the connection.
struct LogReader {
    /// What a step needs more memory than this for is not replayed: subscriptions read their rows anew.
    static let maximumRecords = 200_000
    static let maximumReplay = 50_000
    static let maximumMoved = 100_000

    enum Failure: Error {
        /// The step is too large to hold.
        case tooLarge
    }

    struct Step {
        let snapshot: Snapshot
        /// Microseconds since 1970, by the clock of the database: a moment before the snapshot was taken.
        let readAt: Int64
        /// Another one after each `jobfeed.attach`, `jobfeed.detach` and `jobfeed.kick`.
        let stamp: String
        var records: [String: [LogRecord]]
        var isTooLarge: Bool
    }

    static let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    /// Before the transaction's snapshot is taken: TRUNCATE is not MVCC-safe, so a slot of the log that is emptied after
    /// the snapshot would look empty, and the horizon that says so would look as it was before.
    static let lockLog = "LOCK TABLE jobfeed.change IN ACCESS SHARE MODE"

    /// Two branches and a union: with `OR` or `IN (SELECT …)` the planner may read the whole log.
    private static func sql(filter: String, limit: Int) -> String {
        """
        SELECT pg_current_snapshot()::text,
               (SELECT coalesce(string_agg(xmin::text, ',' ORDER BY name), '') FROM jobfeed.feed) || '/'
                   || \(Revocations.stampSQL),
               (extract(epoch FROM statement_timestamp()) * 1000000)::bigint,
               c.seq, c.xid, c.feed, c.op, c.key, c.hop, (extract(epoch FROM c.at) * 1000000)::bigint, c.row, c.before
        FROM (SELECT 1) AS always LEFT JOIN (
            SELECT * FROM jobfeed.change WHERE xid >= pg_snapshot_xmax($1::pg_snapshot)\(filter)
            UNION ALL
            SELECT * FROM jobfeed.change
            WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip($1::pg_snapshot)))\(filter)
        ) AS c ON true
        ORDER BY c.seq LIMIT \(limit + 1)
        """
    }

    /// To be run once on a connection that ``read(since:)`` is called with.
    static func prepare(_ connection: Connection) throws {
        // The planner cannot know how little lies behind a snapshot; a sequential scan is never right here.
        try connection.execute("SET enable_seqscan = off; SET jit = off; SET plan_cache_mode = force_generic_plan")
        try connection.prepare("jobfeed_read", self.sql(filter: "", limit: self.maximumRecords))
    }

    /// Opens a transaction, which the caller ends, and reads all feeds.
    static func read(_ connection: Connection, since snapshot: Snapshot) throws -> Step {
        let result = try connection.beginThenQueryPrepared(
            [self.begin, self.lockLog],
            "jobfeed_read",
            [snapshot.text]
        )
        return try self.step(result, limit: self.maximumRecords)
    }

    /// Reads one feed inside the caller's transaction.
    static func replay(_ connection: Connection, since snapshot: Snapshot, feed: String) throws -> Step {
        let sql = self.sql(filter: " AND feed = $2", limit: self.maximumReplay)
        try connection.execute("SET LOCAL enable_seqscan = off")
        defer { try? connection.execute("SET LOCAL enable_seqscan = on") }
        return try self.step(connection.query(sql, [snapshot.text, feed]), limit: self.maximumReplay)
    }

    private static func step(_ result: consuming LibPQ.Result, limit: Int) throws -> Step {
        guard let snapshot = result.string(0, 0).flatMap({ Snapshot(text: $0) }) else {
            throw PostgresError(kind: .server, message: "the database returned no snapshot")
        }
        var records: [String: [LogRecord]] = [:]
        if result.int64(0, 3) != nil, result.rowCount <= limit {
            for row in 0..<result.rowCount {
                guard let operation = result.bytes(row, 6)?.first.flatMap(LogRecord.Operation.init),
                    let feed = result.string(row, 5)
                else { continue }
                records[feed, default: []].append(
                    LogRecord(
                        seq: result.int64(row, 3) ?? 0,
                        xid: result.string(row, 4).flatMap { UInt64($0) } ?? 0,
                        operation: operation,
                        key: ByteText(result.string(row, 7) ?? ""),
                        hop: Int(result.int64(row, 8) ?? 1) - 1,
                        at: result.int64(row, 9) ?? 0,
                        row: result.bytes(row, 10).flatMap { Row(json: $0) },
                        before: result.bytes(row, 11).flatMap { Row(json: $0) }
                    )
                )
            }
        }
        return Step(
            snapshot: snapshot,
            readAt: result.int64(0, 2) ?? 0,
            stamp: result.string(0, 1) ?? "",
            records: records,
            isTooLarge: result.rowCount > limit
        )
    }
}
