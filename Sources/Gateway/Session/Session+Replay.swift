import Feed
import JobFeedProtocol
import NIOCore

/// Resumes: from memory what the node has read lately, without asking the database; from the log what reaches further
/// back.
extension Session {
    /// One load after the other, as all of a session's; those of many sessions share what is read.
    func replayLog(_ load: LoadQueue.Load, since: Cursor, keptFrom: Snapshot) {
        let answer = self.eventLoop.makePromise(of: LogReplays.Answer.self)
        self.context.replays.ask(
            .init(
                request: load.request,
                since: since,
                keptFrom: keptFrom,
                ticket: load.ticket,
                answer: { answer.completeWith($0) }
            )
        )
        answer.futureResult.assumeIsolated().whenComplete { result in
            switch result {
            case .success(.loaded(let loaded)): self.finish(load, .success(loaded))
            case .success(.unrecoverable(let reason)):
                guard self.connection != nil, load.isCurrent else { return self.loadEnded() }
                self.readRows(load, because: reason)
            case .failure(let error): self.finish(load, .failure(error))
            }
        }
    }

    /// Where the client stands, if the ring reaches back so far; otherwise the log has to be asked.
    func cursorInMemory(_ load: LoadQueue.Load) -> Cursor? {
        guard let resume = load.resume, !load.subscription.isCounts, let cursor = Cursor(encoded: resume),
            self.shard.canReplay(load.subscription.view, since: cursor)
        else { return nil }
        return cursor
    }

    /// Lets the node read once more first: what was committed before the client came is in, as it is in a snapshot.
    func replay(_ load: LoadQueue.Load, since cursor: Cursor) {
        self.shard.afterNextRead(by: self.context.reader) {
            guard self.connection != nil, load.isCurrent else { return self.loadEnded() }
            guard let steps = self.shard.replay(of: load.subscription.view, since: cursor),
                let position = self.shard.position
            else { return self.read(load) }
            load.trace.live(from: "ring")
            self.send(steps, for: load.subscription, upTo: position.cursor, position.text)
            self.loadEnded()
        }
    }

    private func send(_ steps: [Replay.Step], for subscription: Subscription, upTo cursor: Cursor, _ text: String) {
        subscription.isAnswered = true
        self.context.metrics.resumes.increment(.ring)
        self.answer(.subscribed(id: subscription.id, recovered: true, reason: nil))
        let changes = Changes(cursor: text, steps, Shape(subscription.view, subscription.encoding))
        self.deliverInBulk(changes.frames(head: subscription.head))
        self.answer(.live(id: subscription.id, cursor: text))
        self.shard.settle(subscription, at: cursor.snapshot)
    }

    func loadEnded() {
        self.loads.finished()
        self.loadNext()
    }
}
