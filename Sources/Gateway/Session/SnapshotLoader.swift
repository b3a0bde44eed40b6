import Feed
import JobFeedProtocol
import LibPQ
import WebSocketTransport

/// Reads the rows that a subscription starts from, in one transaction of its own.
struct SnapshotLoader: Sendable {
    /// Larger snapshots are cut and say so; a row alone may be larger.
    static let maximumSnapshotBytes = 16 << 20

    struct Request: Sendable {
        let view: View
        let subscribe: Subscribe
        let encoding: any RowEncoding
        let isCounts: Bool
        let wantsSnapshot: Bool
    }

    struct Loaded: Sendable {
        let cursor: Cursor
        /// What comes between `subscribed` and `live`.
        let frames: [OutboundFrame]
        let counts: StatusCounts
        /// Why the frames do not go on from a cursor, as clients see it; `nil` when they do.
        let reason: String?

        var isRecovered: Bool { self.reason == nil }
    }

    let request: Request
    /// Why it does not go on from a cursor, as clients see it.
    let reason: String

    func load(_ connection: Connection) throws -> Loaded {
        try FeedTransaction.run(self.request.view.feed, readsLog: false, on: connection, self.load)
    }

    private func load(_ transaction: FeedTransaction) throws -> Loaded {
        var frames: [OutboundFrame] = []
        var counts = StatusCounts()
        if self.request.isCounts {
            counts = try Self.counts(of: self.request.view, transaction.connection)
            if self.request.wantsSnapshot { frames = self.countSnapshot(counts) }
        } else if self.request.wantsSnapshot {
            frames = try self.rowFrames(transaction.connection)
        }
        return Loaded(cursor: transaction.cursor, frames: frames, counts: counts, reason: self.reason)
    }

    private func rowFrames(_ connection: Connection) throws -> [OutboundFrame] {
        let view = self.request.view
        let (rows, isTruncated) = try Self.rows(of: view, limit: self.request.subscribe.limit, connection)
        return self.request.encoding.snapshot(
            of: self.request.subscribe,
            rows,
            isTruncated: isTruncated,
            Shape(view, self.request.encoding)
        )
    }

    /// The newest rows of a view, and whether there are more.
    static func rows(of view: View, limit: Int, _ connection: Connection) throws -> (rows: [Row], isTruncated: Bool) {
        var rows: [Row] = []
        var bytes = 0
        var isTruncated = false
        try self.read(ViewQuery.rows(of: view, limit: limit), "x.json", connection) { result in
            guard let json = result.bytes(1), let row = Row(json: json).map(view.feed.completed) else { return true }
            guard view.filter.matches({ row[$0] }) else { return true }
            if rows.count == limit || (bytes + json.count > Self.maximumSnapshotBytes && !rows.isEmpty) {
                isTruncated = true
                return false
            }
            bytes += json.count
            rows.append(row)
            return true
        }
        return (rows, isTruncated)
    }

    private static func read(
        _ query: ViewQuery,
        _ columns: String,
        _ connection: Connection,
        row: (borrowing RowView) throws -> Bool
    ) throws {
        guard query.canMatch else { return }
        let sql = query.guarded(columns)
        let checked: (borrowing RowView) throws -> Bool = { result in
            guard result.bool(0) == true else { throw TableRewrite.Failure.rewritten }
            return try row(result)
        }
        if query.isCommon {
            try connection.streamCached(sql, query.parameters, row: checked)
        } else {
            try connection.stream(sql, query.parameters, row: checked)
        }
    }

    private func countSnapshot(_ counts: StatusCounts) -> [OutboundFrame] {
        let all = counts.counts.map { (status: $0.key.string, count: $0.value) }.sorted { $0.status < $1.status }
        return self.request.encoding.snapshot(of: self.request.subscribe, counts: all)
    }

    /// How many rows of a view have which status.
    static func counts(of view: View, _ connection: Connection) throws -> StatusCounts {
        let query = ViewQuery.counts(of: view)
        var counts: [ByteText: Int] = [:]
        if query.isFilterComplete {
            try self.read(query, "x.status, x.number", connection) { row in
                if let status = row.string(1) { counts[ByteText(status)] = row.int64(2).map { Int($0) } ?? 0 }
                return true
            }
        } else {
            try self.read(ViewQuery.rows(of: view, limit: .max - 1), "x.json", connection) { result in
                guard let row = result.bytes(1).flatMap({ Row(json: $0) }).map(view.feed.completed),
                    view.filter.matches({ row[$0] })
                else { return true }
                counts[ByteText(row[view.feed.status]?.scalarText ?? ""), default: 0] += 1
                return true
            }
        }
        return StatusCounts(counts)
    }
}
