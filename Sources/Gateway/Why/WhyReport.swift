import Feed
import JobFeedProtocol

/// The answer to a ``WhyQuestion``.
package struct WhyReport: Sendable {
    struct Entry: Sendable {
        /// `insert`, `update of status, progress`, `delete`, `truncate`, `owner path`.
        let what: String
        let operation: String
        let columns: [String]
        let statusBefore: String?
        let statusAfter: String?
        let ownerBefore: String?
        let ownerAfter: String?
        let verdict: Verdict
        /// Column, old value, new value; only when asked for.
        let values: [(column: String, before: JSONText?, after: JSONText?)]
    }

    struct Step: Sendable {
        let xid: UInt64
        let at: Int64
        /// What happened to the owner path.
        let events: [String]
        let entries: [Entry]
        let notes: [String]
    }

    struct Replay: Sendable {
        /// `nil`: recovered.
        let reason: String?
        let entries: [Entry]

        static let note =
            "all that was missed is one step, in which ticks between two statuses are merged; a node that still has it"
            + " in memory merges the steps in which it read it. What is not sent stands last"
    }

    struct Now: Sendable {
        let exists: Bool
        let status: String?
        let owner: String?
        let isVisible: Bool
        let message: String
    }

    let question: WhyQuestion
    let feed: String
    let steps: [Step]
    let replay: Replay?
    let now: Now
    /// How far back the log reaches.
    let reach: String
    let oldestAt: Int64?
    /// What may mislead.
    let hints: [String]
}

extension WhyReport.Step {
    init(_ step: WhyHistory.Step, judge: Judge, withValues: Bool) {
        let transaction = step.transaction
        let feed = judge.view.feed
        self.xid = transaction.xid
        self.at = transaction.at
        self.events = transaction.records.compactMap { Self.event($0, feed) }
        let changes = step.changes.filter { judge.isAddressed($0) }
        var entries = changes.map {
            let verdict = judge.verdict(on: $0, before: step.before, after: step.after)
            return WhyReport.Entry($0, verdict, view: judge.view, withValues: withValues)
        }
        let own = transaction.records.filter { $0.operation != .ownerPath && $0.operation != .truncate }
        if transaction.records.contains(where: { $0.operation == .truncate }) { entries.append(.truncated) }
        if entries.isEmpty {
            entries.append(own.isEmpty ? .unmoved(step, judge) : .neverVisible(step, judge))
        }
        self.entries = entries
        self.notes = Self.notes(transaction, own: own.count, sent: changes.count)
    }

    private static func notes(_ transaction: WhyTransaction, own: Int, sent: Int) -> [String] {
        var notes: [String] = []
        if own > sent, sent == 1 {
            let ending = transaction.records.contains { $0.operation == .delete } ? "it ended with the delete" : nil
            notes.append(
                "\(own) changes of this transaction are one to an account, because"
                    + " \(ending ?? "the owner changed in it")"
            )
        }
        if !transaction.unordered.isEmpty {
            let list = transaction.unordered.map(String.init).joined(separator: ", ")
            notes.append(
                "the log cannot prove that transaction \(list) committed before this one; it wrote before, so that is"
                    + " assumed"
            )
        }
        if transaction.isOwnerPathChanged {
            notes.append(
                "a gateway that reads such a change together with others of the job sends accounts one change for all"
                    + " of them"
            )
        }
        return notes
    }

    private static func event(_ record: LogRecord, _ feed: FeedDefinition) -> String? {
        guard record.operation == .ownerPath, feed.hops.indices.contains(record.hop) else { return nil }
        let hop = feed.hops[record.hop]
        let name = "\(hop.table) \(Printable.name(record.key.string))"
        let next = OwnerTable.nextColumns(of: feed, hop: record.hop)
        func text(_ row: Row?, _ columns: [String]) -> String {
            Printable.name(row?.keyText(columns)?.string ?? "null")
        }
        guard let row = record.row else { return "owner path changed: \(name) was deleted" }
        var parts: [String] = []
        for columns in [hop.to, next] {
            let before = text(record.before, columns)
            let after = text(row, columns)
            if before != after { parts.append("\(columns.joined(separator: ", ")) \(before) → \(after)") }
        }
        return "owner path changed by \(name): \(parts.joined(separator: ", "))"
    }
}

extension WhyReport.Entry {
    init(_ change: Feed.Change, _ verdict: Verdict, view: View, withValues: Bool) {
        let feed = view.feed
        let visible = View.visibleColumns(of: feed, for: view.viewer)
        let columns = feed.columns.map(\.name).filter { change.old[$0] != nil && change.row[$0] != nil }
        self.operation = change.isInsert ? "insert" : change.isDelete ? "delete" : columns.isEmpty ? "owner" : "update"
        self.what =
            switch self.operation {
            case "insert", "delete": self.operation
            case "update": "update of \(columns.map { Printable.text($0) }.joined(separator: ", "))"
            default: "another owner"
            }
        self.columns = columns
        let showsStatus = visible.contains(feed.status)
        self.statusBefore = showsStatus && change.existedBefore ? change.before(feed.status)?.scalarText : nil
        self.statusAfter = showsStatus && change.existsAfter ? change.after(feed.status)?.scalarText : nil
        self.ownerBefore = change.ownerBefore?.string
        self.ownerAfter = change.ownerAfter?.string
        self.verdict = verdict
        let shown = change.isInsert || change.isDelete ? view.columns : columns.filter(visible.contains)
        self.values =
            withValues
            ? shown.map { name in
                let hasBefore = change.existedBefore
                return (name, hasBefore ? change.before(name) : nil, change.existsAfter ? change.after(name) : nil)
            } : []
    }

    private init(_ operation: String, _ what: String, status: String?, owner: ByteText?, _ verdict: Verdict) {
        self.operation = operation
        self.what = what
        self.columns = []
        self.statusBefore = status
        self.statusAfter = status
        self.ownerBefore = owner?.string
        self.ownerAfter = owner?.string
        self.verdict = verdict
        self.values = []
    }

    fileprivate static let truncated = Self(
        "truncate",
        "truncate of the table",
        status: nil,
        owner: nil,
        Verdict(outcome: .reset("truncate"), message: "sent as reset (truncate), and the rows anew")
    )

    fileprivate static func neverVisible(_ step: WhyHistory.Step, _ judge: Judge) -> Self {
        Self(
            "insert",
            "insert and delete",
            status: nil,
            owner: nil,
            .notSent(.neverVisible, "inserted and deleted by one transaction, it was never to be seen")
        )
    }

    /// The owner path changed, and the job's owner did not.
    fileprivate static func unmoved(_ step: WhyHistory.Step, _ judge: Judge) -> Self {
        let row = step.rowAfter
        let owner = row.flatMap { row in step.after.ownerAtEnd { row[$0] } }
        let status = row?[judge.view.feed.status]?.scalarText
        let isShown = View.visibleColumns(of: judge.view.feed, for: judge.view.viewer).contains(judge.view.feed.status)
        let message =
            judge.view.viewer == .operator
            ? "operators see every row, whoever owns it"
            : row == nil
                ? "there was no job \(judge.keyText) then" : "the job's owner is \(Verdict.name(owner)) as before"
        return Self("owner", "same owner", status: isShown ? status : nil, owner: owner, .notSent(.sameOwner, message))
    }
}
