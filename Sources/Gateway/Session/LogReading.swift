import Feed
import JobFeedProtocol
import LibPQ
import WebSocketTransport

/// The log of one feed from one cursor on, read once for everybody who stands there or later.
struct LogReading: Sendable {
    /// Where the reading ends.
    let cursor: Cursor
    /// Sees all that was ever dropped from the log; `nil` when nothing was.
    let horizon: Snapshot?
    let readAt: Int64
    private let batch: Batch
    /// Transactions that truncated the table.
    private let truncations: [UInt64]

    /// Throws ``LogReader/Failure/tooLarge``, which leaves the transaction to be rolled back.
    init(since start: Snapshot, _ transaction: FeedTransaction) throws {
        let feed = transaction.feed
        let records = try LogReader.replay(transaction.connection, since: start, feed: feed.name)
        let assembler = BatchAssembler(
            connection: transaction.connection,
            feed: feed,
            // Whatever the filters of those who share it look at.
            filterColumns: Set(feed.columns.map(\.name)),
            asText: transaction.isComparingAsText
        )
        self.cursor = transaction.cursor
        self.horizon = transaction.horizon
        self.readAt = transaction.readAt
        self.truncations = records.filter { $0.operation == .truncate }.map(\.xid)
        self.batch = try assembler.batch(records, start: start, end: transaction.cursor.snapshot, isIndexed: true)
    }

    /// Whether it holds all that somebody lacks who stands there and is kept informed from `keptFrom` on.
    func reaches(from since: Cursor, to keptFrom: Snapshot) -> Bool {
        since.epoch == self.cursor.epoch && since.snapshot.includes(self.batch.start)
            && self.batch.end.includes(since.snapshot) && self.batch.end.includes(keptFrom)
    }

    /// - Parameters:
    ///   - counts: only for `FEED#counts`: as of the reading's end.
    func replay(_ request: SnapshotLoader.Request, since: Cursor, counts: StatusCounts?) -> LogReplays.Answer {
        if self.truncations.contains(where: { !since.snapshot.sees($0) }) { return .unrecoverable(reason: "truncate") }
        let view = request.view
        let cursor = self.cursor.encoded()
        let told: Changes
        if let counts {
            let changes = self.batch.changes(notIn: since.snapshot, for: view.viewer)
            let statuses = Set(changes.flatMap { StatusCounts.differences(of: $0, in: view).map(\.status) })
            let at = changes.map(\.at).max() ?? self.readAt
            told = Changes(cursor: cursor, at: at, statuses, of: counts, request.encoding)
        } else {
            let steps = Replay.compacted(self.batch.steps(of: view, notIn: since.snapshot), in: view)
            told = Changes(cursor: cursor, steps, Shape(view, request.encoding))
        }
        return .loaded(
            .init(
                cursor: self.cursor,
                frames: told.frames(head: request.encoding.head(of: request.subscribe)),
                counts: counts ?? StatusCounts(),
                reason: nil
            )
        )
    }
}
