import Feed
import Synchronization

/// The wishes that are served together, oldest cursor first; each is answered once.
///
/// When the span from the oldest on is too large, the oldest that fits is found by halves.
final class LogReplayRound: Sendable {
    private struct State {
        /// Not answered yet; `nil` before ``begin(_:)``.
        var left: [LogReplays.Wish]? = nil
        /// Where to read from next; all behind it share that reading.
        var probe = 0
    }

    private let state = Mutex(State())

    /// Does nothing the second time: a body of the pool may be run twice.
    func begin(_ take: () -> [LogReplays.Wish]) {
        self.state.withLock { state in
            guard state.left == nil else { return }
            // Snapshots of one primary are ordered: the later one knows a higher xid, or less that still runs.
            state.left = take().sorted { one, other in
                let (one, other) = (one.since.snapshot, other.since.snapshot)
                return (one.xmax, -one.inProgress.count) < (other.xmax, -other.inProgress.count)
            }
        }
    }

    /// Those to read the log for, in one go; `nil`: all have their answer.
    var next: ArraySlice<LogReplays.Wish>? {
        self.state.withLock { state in
            guard let left = state.left, state.probe < left.count else { return nil }
            return left[state.probe...]
        }
    }

    /// Answers whom `body` has an answer for.
    func answer(_ body: (LogReplays.Wish) -> LogReplays.Answer?) {
        let wishes = self.state.withLock { $0.left ?? [] }
        var left: [LogReplays.Wish] = []
        for wish in wishes {
            if let answer = body(wish) { wish.answer(.success(answer)) } else { left.append(wish) }
        }
        self.state.withLock { $0.left = left }
    }

    /// Answers all of ``next``; `body` gets its indices.
    func answerNext(_ body: (Int, LogReplays.Wish) -> LogReplays.Answer) {
        guard let wishes = self.next else { return }
        self.state.withLock { state in
            state.left?.removeSubrange(wishes.indices)
            state.probe = (state.left?.count ?? 0) / 2
        }
        for index in wishes.indices {
            let wish = wishes[index]
            wish.answer(wish.ticket.isAbandoned ? .failure(CancellationError()) : .success(body(index, wish)))
        }
    }

    /// Too much has happened since the oldest of ``next`` without an obstacle, and since whoever is older.
    func giveUpOldest(_ obstacles: [Int: String]) {
        guard let wishes = self.next, let oldest = wishes.indices.first(where: { obstacles[$0] == nil }) else { return }
        let given = self.state.withLock { state in
            let given = Array(state.left?.prefix(through: oldest) ?? [])
            state.left?.removeSubrange(...oldest)
            state.probe = (state.left?.count ?? 0) / 2
            return given
        }
        for (index, wish) in given.enumerated() {
            wish.answer(.success(.unrecoverable(reason: obstacles[index] ?? "retention")))
        }
    }

    func fail(_ error: any Error) {
        let wishes = self.state.withLock { state in
            defer { state.left = [] }
            return state.left ?? []
        }
        for wish in wishes { wish.answer(.failure(error)) }
    }
}
