/// What happened to one row, with its owner before and after: all that a view needs to decide.
package struct Change: Sendable {
    /// Whose views a change is meant for. They differ only for a row whose owner changed: operators see each
    /// step, accounts only the step from one owner to the other (see ``Change/derive(from:owners:moved:feed:)``).
    package enum Audience: Sendable {
        case everybody
        case operators
        case accounts
    }

    package let key: ByteText
    package let at: Int64
    package let audience: Audience
    /// The row after the change; before it when `isDelete`.
    package let row: Row
    /// Old values of the columns that changed.
    package let old: Row
    package let isInsert: Bool
    package let isDelete: Bool
    /// `nil`: no owner, or no row at that time.
    package let ownerBefore: ByteText?
    package let ownerAfter: ByteText?

    package func before(_ column: String) -> JSONText? { self.old[column] ?? self.row[column] }
    package func after(_ column: String) -> JSONText? { self.row[column] }
    package var existedBefore: Bool { !self.isInsert }
    package var existsAfter: Bool { !self.isDelete }
}

extension Change {
    /// Turns a span of one feed's log into changes, in `seq` order per row.
    ///
    /// A row keeps its owner nearly always, and then each record is one change. When its owner changes inside the
    /// span, the states between are visible to nobody who may not see them at a committed snapshot:
    ///
    /// * re-linked: the records of the transaction that did it are folded into one change (row locks make a row's
    ///   transactions contiguous and ordered, so the states between transactions are committed ones);
    /// * the owner path itself changed: the order between that change and the row's own is not known, so all of
    ///   the row's records are folded into one change from the span's start to its end.
    ///
    /// - Parameters:
    ///   - records: in `seq` order, of one feed, without `T`.
    ///   - owners: knows every link that the records mention.
    ///   - moved: rows at the end of the span whose owner path changed, by key.
    package static func derive(
        from records: [LogRecord],
        owners: OwnerTable,
        moved: [ByteText: Row],
        feed: FeedDefinition
    ) -> [Change] {
        var byKey: [ByteText: [LogRecord]] = [:]
        for record in records where record.operation != .ownerPath {
            byKey[record.key, default: []].append(record)
        }
        var changes: [(seq: Int64, change: Change)] = []
        changes.reserveCapacity(records.count)
        // By length, then by text: numbers in their order, and the same order on every node.
        let unchanged = moved.filter { byKey[$0.key] == nil }.sorted {
            ($0.key.string.utf8.count, $0.key.string) < ($1.key.string.utf8.count, $1.key.string)
        }
        for (key, row) in unchanged {
            let before = owners.ownerAtStart { row[$0] }
            let after = owners.ownerAtEnd { row[$0] }
            if before != after {
                let change = Change(
                    key: key,
                    at: records.last?.at ?? 0,
                    audience: .accounts,
                    row: feed.completed(row),
                    old: .empty,
                    isInsert: false,
                    isDelete: false,
                    ownerBefore: before,
                    ownerAfter: after
                )
                changes.append((.min, change))
            }
        }
        for (key, records) in byKey {
            let own = Self.withoutUnseen(records)
            let isPathChanged = own.contains { record in
                owners.isPathChanged { record.row?[$0] }
                    || owners.isPathChanged { record.before?[$0] ?? record.row?[$0] }
            }
            if isPathChanged {
                let singles = own.map {
                    Self.single($0, feed, before: owners.ownerAtStart(of:), after: owners.ownerAtEnd(of:))
                }
                Self.append(singles, of: own[...], key: key, isFolded: own.count > 1, to: &changes)
                continue
            }
            var rest = own[...]
            while let xid = rest.first?.xid {
                let transaction = rest.prefix { $0.xid == xid }
                rest = rest.dropFirst(transaction.count)
                let singles = transaction.map {
                    Self.single($0, feed, before: owners.steadyOwner(of:), after: owners.steadyOwner(of:))
                }
                // What a transaction wrote before it deleted the row was never there to be seen.
                let isFolded =
                    singles.count > 1 && (Self.ownerCount(singles) > 1 || transaction.last?.operation == .delete)
                Self.append(singles, of: transaction, key: key, isFolded: isFolded, to: &changes)
            }
        }
        // One row's changes have ascending seq; between rows there is no order.
        changes.sort { $0.seq < $1.seq }
        return changes.map(\.change)
    }

