import Feed
import Testing

/// Every cause × visible before × visible after × kind of viewer: what is sent, or why it cannot be.
///
/// Alice owns threads 11 and 13, bob 12; the view's filter lets pending and processing jobs through.
@Suite struct MatrixTests {
    enum Cause: String, CaseIterable {
        /// Of a column that the filter does not look at.
        case insert, update, delete, relink, authorChange, filterChange, truncate
    }

    enum Who: String, CaseIterable { case account, `operator` }

    enum Outcome: Sendable {
        case sent(View.Delta?)
        /// The view is read anew, whatever it held.
        case reset
        case impossible(because: String)
    }

    /// Where a job is and what it is: thread and status.
    typealias State = (thread: Int, status: String)

    struct Cell: CustomTestStringConvertible, Sendable {
        let cause: Cause
        let who: Who
        let before: Bool
        let after: Bool
        let outcome: Outcome
        var start: State? = nil
        var end: State? = nil
        /// Thread 11's authors, one after the other.
        var authors: [String] = ["alice"]

        var testDescription: String {
            "\(self.cause) \(self.who) \(self.before ? "visible" : "not") → \(self.after ? "visible" : "not")"
        }
    }

    private static func cell(
        _ cause: Cause,
        _ who: Who,
        _ before: Bool,
        _ after: Bool,
        _ outcome: Outcome,
        from start: State? = nil,
        to end: State? = nil,
        authors: [String] = ["alice"]
    ) -> Cell {
        Cell(
            cause: cause,
            who: who,
            before: before,
            after: after,
            outcome: outcome,
            start: start,
            end: end,
            authors: authors
        )
    }

    private static let inserted = Outcome.impossible(because: "what is inserted was not there")
    private static let deleted = Outcome.impossible(because: "what is deleted is not there")
    private static let unfiltered = Outcome.impossible(because: "neither the filter nor the owner looks at it")
    private static let everybodys = Outcome.impossible(because: "operators see every owner's jobs")
    private static let progress = Outcome.sent(.update(columns: ["progress"]))
    private static let link = Outcome.sent(.update(columns: ["assigned_to"]))
    private static let status = Outcome.sent(.update(columns: ["status"]))
    private static let left = Outcome.sent(.leave(.filter, columns: ["status"]))

    static let cells: [Cell] = [
        cell(.insert, .account, false, false, .sent(nil), to: (12, "pending")),
        cell(.insert, .account, false, true, .sent(.enter(.created)), to: (11, "pending")),
        cell(.insert, .account, true, false, inserted),
        cell(.insert, .account, true, true, inserted),
        cell(.insert, .operator, false, false, .sent(nil), to: (12, "failed")),
        cell(.insert, .operator, false, true, .sent(.enter(.created)), to: (12, "pending")),
        cell(.insert, .operator, true, false, inserted),
        cell(.insert, .operator, true, true, inserted),

        cell(.update, .account, false, false, .sent(nil), from: (12, "pending"), to: (12, "pending")),
        cell(.update, .account, false, true, unfiltered),
        cell(.update, .account, true, false, unfiltered),
        cell(.update, .account, true, true, progress, from: (11, "pending"), to: (11, "pending")),
        cell(.update, .operator, false, false, .sent(nil), from: (12, "failed"), to: (12, "failed")),
        cell(.update, .operator, false, true, unfiltered),
        cell(.update, .operator, true, false, unfiltered),
        cell(.update, .operator, true, true, progress, from: (12, "pending"), to: (12, "pending")),

        cell(.delete, .account, false, false, .sent(nil), from: (12, "pending")),
        cell(.delete, .account, false, true, deleted),
        cell(.delete, .account, true, false, .sent(.leave(.deleted, columns: [])), from: (11, "pending")),
        cell(.delete, .account, true, true, deleted),
        cell(.delete, .operator, false, false, .sent(nil), from: (12, "failed")),
        cell(.delete, .operator, false, true, deleted),
        cell(.delete, .operator, true, false, .sent(.leave(.deleted, columns: [])), from: (12, "pending")),
        cell(.delete, .operator, true, true, deleted),

        cell(.relink, .account, false, false, .sent(nil), from: (11, "failed"), to: (13, "failed")),
        cell(.relink, .account, false, true, .sent(.enter(.permission)), from: (12, "pending"), to: (11, "pending")),
        cell(
            .relink,
            .account,
            true,
            false,
            .sent(.leave(.permission, columns: [])),
            from: (11, "pending"),
            to: (12, "pending")
        ),
        cell(.relink, .account, true, true, link, from: (11, "pending"), to: (13, "pending")),
        cell(.relink, .operator, false, false, .sent(nil), from: (11, "failed"), to: (12, "failed")),
        cell(.relink, .operator, false, true, everybodys),
        cell(.relink, .operator, true, false, everybodys),
        cell(.relink, .operator, true, true, link, from: (11, "pending"), to: (12, "pending")),

        cell(
            .authorChange,
            .account,
            false,
            false,
            .sent(nil),
            from: (11, "pending"),
            to: (11, "pending"),
            authors: ["bob", "carol"]
        ),
        cell(
            .authorChange,
            .account,
            false,
            true,
            .sent(.enter(.permission)),
            from: (11, "pending"),
            to: (11, "pending"),
            authors: ["bob", "alice"]
        ),
        cell(
            .authorChange,
            .account,
            true,
            false,
            .sent(.leave(.permission, columns: [])),
            from: (11, "pending"),
            to: (11, "pending"),
            authors: ["alice", "bob"]
        ),
        cell(
            .authorChange,
            .account,
            true,
            true,
            .sent(nil),
            from: (11, "pending"),
            to: (11, "pending"),
            authors: ["alice", "bob", "alice"]
        ),
        cell(
            .authorChange,
            .operator,
            false,
            false,
            .sent(nil),
            from: (11, "failed"),
            to: (11, "failed"),
            authors: ["alice", "bob"]
        ),
        cell(.authorChange, .operator, false, true, everybodys),
        cell(.authorChange, .operator, true, false, everybodys),
        cell(
            .authorChange,
            .operator,
            true,
            true,
            .sent(nil),
            from: (11, "pending"),
            to: (11, "pending"),
            authors: ["alice", "bob"]
        ),

        cell(.filterChange, .account, false, false, .sent(nil), from: (11, "failed"), to: (11, "success")),
        cell(.filterChange, .account, false, true, .sent(.enter(.filter)), from: (11, "failed"), to: (11, "pending")),
        cell(.filterChange, .account, true, false, left, from: (11, "pending"), to: (11, "failed")),
        cell(.filterChange, .account, true, true, status, from: (11, "pending"), to: (11, "processing")),
        cell(.filterChange, .operator, false, false, .sent(nil), from: (12, "failed"), to: (12, "success")),
        cell(.filterChange, .operator, false, true, .sent(.enter(.filter)), from: (12, "failed"), to: (12, "pending")),
        cell(.filterChange, .operator, true, false, left, from: (12, "pending"), to: (12, "failed")),
        cell(.filterChange, .operator, true, true, status, from: (12, "pending"), to: (12, "processing")),

        cell(.truncate, .account, false, false, .reset),
        cell(.truncate, .account, false, true, .reset, to: (11, "pending")),
        cell(.truncate, .account, true, false, .reset, from: (11, "pending")),
        cell(.truncate, .account, true, true, .reset, from: (11, "pending"), to: (11, "pending")),
        cell(.truncate, .operator, false, false, .reset),
        cell(.truncate, .operator, false, true, .reset, to: (12, "pending")),
        cell(.truncate, .operator, true, false, .reset, from: (12, "pending")),
        cell(.truncate, .operator, true, true, .reset, from: (12, "pending"), to: (12, "pending")),
    ]

