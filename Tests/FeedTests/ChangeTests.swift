import Feed
import Testing

/// What a span of the log means for those whose rows change hands in it.
@Suite struct ChangeTests {
    /// A log written by hand: one line per record, threads resolved at its end.
    struct Log {
        let feed: FeedDefinition
        var records: [LogRecord] = []
        /// Thread → author (or project), at the end.
        var threads: [ByteText: ByteText?] = [:]
        var projects: [ByteText: ByteText?] = [:]
        var moved: [ByteText: Row] = [:]

        init(hops: Int = 1) { self.feed = .jobs(hops: hops) }

        mutating func add(
            _ xid: UInt64,
            _ operation: LogRecord.Operation,
            _ key: ByteText,
            hop: Int = 0,
            _ row: String?,
            before: String? = nil
        ) {
            let seq = Int64(self.records.count + 1)
            self.records.append(
                LogRecord(
                    seq: seq,
                    xid: xid,
                    operation: operation,
                    key: key,
                    hop: hop,
                    at: seq,
                    row: row.map { Row($0) },
                    before: before.map { Row($0) }
                )
            )
        }

        /// `UPDATE thread SET author`, or the DELETE of one.
        mutating func author(_ xid: UInt64, _ thread: Int, _ old: String, _ new: String?) {
            func part(_ author: String) -> String { #"{"id":\#(thread),"author":"\#(author)"}"# }
            self.add(xid, .ownerPath, "\(thread)", new.map { part($0) }, before: part(old))
        }

        var batch: Batch {
            var owners = OwnerTable(feed: self.feed)
            for record in self.records { owners.applyBefore(record, of: self.feed) }
            for (hop, table) in [self.threads, self.projects].prefix(self.feed.hops.count).enumerated() {
                for key in ["11", "12", "21", "22"] as [ByteText] { owners.learn(hop: hop, key: key, next: nil) }
                for (key, next) in table { owners.learn(hop: hop, key: key, next: next) }
            }
            return Batch(
                feed: self.feed,
                start: Snapshot.of("100:100:"),
                end: Snapshot.of("200:200:"),
                records: self.records,
                owners: owners.withoutStarts,
                moved: self.moved,
                isTruncated: false
            )
        }

        /// What a user is told, in order: `enter created success`, `update success`, `leave permission`.
        func told(_ viewer: View.Viewer, notIn snapshot: Snapshot? = nil) -> [String] {
            let view = View(feed: self.feed, viewer: viewer, filter: .everything, key: nil, columns: nil)
            let changes = snapshot.map { self.batch.changes(notIn: $0, for: .operator) } ?? self.batch.changes
            return changes.compactMap { change in
                let status = change.row["status"]?.scalarText ?? "-"
                switch view.delta(for: change) {
                case .enter(let reason): return "\(change.key) enter \(reason) \(status)"
                case .update(let columns): return "\(change.key) update \(columns.joined(separator: ",")) \(status)"
                case .leave(let reason, _): return "\(change.key) leave \(reason)"
                case nil: return nil
                }
            }
        }
    }

    private static let alice = View.Viewer.account(user: "alice")
    private static let bob = View.Viewer.account(user: "bob")

    private static func job(_ status: String, thread: Int? = 11) -> String {
        #"{"id":1,"assigned_to":\#(thread.map(String.init) ?? "null"),"status":"\#(status)"}"#
    }