    /// Born and gone in one transaction: no snapshot ever saw it.
    private static func withoutUnseen(_ records: [LogRecord]) -> [LogRecord] {
        var seen: [LogRecord] = []
        var rest = records[...]
        while let first = rest.first {
            let transaction = rest.prefix { $0.xid == first.xid }
            rest = rest.dropFirst(transaction.count)
            if first.operation != .insert || transaction.last?.operation != .delete { seen += transaction }
        }
        return seen
    }

    private static func ownerCount(_ changes: [Change]) -> Int {
        var owners: Set<ByteText?> = []
        for change in changes {
            if change.existedBefore { owners.insert(change.ownerBefore) }
            if change.existsAfter { owners.insert(change.ownerAfter) }
        }
        return owners.count
    }

    /// Adds the changes as they are or, folded, the single ones for operators and one net change for accounts.
    private static func append(
        _ singles: [Change],
        of records: ArraySlice<LogRecord>,
        key: ByteText,
        isFolded: Bool,
        to changes: inout [(seq: Int64, change: Change)]
    ) {
        guard isFolded, let first = singles.first, let last = singles.last, let lastSeq = records.last?.seq else {
            for (record, change) in zip(records, singles) { changes.append((record.seq, change)) }
            return
        }
        for (record, change) in zip(records, singles) {
            changes.append((record.seq, change.with(audience: .operators)))
        }
        guard first.existedBefore || last.existsAfter else { return }
        var start = Row.empty
        for change in singles.reversed() {
            start = change.isDelete ? change.row : start.overlaid(with: change.old)
        }
        var end = Row.empty
        for change in singles { end = end.overlaid(with: change.row) }
        let old = start.values.filter { column, value in end[column] != value }
        let net = Change(
            key: key,
            at: last.at,
            audience: .accounts,
            row: end,
            old: Row(values: old),
            isInsert: first.isInsert,
            isDelete: last.isDelete,
            ownerBefore: first.ownerBefore,
            ownerAfter: last.ownerAfter
        )
        changes.append((lastSeq, net))
    }

    private static func single(
        _ record: LogRecord,
        _ feed: FeedDefinition,
        before ownerBefore: ((String) -> JSONText?) -> ByteText?,
        after ownerAfter: ((String) -> JSONText?) -> ByteText?
    ) -> Change {
        let before = ownerBefore { record.before?[$0] ?? record.row?[$0] }
        let after = ownerAfter { record.row?[$0] }
        let (row, old) = feed.completed(record.row ?? .empty, record.before ?? .empty)
        return Change(
            key: record.key,
            at: record.at,
            audience: .everybody,
            row: row,
            old: old,
            isInsert: record.operation == .insert,
            isDelete: record.operation == .delete,
            ownerBefore: record.operation == .insert ? nil : before,
            ownerAfter: record.operation == .delete ? nil : after
        )
    }

    /// Both changes as one, for a row whose owner is the same throughout.
    func merged(over earlier: Change) -> Change {
        Change(
            key: self.key,
            at: self.at,
            audience: self.audience,
            row: earlier.row.overlaid(with: self.row),
            old: self.old.overlaid(with: earlier.old),
            isInsert: earlier.isInsert,
            isDelete: self.isDelete,
            ownerBefore: earlier.ownerBefore,
            ownerAfter: self.ownerAfter
        )
    }

    private func with(audience: Audience) -> Change {
        Change(
            key: self.key,
            at: self.at,
            audience: audience,
            row: self.row,
            old: self.old,
            isInsert: self.isInsert,
            isDelete: self.isDelete,
            ownerBefore: self.ownerBefore,
            ownerAfter: self.ownerAfter
        )
    }
}
