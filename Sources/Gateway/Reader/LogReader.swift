import Feed
import LibPQ

/// Reads the log between two snapshots and everything else that belongs to that step, in one transaction.
///
/// Blocking; whoever calls owns the connection.
struct LogReader {
    /// What a step needs more memory than this for is not replayed: subscriptions read their rows anew.
    static let maximumRecords = 200_000
    static let maximumReplay = 50_000
    /// Of the log's text; as rows it takes several times as much.
    static let maximumReplayBytes = 32 << 20
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
        /// Sees all that was ever dropped from the log; `nil` when nothing was.
        let horizon: Snapshot?
        var records: [String: [LogRecord]]
        /// By feed: rows of the first table of the owner path to which the records' links lead, for feeds whose path the
        /// statement knows; complete.
        var owners: [String: [Row]] = [:]
        /// A table of an owner path was rewritten after the snapshot.
        var isRewritten = false
        var isTooLarge: Bool
    }

    static let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    /// Before the transaction's snapshot is taken: TRUNCATE is not MVCC-safe, so a slot of the log that is emptied after
    /// the snapshot would look empty, and the horizon that says so would look as it was before.
    static let lockLog = "LOCK TABLE jobfeed.change IN ACCESS SHARE MODE"

    private static let columns =
        "c.seq, c.xid, c.feed, c.op, c.key, c.hop, (extract(epoch FROM c.at) * 1000000)::bigint, c.row, c.before"

    /// Two branches and a union: with `OR` or `IN (SELECT …)` the planner may read the whole log.
    private static func span(filter: String) -> String {
        """
        SELECT * FROM jobfeed.change WHERE xid >= pg_snapshot_xmax($1::pg_snapshot)\(filter)
        UNION ALL
        SELECT * FROM jobfeed.change WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip($1::pg_snapshot)))\(filter)
        """
    }

    /// What is prepared to read all feeds.
    struct Statement {
        let name: String
        let sql: String
        /// Feeds whose owners come along.
        let feeds: Set<String>

        /// Knows nothing of feeds, so nothing in their tables can make it fail.
        static let plain = Statement([])

        init(_ feeds: some Collection<FeedDefinition>) {
            let known = feeds.filter { $0.hops.count == 1 && $0.problem == nil }.sorted { $0.name < $1.name }
            let owners = [false, true].map { isBefore in
                let cases = known.map {
                    "WHEN \(SQLText.literal($0.name)) THEN (\(OwnerPath.firstRow(of: $0, before: isBefore)))"
                }
                return known.isEmpty ? "NULL" : "CASE c.feed \(cases.joined(separator: "\n")) END"
            }
            let tables = Set(known.map { SQLText.table($0.hops[0].schema, $0.hops[0].table) }).sorted()
            let guarded = known.isEmpty ? "true" : "c.seq IS NULL OR (SELECT \(TableRewrite.none(of: tables)))"
            self.feeds = Set(known.map(\.name))
            self.sql = """
                SELECT pg_current_snapshot()::text,
                       (SELECT coalesce(string_agg(xmin::text, ',' ORDER BY name), '') FROM jobfeed.feed) || '/'
                           || \(Revocations.stampSQL),
                       (extract(epoch FROM statement_timestamp()) * 1000000)::bigint,
                       (SELECT snapshot::text FROM jobfeed.horizon),
                       \(LogReader.columns), \(owners.joined(separator: ", ")), \(guarded)
                FROM (SELECT 1) AS always LEFT JOIN (\(LogReader.span(filter: ""))) AS c ON true
                ORDER BY c.seq LIMIT \(LogReader.maximumRecords + 1)
                """
            self.name = "jobfeed_read_" + String(Cursor.fingerprint(ofEpoch: self.sql), radix: 36)
        }
    }

    private static let replaySQL = """
        SELECT \(Self.columns) FROM (\(Self.span(filter: " AND feed = $2"))) AS c
        ORDER BY c.seq LIMIT \(Self.maximumReplay + 1)
        """

    /// What ``prepare(_:)`` sets for a session that lasts.
    private static func transactionSettings(_ connection: Connection) -> [String] {
        guard connection.settings.isPooled else { return [] }
        return connection.settings.transactionSettings + [
            "SET LOCAL search_path = pg_catalog", "SET LOCAL enable_seqscan = off",
        ]
    }

    /// To be run once on a connection that ``read(_:_:since:)`` is called with.
    static func prepare(_ connection: Connection) throws {
        guard !connection.settings.isPooled else { return }
        // The planner cannot know how little lies behind a snapshot; a sequential scan is never right here.
        let settings = ["enable_seqscan = off", "plan_cache_mode = force_generic_plan"]
        try connection.execute("SET search_path = pg_catalog; " + settings.map { "SET \($0)" }.joined(separator: "; "))
    }

    /// Opens a transaction, which the caller ends, and reads all feeds; a transaction that is open is ended before.
    static func read(_ connection: Connection, _ statement: Statement, since snapshot: Snapshot) throws -> Step {
        var isOpen = connection.transactionStatus == .inTransaction
        if !connection.isPrepared(statement.name) {
            if isOpen { try connection.execute("COMMIT") }
            isOpen = false
            try connection.prepare(statement.name, statement.sql)
        }
        let result = try connection.beginThenQueryPrepared(
            (isOpen ? ["COMMIT"] : []) + [self.begin] + self.transactionSettings(connection) + [self.lockLog],
            statement.name,
            [snapshot.text]
        )
        return try self.step(result, statement)
    }

    /// Where to begin so that the log from there on has about so many bytes.
    ///
    /// It may be no snapshot that ever was: "all below this transaction". Whoever includes it lacks nothing but what is
    /// read from there on.
    ///
    /// - Returns: `nil` when there is no such place.
    static func start(_ connection: Connection, bytes: Int) throws -> Snapshot? {
        let result = try connection.query(
            """
            WITH latest AS (
                SELECT c.xid, pg_column_size(c.*) AS bytes FROM jobfeed.change c ORDER BY c.xid DESC LIMIT $1::int + 1
            ), summed AS (
                SELECT xid, sum(bytes) OVER (ORDER BY xid DESC) AS bytes FROM latest
            )
            SELECT (SELECT snapshot::text FROM jobfeed.horizon), count(*), max(bytes),
                   min(xid)::text, min(xid) FILTER (WHERE bytes <= $2::bigint)::text
            FROM summed
            """,
            [String(self.maximumReplay), String(bytes)]
        )
        let horizon = result.string(0, 0).flatMap { Snapshot(text: $0) }
        let isWhole = (result.int64(0, 1) ?? 0) <= self.maximumReplay && (result.int64(0, 2) ?? 0) <= bytes
        if isWhole { return horizon ?? Snapshot(xmin: 1, xmax: 1, inProgress: []) }
        guard let cut = result.string(0, 3).flatMap({ UInt64($0) }),
            let fitting = result.string(0, 4).flatMap({ UInt64($0) })
        else { return nil }
        // The transaction at the cut may have more rows than were looked at.
        let first = max(fitting, cut + 1)
        guard let start = Snapshot(xmin: first, xmax: first, inProgress: []) else { return nil }
        return horizon.map(start.includes) ?? true ? start : nil
    }

    /// Reads one feed inside the caller's transaction; throws ``Failure/tooLarge`` when that is more than a node holds,
    /// and the transaction is then of no use any more.
    static func replay(_ connection: Connection, since snapshot: Snapshot, feed: String) throws -> [LogRecord] {
        try connection.execute("SET LOCAL enable_seqscan = off")
        var records: [LogRecord] = []
        var bytes = 0
        try connection.stream(self.replaySQL, [snapshot.text, feed]) { row in
            guard let record = LogRecord(row, at: 0) else { return true }
            bytes += row.byteCount
            records.append(record)
            return records.count <= self.maximumReplay && bytes <= self.maximumReplayBytes
        }
        guard records.count <= self.maximumReplay, bytes <= self.maximumReplayBytes else { throw Failure.tooLarge }
        try connection.execute("SET LOCAL enable_seqscan = on")
        return records
    }

    private static func step(_ result: borrowing LibPQ.Result, _ statement: Statement) throws -> Step {
        guard let snapshot = result.string(0, 0).flatMap({ Snapshot(text: $0) }) else {
            throw PostgresError(kind: .server, message: "the database returned no snapshot")
        }
        var records: [String: [LogRecord]] = [:]
        var owners: [String: [Row]] = [:]
        let isTooLarge = result.rowCount > self.maximumRecords
        if result.int64(0, 4) != nil, !isTooLarge {
            for row in 0..<result.rowCount {
                result.withRow(row) { row in
                    guard let record = LogRecord(row, at: 4), let feed = row.string(6) else { return }
                    records[feed, default: []].append(record)
                    for column in [13, 14] {
                        guard let owner = row.bytes(column).flatMap({ Row(json: $0) }) else { continue }
                        owners[feed, default: []].append(owner)
                    }
                }
            }
            for feed in statement.feeds where records[feed] != nil && owners[feed] == nil { owners[feed] = [] }
        }
        return Step(
            snapshot: snapshot,
            readAt: result.int64(0, 2) ?? 0,
            stamp: result.string(0, 1) ?? "",
            horizon: result.string(0, 3).flatMap { Snapshot(text: $0) },
            records: records,
            owners: owners,
            isRewritten: result.bool(0, result.columnCount - 1) != true,
            isTooLarge: isTooLarge
        )
    }
}

extension LogRecord {
    /// - Parameter column: where ``seq`` stands and, behind it, the others.
    fileprivate init?(_ row: borrowing RowView, at column: Int) {
        guard let operation = row.withBytes(column + 3, { $0?.first.flatMap(Operation.init) }) else { return nil }
        self.init(
            seq: row.int64(column) ?? 0,
            xid: row.uint64(column + 1) ?? 0,
            operation: operation,
            key: ByteText(row.string(column + 4) ?? ""),
            hop: Int(row.int64(column + 5) ?? 1) - 1,
            at: row.int64(column + 6) ?? 0,
            row: row.bytes(column + 7).flatMap { Row(json: $0) },
            before: row.bytes(column + 8).flatMap { Row(json: $0) }
        )
    }
}
