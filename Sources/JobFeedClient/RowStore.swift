public import JobFeedProtocol

/// The rows of a view by key, kept up to date by the events of one subscription.
///
/// ```swift
/// var store = RowStore()
/// for try await event in subscription {
///     store.apply(event)
///     draw(store.rows)
/// }
/// ```
public struct RowStore: Sendable, Equatable {
    /// Key to columns.
    public private(set) var rows: [String: JSONObject] = [:]

    public init() {}

    public var count: Int { self.rows.count }

    public subscript(key: String) -> JSONObject? { self.rows[key] }

    /// Applies the rows that an event carries; events about the connection change nothing.
    public mutating func apply(_ event: Event) {
        switch event {
        case .snapshot(let snapshot): self.replace(with: snapshot.rows)
        case .changes(let batch):
            for change in batch.changes {
                self.apply(change)
            }
        case .connecting, .live, .behind, .reconnecting, .counts: break
        }
    }

    /// `enter` replaces, `update` assigns (and is ignored for a key that is not held), `leave` removes.
    ///
    /// - Returns: The row before the change, `nil` when it was not held.
    @discardableResult
    public mutating func apply(_ change: Change) -> JSONObject? {
        switch change {
        case .enter(let key, _, let row): return self.rows.updateValue(row, forKey: key)
        case .update(let key, let set):
            let before = self.rows[key]
            self.rows[key]?.assign(set)
            return before
        case .leave(let key, _, _): return self.rows.removeValue(forKey: key)
        }
    }

    public mutating func replace(with rows: [ServerMessage.Row]) {
        self.rows = Dictionary(rows.map { ($0.key, $0.columns) }) { $1 }
    }

    /// The changes that lead from the rows held here to the rows of `snapshot`, and nothing for rows that are equal.
    ///
    /// Rows that are missing from a truncated snapshot may still exist, so they produce no `leave`.
    public func difference(to snapshot: Event.Snapshot) -> [Change] {
        var changes: [Change] = []
        for row in snapshot.rows {
            guard let held = self.rows[row.key] else {
                changes.append(.enter(key: row.key, reason: "snapshot", row: row.columns))
                continue
            }
            let set = JSONObject(row.columns.filter { held[$0.key] != $0.value }.map { ($0.key, $0.value) })
            if !set.isEmpty {
                changes.append(.update(key: row.key, set: set))
            }
        }
        if !snapshot.truncated {
            let keys = Set(snapshot.rows.map(\.key))
            for key in self.rows.keys.sorted() where !keys.contains(key) {
                changes.append(.leave(key: key, reason: "snapshot", set: nil))
            }
        }
        return changes
    }
}
