import Feed
import LibPQ
import Synchronization

/// Answers the resumes that reach further back than memory: all that wait for one feed share one reading of its log.
///
/// One reading of a feed at a time: whoever comes meanwhile shares the next one, however many they are.
final class LogReplays: Sendable {
    enum Answer: Sendable {
        case loaded(SnapshotLoader.Loaded)
        /// Not all that happened since the cursor can be told; the reason is for clients.
        case unrecoverable(reason: String)
    }

    struct Wish: Sendable {
        let request: SnapshotLoader.Request
        let since: Cursor
        /// The steps that are kept for the subscription begin here or earlier.
        let keptFrom: Snapshot
        let ticket: LoadQueue.Ticket
        /// Called once, on any thread.
        let answer: @Sendable (Swift.Result<Answer, any Error>) -> Void
    }

    private struct Key: Hashable {
        let feed: String
        let revision: String
    }

    private struct Desk {
        var waiting: [Wish] = []
        var isOpen = false
        /// For the other subscriptions of those clients, which ask one after the other.
        var last: LogReading? = nil
        var readings: UInt64 = 0
    }

    /// How long a reading is remembered.
    private static let memory = Duration.seconds(2)

    private let pool: ConnectionPool
    private let desks = Mutex<[Key: Desk]>([:])

    init(pool: ConnectionPool) {
        self.pool = pool
    }

    func ask(_ wish: Wish) {
        let feed = wish.request.view.feed
        let key = Key(feed: feed.name, revision: feed.revision)
        let isOpen = self.desks.withLock { desks in
            let isOpen = desks[key]?.isOpen ?? false
            desks[key, default: Desk()].waiting.append(wish)
            desks[key]?.isOpen = true
            return isOpen
        }
        if !isOpen { self.open(key) }
    }

    private func open(_ key: Key) {
        Task {
            let round = LogReplayRound()
            do {
                try await self.pool.withConnection { connection in
                    round.begin { self.take(key) }
                    try self.serve(round, key, connection)
                }
            } catch {
                round.begin { self.take(key) }
                round.fail(error)
            }
            self.close(key)
        }
    }

    private func take(_ key: Key) -> [Wish] {
        self.desks.withLock { desks in
            defer { desks[key]?.waiting = [] }
            return desks[key]?.waiting ?? []
        }
    }

    private func close(_ key: Key) {
        let isMore = self.desks.withLock { desks in
            let isMore = desks[key]?.waiting.isEmpty == false
            desks[key]?.isOpen = isMore
            if !isMore, desks[key]?.last == nil { desks[key] = nil }
            return isMore
        }
        if isMore { self.open(key) }
    }

    // MARK: On a thread of the pool

    private func serve(_ round: LogReplayRound, _ key: Key, _ connection: Connection) throws {
        if let last = self.desks.withLock({ $0[key]?.last }) {
            round.answer { wish in
                wish.request.isCounts || !last.reaches(from: wish.since, to: wish.keptFrom)
                    ? nil : last.replay(wish.request, since: wish.since, counts: nil)
            }
        }
        while let wishes = round.next {
            var obstacles: [Int: String] = [:]
            do {
                var counts: [Int: StatusCounts] = [:]
                let feed = wishes[wishes.startIndex].request.view.feed
                let read: (FeedTransaction) throws -> LogReading? = { transaction in
                    obstacles = Self.obstacles(wishes, transaction)
                    guard let oldest = wishes.indices.first(where: { obstacles[$0] == nil }) else { return nil }
                    let reading = try LogReading(since: wishes[oldest].since.snapshot, transaction)
                    for index in wishes.indices where wishes[index].request.isCounts && obstacles[index] == nil {
                        counts[index] = try SnapshotLoader.counts(of: wishes[index].request.view, connection)
                    }
                    return reading
                }
                let reading = try FeedTransaction.run(feed, readsLog: true, on: connection, read)
                round.answerNext { index, wish in
                    if let reason = obstacles[index] { return .unrecoverable(reason: reason) }
                    return reading?.replay(wish.request, since: wish.since, counts: counts[index])
                        ?? .unrecoverable(reason: "retention")
                }
                if let reading { self.remember(reading, key) }
            } catch LogReader.Failure.tooLarge {
                try connection.execute("ROLLBACK")
                round.giveUpOldest(obstacles)
            }
        }
    }

    private static func obstacles(_ wishes: ArraySlice<Wish>, _ transaction: FeedTransaction) -> [Int: String] {
        var obstacles: [Int: String] = [:]
        for index in wishes.indices {
            obstacles[index] = wishes[index].since.obstacle(
                now: transaction.cursor,
                horizon: transaction.horizon,
                feed: transaction.feed
            )
        }
        return obstacles
    }

    private func remember(_ reading: LogReading, _ key: Key) {
        let number = self.desks.withLock { desks in
            desks[key, default: Desk()].last = reading
            desks[key]?.readings += 1
            return desks[key]?.readings
        }
        Task {
            try? await Task.sleep(for: Self.memory)
            self.desks.withLock { desks in
                guard desks[key]?.readings == number else { return }
                desks[key]?.last = nil
                if desks[key]?.isOpen == false { desks[key] = nil }
            }
        }
    }
}
