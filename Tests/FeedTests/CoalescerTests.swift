import Feed
import Testing

/// Gauges wait, events do not, and nothing is sent before what came before it.
@Suite struct CoalescerTests {
    private static let second: Int64 = 1_000_000_000

    private static func view() -> View {
        View(feed: .jobs, viewer: .operator, filter: .everything, key: nil, columns: nil)
    }

    /// One update of a row: its new values, and that some of them are new.
    private static func step(_ key: ByteText, _ set: String) throws -> Coalescer.Step {
        let row = Row(set)
        let record = LogRecord(
            seq: 1,
            xid: 1,
            operation: .update,
            key: key,
            hop: 0,
            at: 1,
            row: row,
            before: Row(values: row.values.mapValues { _ in "null" })
        )
        let change = try #require(
            Change.derive(from: [record], owners: OwnerTable(feed: .jobs), moved: [:], feed: .jobs).first
        )
        return (change, try #require(Self.view().delta(for: change)))
    }

    /// `key column=value …`
    private static func text(_ steps: [Coalescer.Step]) -> [String] {
        steps.map { step in
            guard case .update(let columns) = step.delta else { return "\(step.change.key) ?" }
            let set = columns.map { "\($0)=\(step.change.row[$0]?.scalarText ?? "null")" }
            return "\(step.change.key) \(set.joined(separator: " "))"
        }
    }

    @Test func theFirstGaugeGoesAtOnceAndTheNextWait() throws {
        var coalescer = Coalescer(maximumRate: 1)
        let view = Self.view()
        let first = coalescer.pass([try Self.step("1", #"{"progress":10}"#)], in: view, now: 0)
        #expect(Self.text(first) == ["1 progress=10"])
        #expect(coalescer.due == nil)
        for percent in [20, 30, 40] {
            let sent = coalescer.pass([try Self.step("1", "{\"progress\":\(percent)}")], in: view, now: Self.second / 2)
            #expect(sent.isEmpty)
        }
        #expect(coalescer.due == Self.second)
        #expect(Self.text(coalescer.flush(now: Self.second)) == ["1 progress=40"])
        #expect(coalescer.isEmpty)
    }

    @Test func eventsTakeAllThatIsHeldAlongInFrontOfThem() throws {
        var coalescer = Coalescer(maximumRate: 0.1)
        let view = Self.view()
        _ = coalescer.pass([try Self.step("1", #"{"progress":1}"#)], in: view, now: 0)
        _ = coalescer.pass([try Self.step("2", #"{"progress":50}"#)], in: view, now: 1)
        _ = coalescer.pass([try Self.step("1", #"{"progress":93}"#)], in: view, now: 2)
        let sent = coalescer.pass([try Self.step("1", #"{"status":"success"}"#)], in: view, now: 3)
        #expect(Self.text(sent) == ["2 progress=50", "1 progress=93", "1 status=success"])
        #expect(coalescer.isEmpty)
    }

    @Test func heldUpdatesOfOneRowComposeInTheTablesOrder() throws {
        var coalescer = Coalescer(maximumRate: 1)
        let view = Self.view()
        _ = coalescer.pass([try Self.step("1", #"{"progress":1}"#)], in: view, now: 0)
        _ = coalescer.pass([try Self.step("1", #"{"progress":2,"updated_at":"a"}"#)], in: view, now: 1)
        _ = coalescer.pass([try Self.step("1", #"{"progress":3}"#)], in: view, now: 2)
        #expect(Self.text(coalescer.flush(now: Self.second)) == ["1 progress=3 updated_at=a"])
    }

    @Test(arguments: [1e-300, 1e-9, 0.5, 1000, 1e12, .infinity])
    func anyRateHasATime(rate: Double) throws {
        var coalescer = Coalescer(maximumRate: rate)
        _ = coalescer.pass([try Self.step("1", #"{"progress":1}"#)], in: Self.view(), now: .max - 1)
        _ = coalescer.pass([try Self.step("1", #"{"progress":2}"#)], in: Self.view(), now: .max - 1)
        #expect(coalescer.isEmpty || coalescer.due != nil)
    }
}
