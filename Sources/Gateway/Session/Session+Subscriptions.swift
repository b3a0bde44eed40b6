import Feed
import JobFeedProtocol
import LibPQ
import Logging
import NIOCore
import WebSocketTransport

/// Subscriptions from their command to `live`, through resets, to their end.
extension Session {
    /// - Parameter isAgain: the reader was asked to look for the feed, and has had time to.
    func subscribe(_ request: Subscribe, isAgain: Bool = false) {
        guard let identity = self.identity else { return }
        guard self.subscriptions[request.id] == nil, self.postponed[request.id] == nil else {
            return self.refuse(
                id: request.id,
                .duplicateID,
                "\"\(request.id)\" is open already; unsubscribe it or use another id"
            )
        }
        guard self.subscriptions.count + self.postponed.count < self.context.limits.subscriptions else {
            return self.refuse(
                id: request.id,
                .tooManySubscriptions,
                "this connection has \(self.context.limits.subscriptions) subscriptions open, which is the limit"
            )
        }
        guard self.shard.position != nil else {
            return self.refuse(id: request.id, .unavailable, "the database was not reached yet; try again in a moment")
        }
        do throws(SubscribeError) {
            let plan = try self.plan(request, for: identity)
            let subscription = Subscription(
                request: request,
                channel: plan.channel,
                view: plan.view,
                encoding: self.tongue.encoding(of: request),
                session: self
            )
            self.subscriptions[request.id] = subscription
            self.context.metrics.subscriptions.increment()
            self.begin(subscription, resume: request.resume, isReset: false)
            self.answer(.accepted(id: request.id))
        } catch {
            if error.code == .unknownFeed, !isAgain { return self.postpone(request) }
            self.refuse(id: request.id, error.code, error.message)
        }
    }

    private func plan(_ request: Subscribe, for identity: Identity) throws(SubscribeError) -> SubscriptionPlan {
        try SubscriptionPlan(
            request,
            identity: identity,
            catalog: self.shard.catalog,
            grammar: self.tongue.grammar
        )
    }

