/// Who owns what a link leads to, at the end of a span of the log and at its start.
///
/// The end is read from the database under the batch's snapshot; the start follows from it and from the
/// span's own `S` records, which say what the owner path held before.
package struct OwnerTable: Sendable {
    private let hops: [FeedDefinition.Hop]
    private let ownerColumn: String?
    /// Per hop: key text → the next link's (or the owner's) text at the end; absent rows are missing.
    private var ends: [[String: String?]]
    /// Per hop: key text → the same at the start, only where the span changed it; `nil` inside: there was no such row.
    private var starts: [[String: String?]]
    /// Per hop: keys of rows that the span updated, so that two owners follow each other under one link.
    private var updated: [Set<String>]

    package init(feed: FeedDefinition) {
        self.hops = feed.hops
        self.ownerColumn = feed.ownerColumn
        self.ends = Array(repeating: [:], count: feed.hops.count)
        self.starts = self.ends
        self.updated = Array(repeating: [], count: feed.hops.count)
    }

    /// The columns of hop `hop`'s table that lead on.
    package static func nextColumns(of feed: FeedDefinition, hop: Int) -> [String] {
        hop + 1 < feed.hops.count ? feed.hops[hop + 1].from : feed.ownerColumn.map { [$0] } ?? []
    }

    package mutating func learn(hop: Int, key: String, next: String?) {
        self.ends[hop][key] = .some(next)
    }

    /// The keys at hop `hop` that are reachable from `links` and not known yet, at the end or at the start.
    package func unknownKeys(hop: Int, from links: Set<String>) -> Set<String> {
        var keys = links
        for step in 0..<hop {
            var next: Set<String> = []
            for key in keys {
                if let end = self.ends[step][key], let text = end { next.insert(text) }
                if let start = self.starts[step][key], let text = start { next.insert(text) }
            }
            keys = next
        }
        return keys.filter { self.ends[hop][$0] == nil }
    }

    /// Takes the start's values from an `S` record; the first record of a row wins, as it holds the oldest.
    package mutating func applyBefore(_ record: LogRecord, of feed: FeedDefinition) {
        guard record.operation == .ownerPath, self.hops.indices.contains(record.hop), let before = record.before else {
            return
        }
        let hop = record.hop
        let referenced = self.hops[hop].to
        let next = Self.nextColumns(of: feed, hop: hop)
        guard let oldKey = before.keyText(referenced) else { return }
        if self.starts[hop][oldKey] == nil { self.starts[hop][oldKey] = .some(before.keyText(next)) }
        guard let row = record.row else { return }
        self.updated[hop].insert(oldKey)
        if let newKey = row.keyText(referenced), newKey != oldKey {
            self.updated[hop].insert(newKey)
            if self.starts[hop][newKey] == nil { self.starts[hop][newKey] = .some(nil) }
        }
    }

    /// The end alone: each span of the log that is cut out of a batch brings its own start.
    package var withoutStarts: OwnerTable {
        var table = self
        table.starts = Array(repeating: [:], count: self.hops.count)
        table.updated = Array(repeating: [], count: self.hops.count)
        return table
    }

    /// The owner of a row now; `nil`: nobody but operators.
    package func ownerAtEnd(of row: (String) -> JSONText?) -> String? {
        self.owner(of: row) { hop, key in self.ends[hop][key] ?? nil }
    }

    package func ownerAtStart(of row: (String) -> JSONText?) -> String? {
        self.owner(of: row) { hop, key in self.starts[hop][key] ?? self.ends[hop][key] ?? nil }
    }

    /// Whether the path from this row led to different owners during the span.
    ///
    /// A row of the path that was only deleted did not: it named the same owner as long as anything referred to it.
    package func isPathChanged(of row: (String) -> JSONText?) -> Bool {
        guard let first = self.hops.first, var key = Self.keyText(first.from, row) else { return false }
        for hop in self.hops.indices {
            if self.updated[hop].contains(key) { return true }
            let end = self.ends[hop][key] ?? nil
            // Deleted, and inserted again with the same key.
            if self.starts[hop][key] != nil, end != nil { return true }
            guard let next = self.starts[hop][key] ?? end else { return false }
            key = next
        }
        return false
    }

    private func owner(of row: (String) -> JSONText?, _ next: (Int, String) -> String?) -> String? {
        guard let ownerColumn else { return nil }
        guard let first = self.hops.first else { return row(ownerColumn)?.scalarText }
        guard var key = Self.keyText(first.from, row) else { return nil }
        for hop in self.hops.indices {
            guard let text = next(hop, key) else { return nil }
            key = text
        }
        return key
    }

    package static func keyText(_ columns: [String], _ row: (String) -> JSONText?) -> String? {
        var values: [String: JSONText] = [:]
        for column in columns { values[column] = row(column) }
        return Row(values: values).keyText(columns)
    }
}