    @Test func noCellIsForgotten() {
        #expect(Set(Self.cells.map(\.testDescription)).count == Self.cells.count)
        #expect(Self.cells.count == Cause.allCases.count * Who.allCases.count * 4)
    }

    @Test(arguments: cells)
    func eachCellHasItsOutcome(cell: Cell) throws {
        let view = View(
            feed: .jobs,
            viewer: cell.who == .operator ? .operator : .account(user: "alice"),
            filter: .statuses(["pending", "processing"], of: .jobs),
            key: nil,
            columns: nil
        )
        switch cell.outcome {
        case .impossible: break
        case .sent(let delta):
            // The row of the table says itself what it claims to be about.
            #expect(Self.isVisible(cell.start, to: cell.who, author: cell.authors.first) == cell.before)
            #expect(Self.isVisible(cell.end, to: cell.who, author: cell.authors.last) == cell.after)
            #expect(Self.batch(cell).changes.compactMap(view.delta(for:)) == [delta].compactMap { $0 })
        case .reset:
            // No resume gets across, whether it holds the row or not.
            var ring = Ring(maximumBytes: 1 << 20)
            ring.reset(at: Snapshot.of("100:100:"))
            ring.append(end: Snapshot.of("200:200:"), batches: [], resetFeeds: ["jobs"])
            #expect(ring.batches(of: "jobs", after: Snapshot.of("100:100:")) == nil)
        }
    }

    private static func isVisible(_ state: State?, to who: Who, author: String?) -> Bool {
        guard let state, ["pending", "processing"].contains(state.status) else { return false }
        return who == .operator || state.thread == 13 || (state.thread == 11 && author == "alice")
    }

    private static func batch(_ cell: Cell) -> Batch {
        func row(_ state: State, progress: Int) -> [String: String] {
            ["id": "1", "assigned_to": "\(state.thread)", "status": "\"\(state.status)\"", "progress": "\(progress)"]
        }
        func text(_ row: [String: String]) -> String {
            "{" + row.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\($0.value)" }.joined(separator: ",") + "}"
        }
        var log = ChangeTests.Log()
        log.threads = ["11": cell.authors.last.map { "\($0)" }, "12": "bob", "13": "alice"]
        let old = cell.start.map { row($0, progress: 1) }
        let new = cell.end.map { row($0, progress: cell.cause == .update ? 2 : 1) }
        switch (old, new) {
        case (nil, let new?): log.add(101, .insert, "1", text(new))
        case (let old?, nil): log.add(101, .delete, "1", text(old))
        case (let old?, let new?):
            let changed = old.filter { new[$0.key] != $0.value }
            if !changed.isEmpty { log.add(101, .update, "1", text(new), before: text(changed)) }
            for (before, after) in zip(cell.authors, cell.authors.dropFirst()) {
                log.author(102, 11, before, after)
                log.moved = ["1": Row(text(new))]
            }
        case (nil, nil): break
        }
        return log.batch
    }
}
