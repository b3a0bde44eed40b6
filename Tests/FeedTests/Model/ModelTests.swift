import Feed
import Testing

/// Random histories of a small database, cut anywhere into batches: what subscribers hold is what they could select.
@Suite struct ModelTests {
    private struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    @Test(arguments: [0, 1, 2], [true, false])
    func everySubscriberHoldsWhatItCouldSelect(hops: Int, isCascading: Bool) throws {
        let feed = FeedDefinition.jobs(hops: hops)
        var sent = 0
        for seed in 0..<Self.histories {
            var history = History(schema: .init(hops: hops, isCascading: isCascading), seed: seed)
            history.run(steps: 60)
            var random = SplitMix(seed: seed)
            sent += try Self.check(history, feed, &random, seed)
        }
        #expect(sent > 10 * Int(Self.histories))
    }

    private static let histories: UInt64 = 40

    /// - Returns: how many changes there were.
    private static func check(
        _ history: History,
        _ feed: FeedDefinition,
        _ random: inout SplitMix,
        _ seed: UInt64
    ) throws -> Int {
        let views = try Self.views(of: feed)
        var clients = views.map { ClientModel(view: $0, at: history.commits[0].world) }
        var first = 0
        var sent = 0
        while first < history.commits.count - 1 {
            let last = min(first + Int.random(in: 1...8, using: &random), history.commits.count - 1)
            let span = Span(history, feed, from: first, to: last)
            sent += span.batch.changes.count
            for index in clients.indices {
                let mistakes = clients[index].apply(span.batch.changes, of: span)
                if !mistakes.isEmpty {
                    throw Self.failure(seed, views[index], "commits \(first)...\(last)", mistakes, span)
                }
            }
            // The same step for somebody who came in the midst of it.
            let middle = Int.random(in: first...last, using: &random)
            let snapshot = history.commits[middle].snapshot
            let remaining = Span(history, feed, from: middle, to: last)
            for view in views {
                var late = ClientModel(view: view, at: history.commits[middle].world)
                let mistakes = late.apply(span.batch.changes(notIn: snapshot, for: late.view.viewer), of: remaining)
                if !mistakes.isEmpty {
                    throw Self.failure(seed, view, "commits \(first)...\(last), from \(middle) on", mistakes, span)
                }
            }
            first = last
        }
        return sent
    }

    private static func failure(
        _ seed: UInt64,
        _ view: View,
        _ place: String,
        _ mistakes: [String],
        _ span: Span
    ) -> Failure {
        let records = span.batch.records.map { record in
            "  \(record.xid) \(record.operation) \(record.key) hop \(record.hop)"
                + " row \(Self.text(record.row)) before \(Self.text(record.before))"
        }
        return Failure(
            description: "seed \(seed), \(view.viewer), \(place):\n" + mistakes.joined(separator: "\n") + "\n"
                + records.joined(separator: "\n")
        )
    }

    private static func text(_ row: Row?) -> String {
        guard let row else { return "-" }
        return row.values.filter { !$0.value.isNull }.sorted { $0.key < $1.key }
            .map { "\($0.key)=\(String(decoding: $0.value.bytes, as: UTF8.self))" }.joined(separator: " ")
    }

    private static func views(of feed: FeedDefinition) throws -> [View] {
        var views: [View] = []
        let viewers = History.users.map { View.Viewer.account(user: $0) } + [.operator]
        for viewer in viewers {
            let visible = Set(View.visibleColumns(of: feed, for: viewer))
            let retried = try FilterParser(feed: feed, visible: visible).parse("retries=gte.2&status=neq.failed")
            views.append(View(feed: feed, viewer: viewer, filter: .everything, key: nil, columns: nil))
            views.append(
                View(
                    feed: feed,
                    viewer: viewer,
                    filter: .statuses(["pending", "processing"], of: feed),
                    key: nil,
                    columns: nil
                )
            )
            views.append(View(feed: feed, viewer: viewer, filter: retried, key: nil, columns: ["progress"]))
            views.append(View(feed: feed, viewer: viewer, filter: .everything, key: "2", columns: nil))
        }
        return views
    }
}
