import Testing

@testable import Feed
@testable import Gateway

/// A feed like the reference tables', and what is said of it.
private enum Sample {
    static let feed = FeedDefinition(
        name: "jobs",
        schema: "public",
        table: "job",
        columns: ["id", "assigned_to", "status", "path", "progress", "errors", "updated_at"].map {
            let type = ["progress", "errors"].contains($0) ? "jsonb" : $0 == "id" ? "bigint" : "text"
            return .init(name: $0, typeName: type, type: ColumnType(typeName: type, enumLabels: []))
        },
        key: ["id"],
        status: "status",
        hops: [.init(schema: "public", table: "thread", from: ["assigned_to"], to: ["id"], toTypes: ["bigint"])],
        ownerColumn: "author",
        ownerTypeName: "text",
        hidden: ["errors"],
        quiet: ["updated_at"],
        gauges: ["progress"],
        orderColumn: nil,
        since: 1,
        revision: "1"
    )

    static func row(_ json: String) -> Row { Row(json: json) ?? .empty }

    static func record(
        _ seq: Int64,
        _ xid: UInt64,
        _ operation: LogRecord.Operation,
        _ row: String?,
        before: String? = nil,
        key: ByteText = "1"
    ) -> LogRecord {
        LogRecord(
            seq: seq,
            xid: xid,
            operation: operation,
            key: key,
            hop: 0,
            at: seq * 1_000_000,
            row: row.map(self.row),
            before: before.map(self.row)
        )
    }

    static func judge(
        _ user: ByteText?,
        filter: String? = nil,
        columns: [String]? = nil,
        key: ByteText? = nil
    ) throws
        -> Judge
    {
        let viewer = user.map { View.Viewer.account(user: $0) } ?? .operator
        let visible = Set(View.visibleColumns(of: self.feed, for: viewer))
        let filter = try filter.map { try FilterParser(feed: self.feed, visible: visible).parse($0) } ?? .everything
        let view = View(feed: self.feed, viewer: viewer, filter: filter, key: key, columns: columns)
        return Judge(view: view, isCounts: false, subject: user?.string ?? "an operator", key: "1")
    }

    /// Threads and their authors; `nil`: the thread has none.
    static func owners(_ threads: [ByteText: ByteText?]) -> OwnerTable {
        var owners = OwnerTable(feed: self.feed)
        for key in ["7", "8", "9"] as [ByteText] { owners.learn(hop: 0, key: key, next: nil) }
        for (key, author) in threads { owners.learn(hop: 0, key: key, next: author) }
        for (key, author) in threads where author == nil { owners.learn(hop: 0, key: key, next: nil) }
        return owners
    }

    static func history(
        _ records: [LogRecord],
        owners: OwnerTable,
        row: String?,
        times: [UInt64: Int64] = [:]
    )
        -> WhyHistory
    {
        WhyHistory(
            WhyEvidence(
                feed: self.feed,
                key: "1",
                records: records,
                committedAt: times,
                owners: owners,
                row: row.map(self.row)
            )
        )
    }

    static func change(_ old: String, _ new: String, from: ByteText?, to: ByteText?) -> Change {
        Change(
            key: "1",
            at: 0,
            audience: .everybody,
            row: self.row(new.isEmpty ? old : new),
            old: old.isEmpty || new.isEmpty ? .empty : self.row(old),
            isInsert: old.isEmpty,
            isDelete: new.isEmpty,
            ownerBefore: from,
            ownerAfter: to
        )
    }
}

