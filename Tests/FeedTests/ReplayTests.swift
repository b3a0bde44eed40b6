import Feed
import Testing

/// A compacted replay leads to the same rows, by way of the same statuses.
@Suite struct ReplayTests {
    private static func steps(_ span: Span, _ view: View) -> [Replay.Step] {
        span.batch.changes.compactMap { change in view.delta(for: change).map { (change, $0) } }
    }

    /// Enter replaces, update assigns, leave removes.
    private static func apply(
        _ steps: [Replay.Step],
        _ view: View,
        to rows: inout [ByteText: [String: JSONText]]
    ) -> [ByteText: [String]] {
        var statuses: [ByteText: [String]] = [:]
        for (change, delta) in steps {
            func values(_ columns: [String]) -> [String: JSONText] {
                change.row.values.filter { columns.contains($0.key) && !view.feed.quiet.contains($0.key) }
            }
            let status = change.row[view.feed.status]?.scalarText ?? ""
            switch delta {
            case .enter(let reason):
                rows[change.key] = values(view.columns)
                statuses[change.key, default: []].append("enter \(reason) \(status)")
            case .update(let columns):
                rows[change.key]?.merge(values(columns)) { $1 }
                if columns.contains(view.feed.status) { statuses[change.key, default: []].append(status) }
            case .leave(let reason, let columns):
                rows[change.key] = nil
                let set = values(columns).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value.scalarText ?? "")" }
                statuses[change.key, default: []].append("leave \(reason) \(set)")
            }
        }
        return statuses
    }

    @Test(arguments: [0, 1, 2])
    func leadsToTheSameByWayOfTheSame(hops: Int) throws {
        let feed = FeedDefinition.jobs(hops: hops)
        var (before, after) = (0, 0)
        for seed in 0..<100 as Range<UInt64> {
            var history = History(schema: .init(hops: hops, isCascading: seed % 2 == 0), seed: 1000 + seed)
            history.run(steps: 60)
            let last = history.commits.count - 1
            let span = Span(history, feed, from: Int(seed) % 3, to: last)
            for viewer in History.users.map({ View.Viewer.account(user: $0) }) + [.operator] {
                for filter in [Filter.everything, .statuses(["pending", "processing"], of: feed)] {
                    for columns in [nil, ["progress"]] as [[String]?] {
                        let view = View(feed: feed, viewer: viewer, filter: filter, key: nil, columns: columns)
                        let steps = Self.steps(span, view)
                        let compacted = Replay.compacted(steps, in: view)
                        var rows = span.states[0].rows(of: view)
                        var compactedRows = rows
                        let statuses = Self.apply(steps, view, to: &rows)
                        #expect(Self.apply(compacted, view, to: &compactedRows) == statuses, "seed \(seed)")
                        #expect(compactedRows == rows, "seed \(seed)")
                        let again = Replay.compacted(compacted, in: view)
                        #expect(again.map(\.delta) == compacted.map(\.delta), "seed \(seed)")
                        before += steps.count
                        after += compacted.count
                    }
                }
            }
        }
        #expect(after < before * 19 / 20 && after > 0, "\(before) → \(after)")
    }

    // MARK: Each rule

    /// `enter COLUMN=VALUE…`, `update …` or `leave`, of job 1.
    private static func step(_ text: String) throws -> Replay.Step {
        let words = text.split(separator: " ").map(String.init)
        var row = Row(#"{"id":1}"#)
        for word in words.dropFirst() {
            let parts = word.split(separator: "=").map(String.init)
            row[parts[0]] = JSONText("\"\(parts[1])\"")
        }
        let record = LogRecord(
            seq: 1,
            xid: 1,
            operation: .update,
            key: "1",
            hop: 0,
            at: 1,
            row: row,
            before: Row(values: row.values.filter { $0.key != "id" }.mapValues { _ in "null" })
        )
        let change = try #require(
            Change.derive(from: [record], owners: OwnerTable(feed: .jobs), moved: [:], feed: .jobs).first
        )
        switch words[0] {
        case "enter": return (change, .enter(.created))
        case "leave": return (change, .leave(.deleted, columns: []))
        default: return (change, try #require(Self.view.delta(for: change)))
        }
    }

    private static let view = View(feed: .jobs, viewer: .operator, filter: .everything, key: nil, columns: nil)

    private static func text(_ step: Replay.Step) -> String {
        func text(_ columns: [String]) -> String {
            columns.compactMap { column in step.change.row[column].map { " \(column)=\($0.scalarText ?? "null")" } }
                .joined()
        }
        switch step.delta {
        case .enter: return "enter" + text(Self.view.columns.filter { $0 != "id" })
        case .update(let columns): return "update" + text(columns)
        case .leave: return "leave"
        }
    }

    @Test(arguments: [
        (["update progress=1", "update progress=2"], ["update progress=2"]),
        (["update progress=1", "update path=a"], ["update path=a progress=1"]),
        (["update status=a", "update progress=1"], ["update status=a progress=1"]),
        (["update progress=1", "update status=a"], ["update status=a progress=1"]),
        (["update status=a", "update status=b"], ["update status=a", "update status=b"]),
        (
            ["update status=a", "update progress=1", "update status=b", "update progress=2"],
            ["update status=a progress=1", "update status=b progress=2"]
        ),
        (["enter status=a", "update progress=1", "update progress=2"], ["enter status=a progress=2"]),
        (["enter status=a", "update status=b"], ["enter status=a", "update status=b"]),
        (["update progress=1", "leave"], ["leave"]),
        (["update status=a progress=1", "leave"], ["update status=a progress=1", "leave"]),
        (["enter status=a", "leave", "enter status=b"], ["enter status=a", "leave", "enter status=b"]),
        (["leave", "enter status=b", "update path=x", "leave"], ["leave", "enter status=b path=x", "leave"]),
    ])
    func keepsWhatIsNeeded(steps: [String], compacted: [String]) throws {
        #expect(Replay.compacted(try steps.map(Self.step), in: Self.view).map(Self.text) == compacted)
    }
}
