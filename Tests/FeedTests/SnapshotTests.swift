import Feed
import Testing

@Suite struct SnapshotTests {
    @Test(arguments: [
        ("10:20:12,15", [9, 10, 11, 13, 14, 19] as [UInt64], [12, 15, 20, 21, 1 << 60] as [UInt64]),
        ("10:10:", [1, 9], [10, 11]),
        ("1:1:", [0], [1, 2]),
        ("5:6:5", [4], [5, 6]),
    ])
    func seesWhatHadEnded(text: String, seen: [UInt64], unseen: [UInt64]) throws {
        let snapshot = try #require(Snapshot(text: text))
        for xid in seen { #expect(snapshot.sees(xid), "\(xid)") }
        for xid in unseen { #expect(!snapshot.sees(xid), "\(xid)") }
    }

    @Test(arguments: [
        "10:20:12,15", "10:10:", "1:1:", "18446744073709551614:18446744073709551615:18446744073709551614",
    ])
    func survivesItsTextForm(text: String) throws {
        let snapshot = try #require(Snapshot(text: text))
        #expect(snapshot.text == text)
    }

    @Test(arguments: [
        "", ":", "::", "10", "10:20", "10:20:12:13", "x:20:", "10:x:", "10:20:x", "-1:20:", "0:0:", "20:10:",
        // running, but below xmin, beyond xmax, twice, out of order
        "10:20:9", "10:20:20", "10:20:12,12", "10:20:15,12", "10:20: 12", " 10:20:", "18446744073709551616:1:",
    ])
    func refusesWhatPostgresWouldNotWrite(text: String) {
        #expect(Snapshot(text: text) == nil)
    }

    /// All transactions of a small cluster, as the definition has it: ended or not.
    private struct Model {
        static let xids: ClosedRange<UInt64> = 1...14
        let seen: Set<UInt64>

        init(_ snapshot: Snapshot) {
            self.seen = Set(
                Self.xids.filter { $0 < snapshot.xmin || ($0 < snapshot.xmax && !snapshot.inProgress.contains($0)) }
            )
        }
    }

    private static func random(_ random: inout SplitMix) -> Snapshot? {
        let xmin = UInt64.random(in: 1...12, using: &random)
        let xmax = UInt64.random(in: xmin...12, using: &random)
        let running = (xmin..<xmax).filter { _ in random.chance(40) }
        return Snapshot(xmin: xmin, xmax: xmax, inProgress: running)
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func agreesWithSetsOfTransactions(seed: UInt64) throws {
        var random = SplitMix(seed: seed)
        var included = 0
        for _ in 0..<4000 {
            let left = try #require(Self.random(&random))
            let right = try #require(Self.random(&random))
            let (leftModel, rightModel) = (Model(left), Model(right))
            for xid in Model.xids { #expect(left.sees(xid) == leftModel.seen.contains(xid), "\(left.text) \(xid)") }
            let expected = leftModel.seen.isSuperset(of: rightModel.seen)
            included += expected ? 1 : 0
            #expect(left.includes(right) == expected, "\(left.text) includes \(right.text)")
        }
        #expect((500...3500).contains(included))
    }
}
