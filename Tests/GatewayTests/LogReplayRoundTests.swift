import JobFeedProtocol
import Synchronization
import Testing

@testable import Feed
@testable import Gateway

@Suite("Resumes that share a reading of the log")
struct LogReplayRoundTests {
    private static let view = View(
        feed: FeedDefinition(
            name: "jobs",
            schema: "public",
            table: "job",
            columns: [],
            key: [],
            status: "status",
            hops: [],
            ownerColumn: nil,
            ownerTypeName: nil,
            hidden: [],
            quiet: [],
            gauges: [],
            orderColumn: nil,
            since: 1,
            revision: "1"
        ),
        viewer: .operator,
        filter: .everything,
        key: nil,
        columns: nil
    )

    private final class Answers: Sendable {
        let given = Mutex<[UInt64: [String]]>([:])

        func wish(_ xid: UInt64) throws -> LogReplays.Wish {
            let snapshot = try #require(Snapshot(xmin: xid, xmax: xid, inProgress: []))
            return LogReplays.Wish(
                request: .init(
                    view: LogReplayRoundTests.view,
                    subscribe: Subscribe(id: "s", channel: "jobs"),
                    encoding: NativeEncoding(),
                    isCounts: false,
                    wantsSnapshot: true
                ),
                since: Cursor(epoch: 1, snapshot: snapshot),
                keptFrom: snapshot,
                ticket: .init(),
                answer: { result in
                    self.given.withLock { given in
                        switch result {
                        case .success(.unrecoverable(let reason)): given[xid, default: []].append(reason)
                        case .success(.loaded): given[xid, default: []].append("loaded")
                        case .failure: given[xid, default: []].append("failed")
                        }
                    }
                }
            )
        }
    }

    /// Plays the pool's thread: whatever begins below `horizon` is too large.
    private func serve(_ cursors: [UInt64], fitting horizon: UInt64) throws -> (answers: [UInt64: [String]], reads: Int)
    {
        let answers = Answers()
        let round = LogReplayRound()
        let wishes = try cursors.map { try answers.wish($0) }
        round.begin { wishes }
        var reads = 0
        while let next = round.next {
            reads += 1
            guard let oldest = next.first?.since.snapshot.xmin, oldest >= horizon else {
                round.giveUpOldest([:])
                continue
            }
            round.answerNext { _, wish in .unrecoverable(reason: "read from \(oldest)") }
        }
        return (answers.given.withLock { $0 }, reads)
    }

    @Test("one reading serves all when the oldest fits")
    func oneReading() throws {
        let (answers, reads) = try self.serve([7, 3, 9, 3, 5], fitting: 0)
        #expect(reads == 1)
        #expect(answers[3] == ["read from 3", "read from 3"] && answers[9] == ["read from 3"])
    }

    @Test("each gets one answer, and only those whose span is too large are given up", arguments: 0...65)
    func halves(_ horizon: Int) throws {
        let cursors = (1...64).map { UInt64($0) }.shuffled()
        let (answers, reads) = try self.serve(cursors, fitting: UInt64(horizon))
        #expect(reads <= 8)
        for cursor in cursors {
            let expected = cursor < horizon
            #expect(answers[cursor]?.count == 1)
            #expect((answers[cursor] == ["retention"]) == expected, "\(cursor)")
        }
    }

    @Test("wishes with an obstacle get their own reason")
    func obstacles() throws {
        let answers = Answers()
        let round = LogReplayRound()
        let wishes = try [4, 2, 6].map { try answers.wish($0) }
        round.begin { wishes }
        round.giveUpOldest([0: "epoch"])
        round.answerNext { _, _ in .unrecoverable(reason: "read") }
        #expect(answers.given.withLock { $0 } == [2: ["epoch"], 4: ["retention"], 6: ["read"]])
        #expect(round.next == nil)
    }

    @Test("a failure reaches whoever has no answer yet, also when the body runs twice")
    func failure() throws {
        let answers = Answers()
        let round = LogReplayRound()
        let wishes = try [1, 2].map { try answers.wish($0) }
        round.begin { wishes }
        round.begin { [] }
        round.answer { wish in wish.since.snapshot.xmin == 1 ? .unrecoverable(reason: "memory") : nil }
        round.fail(CancellationError())
        round.fail(CancellationError())
        #expect(answers.given.withLock { $0 } == [1: ["memory"], 2: ["failed"]])
    }
}