    /// Perhaps the feed was attached a moment ago: asks again when the reader has looked.
    private func postpone(_ request: Subscribe) {
        let turn = UInt64.random(in: .min ... .max)
        self.postponed[request.id] = turn
        self.context.reader.poke()
        self.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(250)) {
            guard self.connection != nil, self.postponed[request.id] == turn else { return }
            self.postponed[request.id] = nil
            self.subscribe(request, isAgain: true)
            self.flush()
        }
    }

    private func begin(_ subscription: Subscription, resume: String?, isReset: Bool) {
        // Before the snapshot is taken, so that no batch after it lacks what the filter needs.
        self.context.interest.add(subscription.view.filter.columns, feed: subscription.view.feed.name)
        self.shard.open(subscription)
        self.enqueueLoad(subscription, resume: resume, isReset: isReset)
    }

    /// Ends a subscription without an answer.
    func end(_ subscription: Subscription) {
        self.subscriptions[subscription.id] = nil
        self.release(subscription)
    }

    /// Ends all of them: one by one would look for each among the rest.
    func endAll() {
        let subscriptions = self.subscriptions.values
        self.subscriptions = SubscriptionList()
        for subscription in subscriptions { self.release(subscription) }
    }

    private func release(_ subscription: Subscription) {
        self.loads.remove(subscription)
        self.context.metrics.subscriptions.decrement()
        self.context.interest.remove(subscription.view.filter.columns, feed: subscription.view.feed.name)
        self.shard.close(subscription)
        subscription.session = nil
    }

    /// Reads the views of these feeds anew; a view that does not fit its feed any more ends with an error.
    func reset(_ feeds: [String: ResetReason]) {
        guard let identity = self.identity else { return }
        for subscription in self.subscriptions.values {
            guard let reason = feeds[subscription.view.feed.name] else { continue }
            // An answer to one may have ended others.
            guard subscription.session != nil else { continue }
            do throws(SubscribeError) {
                let plan = try self.plan(subscription.request, for: identity)
                self.context.interest.remove(subscription.view.filter.columns, feed: subscription.view.feed.name)
                self.context.interest.add(plan.view.filter.columns, feed: plan.view.feed.name)
                self.shard.restart(subscription, with: plan.view)
                let isReset = subscription.isAnswered
                self.context.metrics.resets.increment(reason)
                if isReset { self.answer(.reset(id: subscription.id, reason)) }
                self.enqueueLoad(subscription, resume: isReset ? nil : subscription.request.resume, isReset: isReset)
            } catch {
                self.end(subscription)
                self.refuse(id: subscription.id, error.code, error.message)
            }
        }
        self.connection?.flush()
    }

    /// Asks again for what is being loaded: too much has happened meanwhile to be kept.
    func reload(_ subscription: Subscription) {
        self.shard.restart(subscription, with: subscription.view)
        let isReset = subscription.isAnswered
        self.enqueueLoad(subscription, resume: isReset ? nil : subscription.request.resume, isReset: isReset)
    }

    // MARK: Loading, one subscription after the other

    private func enqueueLoad(_ subscription: Subscription, resume: String?, isReset: Bool, losses: Int = 0) {
        let load = LoadQueue.Load(subscription: subscription, resume: resume, isReset: isReset, losses: losses)
        guard load.needsDatabase else { return self.start(load) }
        self.loads.append(load)
        self.loadNext()
    }

    /// Who wants no rows begins where the node stands after its next read; all that ask for it in one turn of the loop
    /// begin at the same place.
    private func start(_ load: LoadQueue.Load) {
        self.starting.append(load)
        guard self.starting.count == 1 else { return }
        // Not before all of them are open: what they filter by has to be in what is read.
        self.eventLoop.assumeIsolated().execute {
            let loads = self.starting
            self.starting = []
            guard self.connection != nil else { return }
            self.shard.afterNextRead(by: self.context.reader) {
                guard self.connection != nil, let position = self.shard.position else { return }
                for load in loads where load.isCurrent { self.live(load, at: position.cursor, position.text) }
                self.flush()
            }
        }
    }

    private func live(_ load: LoadQueue.Load, at cursor: Cursor, _ text: String) {
        let subscription = load.subscription
        load.trace.live(from: "position")
        subscription.isAnswered = true
        self.answer(.subscribed(id: subscription.id, recovered: false, reason: "no_cursor"))
        self.answer(.live(id: subscription.id, cursor: text))
        self.shard.settle(subscription, at: cursor.snapshot)
    }

    /// One snapshot at a time, from the database to the socket.
    func loadNext() {
        guard self.connection != nil, self.outbox.isEmpty, let load = self.loads.startNext() else { return }
        if let cursor = self.cursorInMemory(load) {
            return self.replay(load, since: cursor)
        }
        self.read(load)
    }

    /// From the database: from the log what the client lacks, or else the rows as they are.
    func read(_ load: LoadQueue.Load) {
        if let since = load.resume.flatMap({ Cursor(encoded: $0) }), let keptFrom = load.subscription.keptFrom {
            self.replayLog(load, since: since, keptFrom: keptFrom)
        } else {
            self.readRows(load, because: load.resume == nil ? "no_cursor" : "malformed_cursor")
        }
    }

    func readRows(_ load: LoadQueue.Load, because reason: String) {
        let loader = SnapshotLoader(request: load.request, reason: reason)
        let pool = self.context.pool
        let ticket = load.ticket
        let trace = load.trace
        let user = self.identity?.user ?? ""
        let loaded = self.eventLoop.makePromise(of: SnapshotLoader.Loaded.self)
        pool.run(for: user) { connection in
            if ticket.isAbandoned { throw CancellationError() }
            return try trace.snapshot { try loader.load(connection) }
        } then: {
            loaded.completeWith($0)
        }
        loaded.futureResult.assumeIsolated().whenComplete { result in self.finish(load, result) }
    }

    func finish(_ load: LoadQueue.Load, _ result: Swift.Result<SnapshotLoader.Loaded, any Error>) {
        self.loads.finished()
        self.loaded(load, result)
        self.loadNext()
    }

    private func loaded(_ load: LoadQueue.Load, _ result: Swift.Result<SnapshotLoader.Loaded, any Error>) {
        let subscription = load.subscription
        guard self.connection != nil, load.isCurrent else { return }
        switch result {
        case .success(let loaded):
            if let position = self.shard.position, position.cursor.epoch != loaded.cursor.epoch {
                return self.retry(load)
            }
            load.trace.live(from: loaded.isRecovered ? "log" : "rows")
            if load.resume != nil { self.context.metrics.resumes.increment(loaded.isRecovered ? .log : .snapshot) }
            subscription.counts = loaded.counts
            subscription.isAnswered = true
            if !load.isReset {
                self.answer(.subscribed(id: subscription.id, recovered: loaded.isRecovered, reason: loaded.reason))
            }
            self.deliverInBulk(loaded.frames)
            self.answer(.live(id: subscription.id, cursor: loaded.cursor.encoded()))
            self.shard.settle(subscription, at: loaded.cursor.snapshot)
        case .failure(FeedTransaction.Failure.definitionChanged):
            self.context.reader.poke()
            self.retry(load)
        // Idle connections that the server has ended are found out only now; each of the pool may be one.
        case .failure(let error as PostgresError) where error.kind == .connection && load.losses < 2:
            self.retry(load, losses: load.losses + 1)
        case .failure(let error):
            load.trace.failed(error)
            self.context.logger.warning(
                "Cannot read a snapshot",
                metadata: self.metadata.merging(["error": "\(error)"]) { $1 }
            )
            self.end(subscription)
            let message = SubscribeError.unavailable(error)
            self.answer(.error(id: subscription.id, .unavailable, message))
            self.connection?.flush()
        }
    }

    /// The node and the database do not agree yet; the reader is about to find out.
    private func retry(_ load: LoadQueue.Load, losses: Int = 0) {
        self.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(50)) {
            guard load.isCurrent, self.connection != nil else { return }
            self.enqueueLoad(load.subscription, resume: load.resume, isReset: load.isReset, losses: losses)
        }
    }
}
