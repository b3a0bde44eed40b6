/// Who owns what a link leads to, at the end of a span of the log and at its start.
///
/// The end is read from the database under the batch's snapshot; the start follows from it and from the
/// span's own `S` records, which say what the owner path held before.
package struct OwnerTable: Sendable {
    private enum End: Sendable {
        case noRow
        case leads(to: ByteText?)
    }

    private let hops: [FeedDefinition.Hop]
    private let ownerColumn: String?
    /// Per hop: key text → what its row leads to at the end: the next link's (or the owner's) text.
    private var ends: [[ByteText: End]]
    /// Per hop: key text → the same at the start, only where the span changed it; `nil` inside: there was no such row.
    private var starts: [[ByteText: ByteText?]]
    /// Per hop: key text → all that rows of that key led to until the span changed or deleted them.
    private var past: [[ByteText: Set<ByteText?>]]

    package init(feed: FeedDefinition) {
        self.hops = feed.hops
        self.ownerColumn = feed.ownerColumn
        self.ends = Array(repeating: [:], count: feed.hops.count)
        self.starts = Array(repeating: [:], count: feed.hops.count)
        self.past = Array(repeating: [:], count: feed.hops.count)
    }

    /// The columns of hop `hop`'s table that lead on.
    package static func nextColumns(of feed: FeedDefinition, hop: Int) -> [String] {
        hop + 1 < feed.hops.count ? feed.hops[hop + 1].from : feed.ownerColumn.map { [$0] } ?? []
    }

    /// Called with `nil` for every key that is looked up, then again for each row that was found.
    package mutating func learn(hop: Int, key: ByteText, next: ByteText?) {
        let isFound = next != nil || self.ends[hop][key] != nil
        self.ends[hop][key] = isFound ? .leads(to: next) : .noRow
    }

    /// The keys at hop `hop` that are reachable from `links` at any time of the span and not known yet.
    package func unknownKeys(hop: Int, from links: Set<ByteText>) -> Set<ByteText> {
        self.keys(hop: hop, from: links).filter { self.ends[hop][$0] == nil }
    }

    /// The keys at hop `hop` that are reachable from `links` at any time of the span.
    package func keys(hop: Int, from links: Set<ByteText>) -> Set<ByteText> {
        var keys = links
        for step in 0..<hop { keys = Set(keys.flatMap { self.nextEver(step, $0) }.compactMap { $0 }) }
        return keys
    }

    /// All that rows of this key led to in the span. Whatever referred to the key did so while there was a row.
    private func nextEver(_ hop: Int, _ key: ByteText) -> Set<ByteText?> {
        var next = self.past[hop][key, default: []]
        if case .leads(let end) = self.ends[hop][key] { next.insert(end) }
        return next.isEmpty ? [nil] : next
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
        self.past[hop][oldKey, default: []].insert(before.keyText(next))
        if let newKey = record.row?.keyText(referenced), newKey != oldKey, self.starts[hop][newKey] == nil {
            self.starts[hop][newKey] = .some(nil)
        }
    }

    /// The end alone: each span of the log that is cut out of a batch brings its own start.
    package var withoutStarts: OwnerTable {
        var table = self
        table.starts = Array(repeating: [:], count: self.hops.count)
        table.past = Array(repeating: [:], count: self.hops.count)
        return table
    }

    /// The table one span earlier: what the span's `S` records changed leads where it led at the start.
    package var rewound: OwnerTable {
        var table = self.withoutStarts
        for hop in self.hops.indices {
            for (key, next) in self.starts[hop] { table.ends[hop][key] = next.map { .leads(to: $0) } ?? .noRow }
        }
        return table
    }

    /// Where a path stops before it names an owner.
    package enum Gap: Equatable, Sendable {
        /// The columns that lead to hop `hop` (behind the last one: the owner) are null, in the row with this key of the
        /// hop before, or in the feed's own row.
        case null(hop: Int, key: ByteText?)
        /// No row of hop `hop` has this key.
        case noRow(hop: Int, key: ByteText)
    }

    /// Why a row has no owner at the end; `nil` when it has one, or the feed knows none.
    package func gapAtEnd(of row: (String) -> JSONText?) -> Gap? {
        guard let column = self.ownerColumn else { return nil }
        guard let first = self.hops.first else {
            return row(column)?.scalarText == nil ? .null(hop: 0, key: nil) : nil
        }
        guard var key = Self.keyText(first.from, row) else { return .null(hop: 0, key: nil) }
        for hop in self.hops.indices {
            switch self.ends[hop][key] {
            case .leads(let next?): key = next
            case .leads(nil): return .null(hop: hop + 1, key: key)
            case .noRow, nil: return .noRow(hop: hop, key: key)
            }
        }
        return nil
    }

    /// The owner of a row now; `nil`: nobody but operators.
    package func ownerAtEnd(of row: (String) -> JSONText?) -> ByteText? {
        self.owner(of: row) { hop, key in self.end(hop, key) }
    }

    package func ownerAtStart(of row: (String) -> JSONText?) -> ByteText? {
        self.owner(of: row) { hop, key in self.starts[hop][key] ?? self.end(hop, key) }
    }

    private func end(_ hop: Int, _ key: ByteText) -> ByteText? {
        if case .leads(let next) = self.ends[hop][key] { next } else { nil }
    }

    /// The one owner that the path from this row named all through the span; ask ``isPathChanged(of:)`` first.
    package func steadyOwner(of row: (String) -> JSONText?) -> ByteText? {
        self.isSteady ? self.ownerAtEnd(of: row) : self.ownersEver(of: row).first ?? nil
    }

    /// Whether the path from this row led to different owners during the span.
    ///
    /// A row of the path that was deleted, or got another key, named the same owner as long as anything referred to it.
    package func isPathChanged(of row: (String) -> JSONText?) -> Bool {
        !self.isSteady && self.ownersEver(of: row).count > 1
    }

    private var isSteady: Bool { self.past.allSatisfy(\.isEmpty) }

    private func ownersEver(of row: (String) -> JSONText?) -> Set<ByteText?> {
        guard let first = self.hops.first else { return [self.ownerAtEnd(of: row)] }
        var keys: Set<ByteText?> = [Self.keyText(first.from, row)]
        for hop in self.hops.indices {
            keys = Set(keys.flatMap { key in key.map { self.nextEver(hop, $0) } ?? [nil] })
        }
        return keys
    }

    private func owner(of row: (String) -> JSONText?, _ next: (Int, ByteText) -> ByteText?) -> ByteText? {
        guard let ownerColumn else { return nil }
        guard let first = self.hops.first else { return row(ownerColumn)?.scalarText.map { ByteText($0) } }
        guard var key = Self.keyText(first.from, row) else { return nil }
        for hop in self.hops.indices {
            guard let text = next(hop, key) else { return nil }
            key = text
        }
        return key
    }

    package static func keyText(_ columns: [String], _ row: (String) -> JSONText?) -> ByteText? {
        if columns.count == 1 { return row(columns[0])?.scalarText.map { ByteText($0) } }
        var values = Row.empty
        for column in columns {
            if let value = row(column) { values.set(column, value) }
        }
        return values.keyText(columns)
    }
}