    @Test func aJobThatKeepsItsOwnerShowsEachStep() {
        var log = Log()
        log.threads = ["11": "alice"]
        log.add(101, .insert, "1", Self.job("pending"))
        log.add(102, .update, "1", Self.job("processing"), before: #"{"status":"pending"}"#)
        log.add(102, .update, "1", Self.job("success"), before: #"{"status":"processing"}"#)
        log.add(103, .delete, "1", Self.job("success"))
        let steps = [
            "1 enter created pending", "1 update status processing", "1 update status success", "1 leave deleted",
        ]
        #expect(log.told(Self.alice) == steps)
        #expect(log.told(.operator) == steps)
        #expect(log.told(Self.bob) == [])
    }

    @Test func authorChangeMovesEveryJobOfTheThread() {
        var log = Log()
        log.threads = ["11": "bob"]
        log.moved = ["1": Row(Self.job("pending"))]
        log.author(101, 11, "alice", "bob")
        #expect(log.told(Self.alice) == ["1 leave permission"])
        #expect(log.told(Self.bob) == ["1 enter permission pending"])
        #expect(log.told(.operator) == [])
    }

    @Test func authorChangeThereAndBackIsNothing() {
        var log = Log()
        log.threads = ["11": "alice"]
        log.moved = ["1": Row(Self.job("pending"))]
        log.author(101, 11, "alice", "bob")
        log.author(102, 11, "bob", "alice")
        #expect(log.told(Self.alice) == [])
        #expect(log.told(Self.bob) == [])
    }

    @Test func stepsBesideAnAuthorChangeAreFoldedIntoOne() {
        var log = Log()
        log.threads = ["11": "bob"]
        log.moved = ["1": Row(Self.job("success"))]
        log.add(101, .update, "1", Self.job("processing"), before: #"{"status":"pending"}"#)
        log.author(102, 11, "alice", "bob")
        log.add(103, .update, "1", Self.job("success"), before: #"{"status":"processing"}"#)
        #expect(log.told(Self.alice) == ["1 leave permission"])
        #expect(log.told(Self.bob) == ["1 enter permission success"])
        #expect(log.told(.operator) == ["1 update status processing", "1 update status success"])
    }

    @Test func thereAndBackWithStepsBetweenIsTheirSum() {
        var log = Log()
        log.threads = ["11": "alice"]
        log.moved = ["1": Row(Self.job("pending"))]
        log.author(101, 11, "alice", "bob")
        log.add(102, .update, "1", Self.job("processing"), before: #"{"status":"pending"}"#)
        log.add(103, .update, "1", Self.job("success"), before: #"{"status":"processing"}"#)
        log.author(104, 11, "bob", "alice")
        #expect(log.told(Self.alice) == ["1 update status success"])
        #expect(log.told(Self.bob) == [])
    }

    @Test func relinkWithinATransactionIsFolded() {
        var log = Log()
        log.threads = ["11": "alice", "12": "bob"]
        log.add(101, .update, "1", Self.job("processing"), before: #"{"status":"pending"}"#)
        log.add(101, .update, "1", Self.job("processing", thread: 12), before: #"{"assigned_to":11}"#)
        log.add(101, .update, "1", Self.job("failed", thread: 12), before: #"{"status":"processing"}"#)
        #expect(log.told(Self.alice) == ["1 leave permission"])
        #expect(log.told(Self.bob) == ["1 enter permission failed"])
        #expect(log.told(.operator).count == 3)
    }

    @Test func relinkAcrossTransactionsShowsEachWhatWasTheirs() {
        var log = Log()
        log.threads = ["11": "alice", "12": "bob"]
        log.add(101, .update, "1", Self.job("processing"), before: #"{"status":"pending"}"#)
        log.add(102, .update, "1", Self.job("processing", thread: 12), before: #"{"assigned_to":11}"#)
        log.add(103, .update, "1", Self.job("success", thread: 12), before: #"{"status":"processing"}"#)
        #expect(log.told(Self.alice) == ["1 update status processing", "1 leave permission"])
        #expect(log.told(Self.bob) == ["1 enter permission processing", "1 update status success"])
    }

    @Test(arguments: [true, false])
    func transitionsSurviveThatTheThreadIsDeletedWithItsJobs(isThreadFirst: Bool) {
        var log = Log()
        log.add(101, .update, "1", Self.job("processing"), before: #"{"status":"pending"}"#)
        if isThreadFirst { log.author(102, 11, "alice", nil) }
        log.add(102, .delete, "1", Self.job("processing"))
        if !isThreadFirst { log.author(102, 11, "alice", nil) }
        #expect(log.told(Self.alice) == ["1 update status processing", "1 leave deleted"])
        #expect(log.told(Self.bob) == [])
    }

    @Test func threadDeletedAndInsertedAgainForAnother() {
        var log = Log()
        log.threads = ["11": "bob"]
        log.add(101, .delete, "1", Self.job("pending"))
        log.author(101, 11, "alice", nil)
        log.add(102, .insert, "1", Self.job("failed"))
        #expect(log.told(Self.alice) == ["1 leave permission"])
        #expect(log.told(Self.bob) == ["1 enter permission failed"])
        #expect(log.told(.operator) == ["1 leave deleted", "1 enter created failed"])
    }

    /// Once alice was shown bob's job: the thread's number was hers at the start, and there was no thread at the end.
    @Test func threadInsertedAgainForAnotherAndDeletedOnceMore() {
        var log = Log()
        log.author(101, 11, "alice", nil)
        log.add(102, .insert, "1", Self.job("pending"))
        log.add(103, .update, "1", Self.job("success"), before: #"{"status":"pending"}"#)
        log.add(104, .delete, "1", Self.job("success"))
        log.author(104, 11, "bob", nil)
        #expect(log.told(Self.alice) == [])
    }

    @Test func threadInsertedAgainForNobodyIsNoLongerItsFormerOwners() {
        var log = Log()
        log.threads.updateValue(nil, forKey: "11")
        log.author(101, 11, "alice", nil)
        log.add(102, .insert, "1", Self.job("pending"))
        #expect(log.told(Self.alice) == [])
        #expect(log.told(.operator) == ["1 enter created pending"])
    }

    @Test(arguments: [true, false])
    func anotherKeyOfTheThreadCostsNoStep(isThreadFirst: Bool) {
        var log = Log()
        log.threads = ["12": "alice"]
        log.moved = ["1": Row(Self.job("success", thread: 12))]
        log.add(101, .update, "1", Self.job("processing"), before: #"{"status":"pending"}"#)
        let rekey = (row: #"{"id":12,"author":"alice"}"#, before: #"{"id":11,"author":"alice"}"#)
        if isThreadFirst { log.add(102, .ownerPath, "11", rekey.row, before: rekey.before) }
        log.add(102, .update, "1", Self.job("processing", thread: 12), before: #"{"assigned_to":11}"#)
        if !isThreadFirst { log.add(102, .ownerPath, "11", rekey.row, before: rekey.before) }
        log.add(103, .update, "1", Self.job("success", thread: 12), before: #"{"status":"processing"}"#)
        let steps = ["1 update status processing", "1 update assigned_to processing", "1 update status success"]
        #expect(log.told(Self.alice) == steps)
        #expect(log.told(.operator) == steps)
    }

    @Test func bornAndGoneInOneTransactionWasNeverThere() {
        var log = Log()
        log.threads = ["11": "alice"]
        log.add(101, .insert, "1", Self.job("pending"))
        log.add(101, .update, "1", Self.job("failed"), before: #"{"status":"pending"}"#)
        log.add(101, .delete, "1", Self.job("failed"))
        for viewer in [Self.alice, Self.bob, .operator] { #expect(log.told(viewer) == []) }
    }

    @Test func deletedAndInsertedAgainWithOneKey() {
        var log = Log()
        log.threads = ["11": "alice", "12": "bob"]
        log.add(101, .delete, "1", Self.job("failed"))
        log.add(101, .insert, "1", Self.job("pending"))
        #expect(log.told(Self.alice) == ["1 leave deleted", "1 enter created pending"])
        log.records = []
        log.add(101, .delete, "1", Self.job("failed"))
        log.add(101, .insert, "1", Self.job("pending", thread: 12))
        #expect(log.told(Self.alice) == ["1 leave permission"])
        #expect(log.told(Self.bob) == ["1 enter permission pending"])
    }

    @Test func aRowThatNamesItsOwnerItself() {
        var log = Log(hops: 0)
        func row(_ owner: String) -> String { #"{"id":1,"assigned_to":"\#(owner)","status":"pending"}"# }
        log.add(101, .insert, "1", row("alice"))
        log.add(102, .update, "1", row("bob"), before: #"{"assigned_to":"alice"}"#)
        #expect(log.told(Self.alice) == ["1 enter created pending", "1 leave permission"])
        #expect(log.told(Self.bob) == ["1 enter permission pending"])
    }

    @Test(arguments: [0, 1])
    func twoHopsChangeAtEither(hop: Int) {
        var log = Log(hops: 2)
        log.moved = ["1": Row(Self.job("pending"))]
        if hop == 0 {
            log.threads = ["11": "22"]
            log.projects = ["21": "alice", "22": "bob"]
            log.add(101, .ownerPath, "11", hop: 0, #"{"id":11,"project":22}"#, before: #"{"id":11,"project":21}"#)
        } else {
            log.threads = ["11": "21"]
            log.projects = ["21": "bob"]
            log.add(101, .ownerPath, "21", hop: 1, #"{"id":21,"author":"bob"}"#, before: #"{"id":21,"author":"alice"}"#)
        }
        #expect(log.told(Self.alice) == ["1 leave permission"])
        #expect(log.told(Self.bob) == ["1 enter permission pending"])
    }

    @Test func whoeverHoldsAPrefixGetsTheRest() {
        var log = Log()
        log.threads = ["11": "alice", "12": "bob"]
        log.moved = ["2": Row(#"{"id":2,"assigned_to":12,"status":"failed"}"#)]
        log.add(101, .update, "1", Self.job("processing"), before: #"{"status":"pending"}"#)
        log.author(102, 12, "alice", "bob")
        log.add(103, .update, "1", Self.job("success"), before: #"{"status":"processing"}"#)
        log.add(104, .delete, "1", Self.job("success"))
        let all = ["2 leave permission", "1 update status processing", "1 update status success", "1 leave deleted"]
        let expected: [UInt64: [String]] = [
            101: all, 102: ["2 leave permission", all[2], all[3]], 103: [all[2], all[3]], 104: [all[3]], 105: [],
        ]
        for (xmax, rest) in expected {
            #expect(log.told(Self.alice, notIn: Snapshot.of("\(xmax):\(xmax):")) == rest, "up to \(xmax)")
        }
        // 103 committed before 101 and 102.
        #expect(log.told(Self.bob, notIn: Snapshot.of("101:104:101,102")) == ["2 enter permission failed"])
        #expect(log.told(.operator, notIn: Snapshot.of("102:104:102")) == [all[3]])
    }

    @Test(
        arguments: [
            (["pending": 2], ["pending": 1, "processing": 1]),
            (["pending": 1, "processing": 4], ["pending": 0, "processing": 5]),
        ] as [([ByteText: Int], [ByteText: Int])]
    )
    func countsFollowTheView(start: [ByteText: Int], end: [ByteText: Int]) {
        var log = Log()
        log.threads = ["11": "alice"]
        log.add(101, .update, "1", Self.job("processing"), before: #"{"status":"pending"}"#)
        log.add(101, .update, "1", Self.job("processing"), before: #"{"retries":0}"#)
        let view = View(feed: log.feed, viewer: Self.alice, filter: .everything, key: nil, columns: nil)
        var counts = StatusCounts(start)
        #expect(counts.apply(log.batch.changes, in: view) == ["pending", "processing"])
        #expect(counts.counts == end)
    }
}
