import Feed
import JobFeedProtocol
import LibPQ
import WebSocketTransport

/// Reads what a subscription starts from, in one transaction of its own: a replay of the log from the client's
/// cursor where that is proven to be whole, otherwise the rows as they are.
struct SnapshotLoader: Sendable {
    /// Larger snapshots are cut and say so; a row alone may be larger.
    static let maximumSnapshotBytes = 16 << 20

    struct Request: Sendable {
        let view: View
        let id: String
        let isCounts: Bool
        let limit: Int
        let wantsSnapshot: Bool
        let resume: String?
        /// A view that is read anew after a reset: `subscribed` was said before.
        let isReset: Bool
    }

    struct Loaded: Sendable {
        let cursor: Cursor
        /// From `subscribed` up to what comes before `live`.
        let frames: [OutboundFrame]
        let counts: StatusCounts
        /// The frames go on from the client's cursor.
        let isRecovered: Bool
    }

    enum Failure: Error {
        /// The feed was attached anew in the meantime.
        case definitionChanged
    }

    let request: Request

    private enum Recovery {
        case none(reason: String)
        case changes([Feed.Change])
    }

    func load(_ connection: Connection) throws -> Loaded {
        var isComparingAsText = false
        while true {
            do {
                return try self.load(connection, comparingAsText: isComparingAsText)
            } catch TableRewrite.Failure.rewritten {
                try connection.execute("ROLLBACK")
            } catch let error as PostgresError where error.isDataException && !isComparingAsText {
                // A logged key is no value of the column's type any more.
                isComparingAsText = true
                try connection.execute("ROLLBACK")
            }
        }
    }

    private func load(_ connection: Connection, comparingAsText asText: Bool) throws -> Loaded {
        var opening = [LogReader.begin] + connection.settings.transactionSettings
        opening.append("SET LOCAL search_path = pg_catalog")
        if self.request.resume != nil { opening.append(LogReader.lockLog) }
        try connection.execute(opening.joined(separator: "; "))
        let loaded = try self.loadInTransaction(connection, asText: asText)
        // A snapshot that was cut short has ended its transaction; the pool rolls that back.
        if connection.isUsable { try connection.execute("COMMIT") }
        return loaded
    }

    private func loadInTransaction(_ connection: Connection, asText: Bool) throws -> Loaded {
        let feed = self.request.view.feed
        let head = try connection.query(
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
        try TableRewrite.hold(OwnerPath.tables(of: feed, upTo: feed.hops.count), connection)
        let cursor = Cursor(epoch: Cursor.fingerprint(ofEpoch: epoch), snapshot: snapshot)
        let horizon = head.string(0, 2).flatMap { Snapshot(text: $0) }

        let recovery = try self.recovery(connection, to: cursor, horizon: horizon, asText: asText)
        var frames: [OutboundFrame] = []
        var counts = StatusCounts()
        if self.request.isCounts { counts = try self.counts(connection) }
        switch recovery {
        case .changes(let changes):
            frames.append(
                FrameEncoder.frame(MessageWriter.subscribed(id: self.request.id, recovered: true, reason: nil))
            )
            frames += self.replayFrames(changes, cursor: cursor, at: head.int64(0, 4) ?? 0, counts: counts)
        case .none(let reason):
            if !self.request.isReset {
                frames.append(
                    FrameEncoder.frame(MessageWriter.subscribed(id: self.request.id, recovered: false, reason: reason))
                )
            }
            if self.request.isCounts {
                if self.request.wantsSnapshot { frames.append(self.countSnapshot(counts)) }
            } else if self.request.wantsSnapshot {
                frames += try self.rowFrames(connection)
            }
        }
        var isRecovered = false
        if case .changes = recovery { isRecovered = true }
        return Loaded(cursor: cursor, frames: frames, counts: counts, isRecovered: isRecovered)
    }

    // MARK: Resume

    private func recovery(
        _ connection: Connection,
        to now: Cursor,
        horizon: Snapshot?,
        asText: Bool
    ) throws -> Recovery {
        guard let text = self.request.resume else { return .none(reason: "no_cursor") }
        guard let from = Cursor(encoded: text) else { return .none(reason: "malformed_cursor") }
        let feed = self.request.view.feed
        if let reason = from.obstacle(now: now, horizon: horizon, feed: feed) { return .none(reason: reason) }
        let step = try LogReader.replay(connection, since: from.snapshot, feed: feed.name)
        guard !step.isTooLarge else { return .none(reason: "retention") }
        let assembler = BatchAssembler(
            connection: connection,
            feed: feed,
            filterColumns: self.request.view.filter.columns,
            asText: asText
        )
        do {
            let batch = try assembler.batch(
                step.records[feed.name] ?? [],
                start: from.snapshot,
                end: now.snapshot
            )
            return batch.isTruncated ? .none(reason: "truncate") : .changes(batch.changes)
        } catch LogReader.Failure.tooLarge {
            return .none(reason: "retention")
        }
    }

    private func replayFrames(
        _ changes: [Feed.Change],
        cursor: Cursor,
        at now: Int64,
        counts: StatusCounts
    ) -> [OutboundFrame] {
        let view = self.request.view
        let text = cursor.encoded()
        if self.request.isCounts {
            let statuses = Set(changes.flatMap { StatusCounts.differences(of: $0, in: view).map(\.status) })
            guard !statuses.isEmpty else { return [] }
            return [
                FrameEncoder.counts(
                    id: self.request.id,
                    cursor: text,
                    at: changes.map(\.at).max() ?? now,
                    statuses: statuses,
                    counts: counts
                )
            ]
        }
        let deltas = changes.compactMap { change in view.delta(for: change).map { (change: change, delta: $0) } }
        let compacted = Replay.compacted(deltas, in: view)
        return FrameEncoder.changes(id: self.request.id, cursor: text, deltas: compacted, view: view)
    }

    // MARK: Snapshot

    private func rowFrames(_ connection: Connection) throws -> [OutboundFrame] {
        let view = self.request.view
        let query = ViewQuery.rows(of: view, limit: self.request.limit)
        var rows: [Row] = []
        var bytes = 0
        var isTruncated = false
        if query.canMatch {
            try connection.stream(query.sql, query.parameters) { result in
                guard let json = result.bytes(0), let row = Row(json: json) else { return true }
                guard view.filter.matches({ row[$0] }) else { return true }
                if rows.count == self.request.limit || (bytes + json.count > Self.maximumSnapshotBytes && !rows.isEmpty)
                {
                    isTruncated = true
                    return false
                }
                bytes += json.count
                rows.append(row)
                return true
            }
        }
        return FrameEncoder.snapshot(id: self.request.id, rows: rows, truncated: isTruncated, view: view)
    }

    private func counts(_ connection: Connection) throws -> StatusCounts {
        let view = self.request.view
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
                guard let row = result.bytes(0).flatMap({ Row(json: $0) }), view.filter.matches({ row[$0] }) else {
                    return true
                }
                counts[ByteText(row[view.feed.status]?.scalarText ?? ""), default: 0] += 1
                return true
            }
        }
        return StatusCounts(counts)
    }

    private func countSnapshot(_ counts: StatusCounts) -> OutboundFrame {
        let all = counts.counts.map { (status: $0.key.string, count: $0.value) }.sorted { $0.status < $1.status }
        return FrameEncoder.frame(MessageWriter.snapshot(id: self.request.id, counts: all))
    }
}
