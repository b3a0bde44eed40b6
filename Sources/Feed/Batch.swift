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

    package init(
        feed: FeedDefinition,
        start: Snapshot,
        end: Snapshot,
        records: [LogRecord],
        owners: OwnerTable,
        moved: [ByteText: Row],
        isTruncated: Bool
    ) {
        self.feed = feed
        self.start = start
        self.end = end
        self.records = records
        self.owners = owners
        self.moved = moved
        self.isTruncated = isTruncated
        self.changes = Self.derive(records, owners, moved, feed)
    }

    /// The same step for somebody who already holds `snapshot`, wherever that lies.
    package func changes(notIn snapshot: Snapshot) -> [Change] {
        if !self.records.contains(where: { snapshot.sees($0.xid) }) { return self.changes }
        return Self.derive(self.records.filter { !snapshot.sees($0.xid) }, self.owners, self.moved, self.feed)
    }

    private static func derive(
        _ records: [LogRecord],
        _ owners: OwnerTable,
        _ moved: [ByteText: Row],
        _ feed: FeedDefinition
    ) -> [Change] {
        guard !records.isEmpty else { return [] }
        var owners = owners
        for record in records { owners.applyBefore(record, of: feed) }
        return Change.derive(from: records, owners: owners, moved: moved, feed: feed)
    }
}
