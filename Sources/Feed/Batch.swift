/// One consistent step of one feed: everything between two snapshots.
package struct Batch: Sendable {
    package let feed: FeedDefinition
    package let start: Snapshot
    package let end: Snapshot
    /// In `seq` order; no `T`.
    package let records: [LogRecord]
    /// Knows every link the records mention, at the end.
    package let owners: OwnerTable
    /// Rows at the end whose owner path changed, by key.
    package let moved: [ByteText: Row]
    /// The table was truncated: views must be read anew.
    package let isTruncated: Bool
    /// For subscriptions that hold exactly `start`.
    package let changes: [Change]
    /// About what it takes in memory.
    package let bytes: Int
    /// For batches that are large, as the one that a node starts with.
    private let index: OwnerIndex?
    /// Columns that were changed by, or are missing from, updates whose rows are not whole.
    private let partialColumns: Set<String>

    package init(
        feed: FeedDefinition,
        start: Snapshot,
        end: Snapshot,
        records: [LogRecord],
        owners: OwnerTable,
        moved: [ByteText: Row],
        isTruncated: Bool,
        isIndexed: Bool? = nil
    ) {
        self.feed = feed
        self.start = start
        self.end = end
        self.records = records
        self.owners = owners
        self.moved = moved
        self.isTruncated = isTruncated
        let bothEnds = Self.learningStart(owners, records, feed)
        self.changes =
            records.isEmpty ? [] : Change.derive(from: records, owners: bothEnds, moved: moved, feed: feed)
        self.bytes = Self.bytes(of: records, moved, changes: self.changes.count)
        self.partialColumns = Self.partialColumns(of: records, feed)
        let isIndexed = isIndexed ?? (records.count > Self.unindexedRecords)
        self.index = isIndexed ? OwnerIndex(records, bothEnds, moved, self.changes) : nil
    }

    private static let unindexedRecords = 256

    /// Whether every row that may enter a view with a filter on these columns is here as a whole. Large columns are
    /// filled in only where some filter looked at the time.
    package func isComplete(for filterColumns: Set<String>) -> Bool {
        self.partialColumns.isDisjoint(with: filterColumns)
    }

    /// The same step for somebody who already holds `snapshot`, wherever that lies.
    ///
    /// - Parameter viewer: leaves out, where that is cheaper, changes that this viewer is not told of.
    package func changes(notIn snapshot: Snapshot, for viewer: View.Viewer) -> [Change] {
        if case .account(let user, _) = viewer, let index = self.index {
            let records = index.places(of: user).lazy.map { self.records[$0] }.filter { !snapshot.sees($0.xid) }
            return Self.derive(Array(records), self.owners, self.moved, self.feed)
        }
        if !self.records.contains(where: { snapshot.sees($0.xid) }) { return self.changes }
        return Self.derive(self.records.filter { !snapshot.sees($0.xid) }, self.owners, self.moved, self.feed)
    }

    /// What this step means for a view of somebody who already holds `snapshot`.
    package func steps(of view: View, notIn snapshot: Snapshot) -> [Replay.Step] {
        self.changes(notIn: snapshot, for: view.viewer).compactMap { change in
            view.delta(for: change).map { (change: change, delta: $0) }
        }
    }

    private static func derive(
        _ records: [LogRecord],
        _ owners: OwnerTable,
        _ moved: [ByteText: Row],
        _ feed: FeedDefinition
    ) -> [Change] {
        guard !records.isEmpty else { return [] }
        let bothEnds = Self.learningStart(owners, records, feed)
        // Nothing moves within a span in which no owner path changed.
        let isPathChanged = records.contains { $0.operation == .ownerPath }
        return Change.derive(from: records, owners: bothEnds, moved: isPathChanged ? moved : [:], feed: feed)
    }

    private static func learningStart(
        _ owners: OwnerTable,
        _ records: [LogRecord],
        _ feed: FeedDefinition
    ) -> OwnerTable {
        var owners = owners
        for record in records { owners.applyBefore(record, of: feed) }
        return owners
    }

    private static func partialColumns(of records: [LogRecord], _ feed: FeedDefinition) -> Set<String> {
        var columns: Set<String> = []
        for record in records where record.operation == .update {
            guard let row = record.row, row.columns.count < feed.columns.count else { continue }
            columns.formUnion(record.before?.columns.map(\.name) ?? [])
            for column in feed.columns where row[column.name] == nil { columns.insert(column.name) }
        }
        return columns
    }

    private static func bytes(of records: [LogRecord], _ moved: [ByteText: Row], changes: Int) -> Int {
        // A name, and a place in the row's text.
        func bytes(_ row: Row?) -> Int {
            row?.columns.reduce(64) { $0 + $1.name.utf8.count + $1.value.bytes.count + 48 } ?? 0
        }
        let rows = records.reduce(0) { $0 + 128 + $1.key.string.utf8.count + bytes($1.row) + bytes($1.before) }
        return 256 + rows + moved.values.reduce(0) { $0 + 64 + bytes($1) } + changes * 128
    }
}
