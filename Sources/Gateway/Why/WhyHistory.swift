import Feed

/// Everything that the log and the tables say about one job, read under one snapshot.
struct WhyEvidence: Sendable {
    let feed: FeedDefinition
    let key: ByteText
    /// The job's own records, the owner path's that concern it, and those of TRUNCATE.
    var records: [LogRecord]
    var committedAt: [UInt64: Int64]
    /// What the owner path leads to now.
    var owners: OwnerTable
    /// The row as it is now.
    var row: Row?
}

/// The transactions of a job, oldest first, each as the step it would have been alone.
struct WhyHistory: Sendable {
    struct Step: Sendable {
        let transaction: WhyTransaction
        /// The owner path before and after.
        let before: OwnerTable
        let after: OwnerTable
        let rowAfter: Row?
        /// What the gateway makes of it, for all viewers.
        let changes: [Change]
    }

    let evidence: WhyEvidence
    let steps: [Step]

    init(_ evidence: WhyEvidence) {
        self.evidence = evidence
        let transactions = WhyTransaction.ordered(
            evidence.records,
            committedAt: evidence.committedAt,
            feed: evidence.feed
        )
        var owners = evidence.owners
        var row = evidence.row
        var steps: [Step] = []
        // Only the end is known: each transaction is taken back to reach the one before.
        for index in transactions.indices.reversed() {
            let transaction = transactions[index]
            var span = owners
            for record in transaction.records { span.applyBefore(record, of: evidence.feed) }
            let before = span.rewound
            steps.append(
                Step(
                    transaction: transaction,
                    before: before,
                    after: owners,
                    rowAfter: row,
                    changes: Self.changes(transaction.records, owners: span, row: row, evidence)
                )
            )
            owners = before
            for record in transaction.records.reversed() {
                switch record.operation {
                case .insert: row = nil
                case .update:
                    row = (row ?? .empty).overlaid(with: record.row ?? .empty).overlaid(with: record.before ?? .empty)
                case .delete: row = record.row
                case .truncate: row = Self.rowBeforeTruncate(transactions[...index], seq: record.seq)
                case .ownerPath: break
                }
            }
        }
        self.steps = steps.reversed()
    }

    /// All that `snapshot` does not see, as the one step that a resume from there is.
    func replay(since snapshot: Snapshot) -> (changes: [Change], before: OwnerTable, isTruncated: Bool) {
        let missed = self.steps.flatMap(\.transaction.records).filter { !snapshot.sees($0.xid) }
            .sorted { $0.seq < $1.seq }
        var span = self.evidence.owners
        for record in missed { span.applyBefore(record, of: self.evidence.feed) }
        let changes = Self.changes(missed, owners: span, row: self.evidence.row, self.evidence)
        return (changes, span.rewound, missed.contains { $0.operation == .truncate })
    }

    private static func changes(
        _ records: [LogRecord],
        owners: OwnerTable,
        row: Row?,
        _ evidence: WhyEvidence
    ) -> [Change] {
        let isOwnerPathChanged = records.contains { $0.operation == .ownerPath }
        return Change.derive(
            from: records.filter { $0.operation != .truncate },
            owners: owners,
            moved: row.map { isOwnerPathChanged ? [evidence.key: $0] : [:] } ?? [:],
            feed: evidence.feed
        )
    }

    /// The log has no copy of what was truncated, only what was last said about it.
    private static func rowBeforeTruncate(_ transactions: ArraySlice<WhyTransaction>, seq: Int64) -> Row? {
        let last = transactions.flatMap(\.records).filter {
            $0.seq < seq && $0.operation != .ownerPath && $0.operation != .truncate
        }.max { $0.seq < $1.seq }
        return last?.operation == .delete ? nil : last?.row
    }
}
