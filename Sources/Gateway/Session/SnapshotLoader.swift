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
        let query = ViewQuery.rows(of: view, limit: self.request.subscribe.limit)
        var rows: [Row] = []
        var bytes = 0
        var isTruncated = false
        if query.canMatch {
            try connection.stream(query.sql, query.parameters) { result in
                guard let json = result.bytes(0), let read = Row(json: json) else { return true }
                let row = view.feed.completed(read)
                guard view.filter.matches({ row[$0] }) else { return true }
                if rows.count == self.request.subscribe.limit
                    || (bytes + json.count > Self.maximumSnapshotBytes && !rows.isEmpty)
                {
                    isTruncated = true
                    return false
                }
                bytes += json.count
                rows.append(row)
                return true
            }
        }
        return self.request.encoding.snapshot(
            of: self.request.subscribe,
            rows,
            isTruncated: isTruncated,
            Shape(view, self.request.encoding)
        )
    }

    private func countSnapshot(_ counts: StatusCounts) -> [OutboundFrame] {
        let all = counts.counts.map { (status: $0.key.string, count: $0.value) }.sorted { $0.status < $1.status }
        return self.request.encoding.snapshot(of: self.request.subscribe, counts: all)
    }

    /// How many rows of a view have which status.
    static func counts(of view: View, _ connection: Connection) throws -> StatusCounts {
        let query = ViewQuery.counts(of: view)
        guard query.canMatch else { return StatusCounts() }
        var counts: [ByteText: Int] = [:]
        if query.isFilterComplete {
            let result = try connection.query(query.sql, query.parameters)
            for row in 0..<result.rowCount {
                counts[ByteText(result.string(row, 0) ?? "")] = result.int64(row, 1).map { Int($0) } ?? 0
            }
        } else {
            let rows = ViewQuery.rows(of: view, limit: .max - 1)
            try connection.stream(rows.sql, rows.parameters) { result in
                guard let read = result.bytes(0).flatMap({ Row(json: $0) }) else { return true }
                let row = view.feed.completed(read)
                guard view.filter.matches({ row[$0] }) else { return true }
                counts[ByteText(row[view.feed.status]?.scalarText ?? ""), default: 0] += 1
                return true
            }
        }
        return StatusCounts(counts)
    }
}
