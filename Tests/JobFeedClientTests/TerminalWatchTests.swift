import JobFeedClient
import JobFeedProtocol
import Testing

@testable import jobfeed

@Suite struct TerminalWatchTests {
    /// Feeds events as the tail does; answers the last verdict.
    private func verdict(_ channel: Channel, _ events: [Event]) -> TerminalWatch.Verdict {
        var watch = TerminalWatch(channel: channel, statuses: Statuses(), statusColumn: "status")
        var rows = RowStore()
        var verdict = TerminalWatch.Verdict.goOn
        for event in events {
            rows.apply(event)
            verdict = watch.observed(event, rows: rows)
            if verdict != .goOn { break }
        }
        return verdict
    }

    private static let job = Channel.key(feed: "jobs", "42")
    private static let jobs = Channel.statuses(feed: "jobs", ["pending", "processing"])

    private static func snapshot(_ statuses: JSONValue...) -> Event {
        let rows = statuses.enumerated().map {
            ServerMessage.Row(key: "\(42 + $0.offset)", columns: ["status": $0.element])
        }
        return .snapshot(.init(rows: rows))
    }

    private static func change(_ changes: Change...) -> Event { .changes(.init(changes: changes, cursor: "c")) }

    @Test(
        arguments: Statuses.defaultSuccess.map { ($0, TerminalWatch.Verdict.success) }
            + Statuses.defaultFailure.map { ($0, .failure(nil)) } + [("processing", .goOn)]
    )
    func oneJobByItsStatus(status: String, expected: TerminalWatch.Verdict) {
        #expect(self.verdict(Self.job, [Self.snapshot(.string(status)), .live]) == expected)
        let update = Self.change(.update(key: "42", set: ["status": .string(status)]))
        #expect(self.verdict(Self.job, [Self.snapshot("pending"), .live, update]) == expected)
    }

    @Test func oneJobThatIsNotThere() {
        #expect(
            self.verdict(Self.job, [Self.snapshot(), .live])
                == .failure("jobs/42 does not exist, or is not yours to see")
        )
        #expect(self.verdict(Self.job, [.connecting(attempt: 1)]) == .goOn)
    }

    @Test func oneJobThatIsDeleted() {
        let gone = Self.change(.leave(key: "42", reason: "deleted", set: nil))
        #expect(
            self.verdict(Self.job, [Self.snapshot("processing"), .live, gone])
                == .failure("jobs/42 is gone (deleted) before it came to an end")
        )
    }

    @Test func severalJobs() {
        #expect(self.verdict(Self.jobs, [Self.snapshot("success", "processing"), .live]) == .goOn)
        #expect(self.verdict(Self.jobs, [Self.snapshot("success", "done"), .live]) == .success)
        #expect(self.verdict(Self.jobs, [Self.snapshot("success", "dead"), .live]) == .failure(nil))
        #expect(self.verdict(Self.jobs, [Self.snapshot("success")]) == .goOn)
    }

    @Test(arguments: [("success", TerminalWatch.Verdict.success), ("failed", .failure(nil))])
    func severalJobsThatLeaveTheChannel(status: JSONValue.StringLiteralType, expected: TerminalWatch.Verdict) {
        let first = Self.change(.leave(key: "42", reason: "filter", set: ["status": .string(status)]))
        let second = Self.change(.leave(key: "43", reason: "filter", set: ["status": "success"]))
        let events = [Self.snapshot("processing", "pending"), .live, first]
        #expect(self.verdict(Self.jobs, events) == .goOn)
        #expect(self.verdict(Self.jobs, events + [second]) == expected)
    }
}