@Suite struct WhyVerdictTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let user: ByteText?
        var filter: String? = nil
        var columns: [String]? = nil
        /// Old values of what changed; empty for an insert.
        let old: String
        /// Empty for a delete.
        let new: String
        let from: ByteText?
        let to: ByteText?
        let message: String
        var testDescription: String { self.message }
    }

    static let cases: [Case] = [
        Case(user: "alice", old: "", new: #"{"id":1}"#, from: nil, to: "alice", message: "sent as enter (created)"),
        Case(user: nil, old: "", new: #"{"id":1}"#, from: nil, to: nil, message: "sent as enter (created)"),
        Case(
            user: "alice",
            old: #"{"status":"a","errors":[]}"#,
            new: #"{"id":1,"status":"b","errors":[1]}"#,
            from: "alice",
            to: "alice",
            message: "sent as update {status}"
        ),
        Case(
            user: nil,
            old: #"{"errors":[]}"#,
            new: #"{"id":1,"errors":[1]}"#,
            from: "alice",
            to: "alice",
            message: "sent as update {errors}"
        ),
        Case(user: "alice", old: #"{"id":1}"#, new: "", from: "alice", to: nil, message: "sent as leave (deleted)"),
        Case(
            user: "alice",
            old: #"{"assigned_to":7}"#,
            new: #"{"id":1,"assigned_to":8}"#,
            from: "alice",
            to: "bob",
            message: "sent as leave (permission)"
        ),
        Case(
            user: "alice",
            filter: "path=eq./x",
            old: #"{"path":"/x"}"#,
            new: #"{"id":1,"path":"/y"}"#,
            from: "alice",
            to: "alice",
            message: "sent as leave (filter) {path}"
        ),
        Case(
            user: "alice",
            old: #"{"path":"/x"}"#,
            new: #"{"id":1,"path":"/y"}"#,
            from: "bob",
            to: "bob",
            message: "not sent: it belongs to bob, not to alice"
        ),
        Case(
            user: "alice",
            old: #"{"id":1}"#,
            new: "",
            from: "bob",
            to: nil,
            message: "not sent: it belonged to bob, not to alice"
        ),
        Case(
            user: "alice",
            old: #"{"assigned_to":7}"#,
            new: #"{"id":1,"assigned_to":null}"#,
            from: "bob",
            to: nil,
            message: "not sent: it belonged to bob and then to nobody, not to alice"
        ),
        Case(
            user: "alice",
            old: "",
            new: #"{"id":1,"assigned_to":null}"#,
            from: nil,
            to: nil,
            message: "not sent: the job has no owner (assigned_to is null); only operators see it"
        ),
        Case(
            user: "alice",
            old: "",
            new: #"{"id":1,"assigned_to":9}"#,
            from: nil,
            to: nil,
            message: "not sent: the job has no owner (there is no thread 9); only operators see it"
        ),
        Case(
            user: "alice",
            old: "",
            new: #"{"id":1}"#,
            from: nil,
            to: "alice ",
            message:
                "not sent: it belongs to \"alice \", not to \"alice\": two users, whose names differ in white space"
        ),
        Case(
            user: "alice",
            filter: "status=in.(pending)",
            old: #"{"status":"processing"}"#,
            new: #"{"id":1,"status":"success"}"#,
            from: "alice",
            to: "alice",
            message: "not sent: filter status=in.(pending) matches neither before (processing) nor after (success)"
        ),
        Case(
            user: "alice",
            filter: "status=neq.success&path=eq./x",
            old: #"{"status":"success"}"#,
            new: #"{"id":1,"status":"pending","path":"/y"}"#,
            from: "alice",
            to: "alice",
            message: "not sent: filter status=neq.success did not match before (success), and path=eq./x does not match"
                + " after (/y)"
        ),
        Case(
            user: "alice",
            filter: "progress->>percent=gte.50",
            old: "",
            new: #"{"id":1,"progress":{"percent":5}}"#,
            from: nil,
            to: "alice",
            message: "not sent: filter progress->>percent=gte.50 does not match (5)"
        ),
        Case(
            user: "alice",
            filter: "path=eq./x",
            old: #"{"assigned_to":7}"#,
            new: #"{"id":1,"assigned_to":8,"path":"/y"}"#,
            from: "bob",
            to: "alice",
            message: "not sent: it came from bob, but filter path=eq./x does not match (/y)"
        ),
        Case(
            user: "alice",
            filter: "path=eq./x",
            old: #"{"assigned_to":7}"#,
            new: #"{"id":1,"assigned_to":8,"path":"/y"}"#,
            from: "alice",
            to: "bob",
            message: "not sent: it went to bob, and before that filter path=eq./x does not match (/y)"
        ),
        Case(
            user: "alice",
            old: #"{"errors":[],"updated_at":"1"}"#,
            new: #"{"id":1,"errors":[1],"updated_at":"2"}"#,
            from: "alice",
            to: "alice",
            message: "not sent: only hidden columns changed (errors)"
        ),
        Case(
            user: "alice",
            old: #"{"updated_at":"1"}"#,
            new: #"{"id":1,"updated_at":"2"}"#,
            from: "alice",
            to: "alice",
            message: "not sent: only quiet columns changed (updated_at)"
        ),
        Case(
            user: "alice",
            columns: ["status"],
            old: #"{"path":"/x"}"#,
            new: #"{"id":1,"path":"/y"}"#,
            from: "alice",
            to: "alice",
            message: "not sent: only columns that were not asked for changed (path)"
        ),
    ]

    @Test(arguments: Self.cases)
    func namesTheRule(_ example: Case) throws {
        let judge = try Sample.judge(example.user, filter: example.filter, columns: example.columns)
        let change = Sample.change(example.old, example.new, from: example.from, to: example.to)
        let owners = Sample.owners(["7": "alice", "8": "bob"])
        let verdict = judge.verdict(on: change, before: owners, after: owners)
        #expect(verdict.message == example.message)
        #expect(verdict.isSent == (judge.view.delta(for: change) != nil))
    }

    @Test func otherKey() throws {
        let judge = try Sample.judge("alice", key: "2")
        let change = Sample.change("", #"{"id":1}"#, from: nil, to: "alice")
        let owners = Sample.owners([:])
        let verdict = judge.verdict(on: change, before: owners, after: owners)
        #expect(verdict.message == "not sent: the channel is for job 2 alone")
    }

    @Test(arguments: [
        ("Alice", "alice", "the case of letters"), ("alice\u{200b}", "alice", "white space"),
        ("e\u{301}lan", "\u{e9}lan", "Unicode normalisation"),
        ("ALICE ", "alice", "case, white space and normalisation"),
    ])
    func nearNames(left: String, right: String, difference: String) {
        #expect(NearName.difference(left, right) == difference)
    }

    @Test func otherNamesAreOthers() {
        #expect(NearName.difference("alice", "alice") == nil)
        #expect(NearName.difference("alice", "bob") == nil)
    }

    @Test func nothingReachesTheTerminal() {
        #expect(Printable.name("a\u{1b}[31m\u{202e}b") == "\"a\\u{1b}[31m\\u{202e}b\"")
        #expect(Printable.text("a\nb\u{a0}c") == "a\\u{a}b\\u{a0}c")
    }

    @Test func linesAreWrapped() {
        let lines = WhyReport.wrapped(String(repeating: "word ", count: 40) + "end", indent: 4)
        #expect(lines.allSatisfy { $0.count <= 80 && $0.hasPrefix("    ") })
        #expect(lines.joined().split(separator: " ").count == 41)
    }
}

@Suite struct WhyHistoryTests {
    private static let insert = Sample.record(1, 10, .insert, #"{"id":1,"assigned_to":7,"status":"a"}"#)
    private static let update = Sample.record(
        2,
        11,
        .update,
        #"{"id":1,"assigned_to":7,"status":"b"}"#,
        before: #"{"status":"a"}"#
    )
    private static let handOver = Sample.record(
        3,
        12,
        .ownerPath,
        #"{"id":7,"author":"bob"}"#,
        before: #"{"id":7,"author":"alice"}"#,
        key: "7"
    )
    private static let handBack = Sample.record(
        5,
        14,
        .ownerPath,
        #"{"id":7,"author":"carol"}"#,
        before: #"{"id":7,"author":"bob"}"#,
        key: "7"
    )
    private static let late = Sample.record(
        4,
        13,
        .update,
        #"{"id":1,"assigned_to":7,"status":"c"}"#,
        before: #"{"status":"b"}"#
    )

    @Test func ownersAreTakenBackStepByStep() {
        let history = Sample.history(
            [Self.insert, Self.update, Self.handOver, Self.late, Self.handBack],
            owners: Sample.owners(["7": "carol"]),
            row: #"{"id":1,"assigned_to":7,"status":"c"}"#
        )
        let owners = history.steps.flatMap(\.changes).map { [$0.ownerBefore?.string, $0.ownerAfter?.string] }
        #expect(
            owners == [[nil, "alice"], ["alice", "alice"], ["alice", "bob"], ["bob", "bob"], ["bob", "carol"]]
        )
        #expect(history.steps.map { $0.rowAfter?["status"]?.scalarText } == ["a", "b", "b", "c", "c"])
    }

    @Test func aReplayIsOneStep() throws {
        let history = Sample.history(
            [Self.insert, Self.update, Self.handOver, Self.late],
            owners: Sample.owners(["7": "bob"]),
            row: #"{"id":1,"assigned_to":7,"status":"c"}"#
        )
        let snapshot = try #require(Snapshot(xmin: 11, xmax: 11, inProgress: []))
        let (changes, _, isTruncated) = history.replay(since: snapshot)
        let deltas = changes.compactMap {
            View(feed: Sample.feed, viewer: .account(user: "alice"), filter: .everything, key: nil, columns: nil).delta(
                for: $0
            )
        }
        #expect(deltas == [.leave(.permission, columns: [])])
        #expect(!isTruncated)
    }

    @Test func aReplayMergesTicksAndSaysWhatIsNotSent() throws {
        func update(_ seq: Int64, _ column: String, _ value: String, over old: String) -> LogRecord {
            let row = #"{"id":1,"assigned_to":7,"status":"a","\#(column)":\#(value)}"#
            return Sample.record(seq, 10 + UInt64(seq), .update, row, before: #"{"\#(column)":\#(old)}"#)
        }
        let records = [
            Self.insert, update(2, "progress", "1", over: "0"), update(3, "errors", "[]", over: "null"),
            update(4, "path", #""/y""#, over: #""/x""#), update(5, "status", #""b""#, over: #""a""#),
            update(6, "status", #""c""#, over: #""b""#),
        ]
        let history = Sample.history(
            records,
            owners: Sample.owners(["7": "alice"]),
            row: #"{"id":1,"assigned_to":7,"status":"c"}"#
        )
        let snapshot = try #require(Snapshot(xmin: 11, xmax: 11, inProgress: []))
        let replay = WhyReport.Replay(from: snapshot, history, try Sample.judge("alice"), withValues: false)
        #expect(replay.reason == nil)
        #expect(
            replay.entries.map(\.verdict.message) == [
                "sent as update {status, path, progress}", "sent as update {status}",
                "not sent: only hidden columns changed (errors)",
            ]
        )
    }

    @Test func aTruncateForgetsTheRow() {
        let history = Sample.history(
            [Self.insert, Self.update, Sample.record(3, 12, .truncate, nil)],
            owners: Sample.owners(["7": "alice"]),
            row: nil
        )
        #expect(history.steps.map { $0.rowAfter?["status"]?.scalarText } == ["a", "b", nil])
    }

    /// A transaction's end is known by who waited for it.
    @Test func orderIsProvenOrSaidToBeAssumed() {
        func unordered(_ records: [LogRecord], _ times: [UInt64: Int64] = [:]) -> [UInt64: [UInt64]] {
            let list = WhyTransaction.ordered(records, committedAt: times, feed: Sample.feed)
            return Dictionary(uniqueKeysWithValues: list.map { ($0.xid, $0.unordered) })
        }
        // The update waited for the insert; whether it committed before the author changed, nobody can tell.
        #expect(unordered([Self.insert, Self.update, Self.handOver]) == [10: [], 11: [], 12: [11]])
        // 11 had ended when 13 wrote, but 12 was still free to end before it.
        #expect(
            unordered([Self.insert, Self.update, Self.handOver, Self.late, Self.handBack])
                == [10: [], 11: [], 12: [11], 13: [12], 14: [13]]
        )
        let times: [UInt64: Int64] = [10: 1, 11: 2, 12: 3]
        #expect(unordered([Self.insert, Self.update, Self.handOver], times) == [10: [], 11: [], 12: []])
    }

    @Test func commitTimesOrderWhatOverlapped() {
        let records = [Self.insert, Self.update, Self.handOver]
        let list = WhyTransaction.ordered(records, committedAt: [10: 1, 12: 2, 11: 3], feed: Sample.feed)
        #expect(list.map(\.xid) == [10, 12, 11])
    }
}
