import Feed
import Testing

/// What a ring gives is all that happened, or nothing.
@Suite struct RingTests {
    private static func record(_ xid: UInt64, _ row: String, before: String? = nil) -> LogRecord {
        LogRecord(
            seq: Int64(xid),
            xid: xid,
            operation: before == nil ? .insert : .update,
            key: "\(xid)",
            hop: 0,
            at: 1,
            row: Row(row),
            before: before.map { Row($0) }
        )
    }

    private static func batch(
        _ start: String,
        _ end: String,
        _ records: [LogRecord],
        feed: FeedDefinition = .jobs
    ) -> Batch {
        Batch(
            feed: feed,
            start: Snapshot.of(start),
            end: Snapshot.of(end),
            records: records,
            owners: OwnerTable(feed: feed),
            moved: [:],
            isTruncated: false
        )
    }

    /// Steps 10…11, 11…12, …: each one transaction of one record.
    private static func ring(steps: Int, maximumBytes: Int = 1 << 20) -> Ring {
        var ring = Ring(maximumBytes: maximumBytes)
        ring.reset(at: Snapshot.of("10:10:"))
        for xid in 10..<UInt64(10 + steps) {
            let end = "\(xid + 1):\(xid + 1):"
            ring.append(
                end: Snapshot.of(end),
                batches: [Self.batch("\(xid):\(xid):", end, [Self.record(xid, #"{"id":1}"#)])]
            )
        }
        return ring
    }

    private static func xids(_ ring: Ring, after snapshot: String) -> [UInt64]? {
        let snapshot = Snapshot.of(snapshot)
        return ring.batches(of: "jobs", after: snapshot)?.flatMap(\.records).map(\.xid).filter { !snapshot.sees($0) }
    }

    private static var one: Int { Self.batch("1:1:", "2:2:", [Self.record(300, #"{"id":1}"#)]).bytes }

    @Test func itGivesWhatCameAfter() {
        let ring = Self.ring(steps: 5)
        #expect(Self.xids(ring, after: "10:10:") == [10, 11, 12, 13, 14])
        #expect(Self.xids(ring, after: "12:12:") == [12, 13, 14])
        #expect(Self.xids(ring, after: "15:15:") == [])
        #expect(Self.xids(ring, after: "9:9:") == nil)
        #expect(Self.xids(ring, after: "9:11:9") == nil)
        #expect(Self.xids(ring, after: "16:16:") == nil)
        #expect(ring.batches(of: "other", after: Snapshot.of("12:12:"))?.isEmpty == true)
    }

    @Test func beforeItsStartItKnowsNothing() {
        var ring = Ring(maximumBytes: 1 << 20)
        #expect(ring.start == nil)
        #expect(Self.xids(ring, after: "10:10:") == nil)
        ring.append(end: Snapshot.of("11:11:"), batches: [Self.batch("10:10:", "11:11:", [Self.record(10, "{}")])])
        #expect(Self.xids(ring, after: "10:10:") == nil)
        #expect(Self.xids(ring, after: "11:11:") == [])
    }

    @Test func aSnapshotInTheMidstOfAStepGetsThatStep() {
        var ring = Ring(maximumBytes: 1 << 20)
        ring.reset(at: Snapshot.of("10:10:"))
        let records = [Self.record(10, "{}"), Self.record(11, "{}")]
        ring.append(end: Snapshot.of("12:12:"), batches: [Self.batch("10:10:", "12:12:", records)])
        #expect(Self.xids(ring, after: "10:12:10") == [10])
        #expect(Self.xids(ring, after: "11:11:") == [11])
    }

    @Test(arguments: [1, 2, 3, 7])
    func itsBytesAreBounded(fits: Int) throws {
        let ring = Self.ring(steps: 300, maximumBytes: Self.one * fits)
        #expect(ring.bytes <= ring.maximumBytes)
        let start = UInt64(310 - fits)
        #expect(ring.start == Snapshot.of("\(start):\(start):"))
        #expect(Self.xids(ring, after: "\(start):\(start):") == Array(start..<310))
        #expect(Self.xids(ring, after: "\(start - 1):\(start - 1):") == nil)
    }

    @Test func aStepLargerThanTheRingEmptiesIt() {
        var ring = Self.ring(steps: 3, maximumBytes: Self.one * 3)
        let records = (20..<30 as Range<UInt64>).map { Self.record($0, #"{"id":1}"#) }
        ring.append(end: Snapshot.of("30:30:"), batches: [Self.batch("13:13:", "30:30:", records)])
        #expect(ring.bytes == 0)
        #expect(ring.start == Snapshot.of("30:30:"))
        #expect(Self.xids(ring, after: "13:13:") == nil)
        #expect(Self.xids(ring, after: "30:30:") == [])
    }

    @Test func stepsInWhichNothingHappenedCostNothing() {
        var ring = Self.ring(steps: 1)
        let bytes = ring.bytes
        for xid in 12..<500 { ring.append(end: Snapshot.of("\(xid):\(xid):"), batches: []) }
        #expect(ring.bytes == bytes)
        #expect(Self.xids(ring, after: "10:10:") == [10])
        #expect(Self.xids(ring, after: "400:400:") == [])
    }

    @Test func aFeedThatWasResetIsKnownFromThenOn() {
        var ring = Self.ring(steps: 3)
        ring.append(end: Snapshot.of("14:14:"), batches: [], resetFeeds: ["jobs"])
        #expect(Self.xids(ring, after: "13:13:") == nil)
        #expect(Self.xids(ring, after: "14:14:") == [])
        #expect(ring.batches(of: "other", after: Snapshot.of("10:10:"))?.isEmpty == true)
    }

    @Test func aNewHistoryForgetsTheOld() {
        var ring = Self.ring(steps: 3)
        ring.reset(at: Snapshot.of("500:500:"))
        #expect(Self.xids(ring, after: "12:12:") == nil)
        #expect(Self.xids(ring, after: "500:500:") == [])
        #expect(ring.bytes == 0)
    }

    /// `X:X:` is "all below X": included where everything that is not seen has xid X or more.
    @Test func aPreloadProvesWhatItsLowestXidProves() {
        for x in 1...14 as ClosedRange<UInt64> {
            for text in ["10:10:", "5:12:5,7", "9:12:9", "12:12:", "3:3:", "8:12:8,11"] {
                let snapshot = Snapshot.of(text)
                let proven = (1...20 as ClosedRange<UInt64>).allSatisfy { snapshot.sees($0) || $0 >= x }
                #expect(snapshot.includes(Snapshot.of("\(x):\(x):")) == proven, "\(text), \(x)")
            }
        }
    }

    // MARK: Rows that are not whole

    private static let whole =
        #"{"id":1,"assigned_to":11,"status":"failed","path":"./a","progress":2,"retries":0,"urgent":null,"token":null,"#
        + #""area":null,"errors":null,"created_at":null,"updated_at":null}"#

    @Test func aFilterNeedsWholeRowsWhereItLooks() {
        let part = #"{"id":1,"assigned_to":11,"status":"failed","path":"./a"}"#
        let batch = Self.batch("10:10:", "11:11:", [Self.record(10, part, before: #"{"status":"pending"}"#)])
        #expect(batch.isComplete(for: []))
        #expect(batch.isComplete(for: ["path"]))
        // It may let the row in now, and then all of it is needed.
        #expect(!batch.isComplete(for: ["path", "status"]))
        // It cannot even be asked.
        #expect(!batch.isComplete(for: ["progress"]))
        let filled = Self.batch("10:10:", "11:11:", [Self.record(10, Self.whole, before: #"{"status":"pending"}"#)])
        #expect(filled.isComplete(for: ["path", "status", "progress"]))
    }

    @Test func bytesGrowWithWhatIsHeld() {
        let small = Self.batch("10:10:", "11:11:", [Self.record(10, Self.whole)])
        let text = String(repeating: "x", count: 100_000)
        let large = Self.batch("10:10:", "11:11:", [Self.record(10, "{\"path\":\"\(text)\"}")])
        #expect((Self.whole.utf8.count..<8192).contains(small.bytes))
        #expect((100_000..<102_000).contains(large.bytes))
    }
}
