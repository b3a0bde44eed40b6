import Feed
import LibPQ

/// What a thread of the pool reads of one feed under one snapshot: the rows of a view, or the log since a cursor.
struct FeedTransaction {
    enum Failure: Error {
        /// The feed was attached anew in the meantime.
        case definitionChanged
    }

    let connection: Connection
    let feed: FeedDefinition
    /// Where it stands.
    let cursor: Cursor
    /// Sees all that was ever dropped from the log; `nil` when nothing was.
    let horizon: Snapshot?
    /// Microseconds since 1970, by the clock of the database.
    let readAt: Int64
    /// A logged key may be no value of the column's type any more.
    let isComparingAsText: Bool

    /// Runs `body` once more when what it read does not count.
    ///
    /// - Parameter readsLog: the log is then held, so that no slot of it is emptied unnoticed.
    static func run<T>(
        _ feed: FeedDefinition,
        readsLog: Bool,
        on connection: Connection,
        _ body: (FeedTransaction) throws -> T
    ) throws -> T {
        var isComparingAsText = false
        while true {
            do {
                let value = try body(self.begin(feed, readsLog, connection, isComparingAsText))
                // A result that was cut short has ended its transaction; the pool rolls that back.
                if connection.isUsable { try connection.execute("COMMIT") }
                return value
            } catch TableRewrite.Failure.rewritten {
                try connection.execute("ROLLBACK")
            } catch let error as PostgresError where error.isDataException && !isComparingAsText {
                isComparingAsText = true
                try connection.execute("ROLLBACK")
            }
        }
    }

    private static func begin(
        _ feed: FeedDefinition,
        _ readsLog: Bool,
        _ connection: Connection,
        _ asText: Bool
    ) throws -> FeedTransaction {
        var opening = [LogReader.begin] + connection.settings.transactionSettings
        opening.append("SET LOCAL search_path = pg_catalog")
        if readsLog { opening.append(LogReader.lockLog) }
        let head = try connection.beginThenQueryCached(
            opening,
            """
            SELECT pg_current_snapshot()::text, jobfeed.epoch(), (SELECT snapshot::text FROM jobfeed.horizon),
                   (SELECT \(Catalog.revisionSQL) FROM jobfeed.feed f WHERE f.name = $1),
                   (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
            """,
            [feed.name]
        )
        guard let snapshot = head.string(0, 0).flatMap({ Snapshot(text: $0) }), let epoch = head.string(0, 1),
            head.string(0, 3) == feed.revision
        else { throw Failure.definitionChanged }
        // Whoever reads the log goes on to several queries; a lone query has the guard in it.
        if readsLog { try TableRewrite.hold(OwnerPath.tables(of: feed, upTo: feed.hops.count), connection) }
        return FeedTransaction(
            connection: connection,
            feed: feed,
            cursor: Cursor(epoch: Cursor.fingerprint(ofEpoch: epoch), snapshot: snapshot),
            horizon: head.string(0, 2).flatMap { Snapshot(text: $0) },
            readAt: head.int64(0, 4) ?? 0,
            isComparingAsText: asText
        )
    }
}
