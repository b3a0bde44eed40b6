import Feed
import JobFeedProtocol
import NIOCore
import WebSocketTransport

/// Everything one event loop knows of feeds and subscribers. Created off the loop, used only on it.
final class Shard {
    private(set) var catalog: [String: FeedDefinition] = [:]
    /// Where the live subscriptions of this loop stand; `nil` before the database was reached.
    private(set) var position: (cursor: Cursor, text: String, readAt: Int64)? = nil

    /// The steps up to ``position``, as far back as memory allows.
    private var ring: Ring
    private var ringEpoch: UInt64? = nil
    private var reads: (next: UInt64, waiting: [UInt64: (asked: UInt64, body: () -> Void)]) = (0, [:])
    private var groups = GroupIndex()
    private var unsettled: [ObjectIdentifier: Subscription] = [:]
    private var sessions: [ObjectIdentifier: Session] = [:]
    /// Sessions that something was written to since the last flush.
    private var dirty: [ObjectIdentifier: Session] = [:]
    private let eventLoop: any EventLoop
    private let metrics: GatewayMetrics

    init(eventLoop: any EventLoop, ringBytes: Int, metrics: GatewayMetrics) {
        self.eventLoop = eventLoop
        self.metrics = metrics
        self.ring = Ring(maximumBytes: ringBytes)
    }

    // MARK: Sessions

    func add(_ session: Session) { self.sessions[ObjectIdentifier(session)] = session }

    func remove(_ session: Session) {
        self.sessions[ObjectIdentifier(session)] = nil
        self.dirty[ObjectIdentifier(session)] = nil
    }

    var openSessions: [Session] { Array(self.sessions.values) }

    /// Lets every session look at its clocks.
    func tick(now: NIODeadline, wallClockSeconds: Double) {
        for session in self.sessions.values { session.tick(now: now, wallClockSeconds: wallClockSeconds) }
    }

    // MARK: Subscriptions

    /// From here on batches are kept for it.
    func open(_ subscription: Subscription) {
        self.unsettled[ObjectIdentifier(subscription)] = subscription
        subscription.keptFrom = self.position?.cursor.snapshot
    }

    func close(_ subscription: Subscription) {
        if case .live(let group) = subscription.state {
            group.remove(subscription)
            self.groups.removeIfEmpty(group)
        }
        self.unsettled[ObjectIdentifier(subscription)] = nil
        subscription.state = .closed
    }

    /// Takes a live or waiting subscription back to loading.
    func restart(_ subscription: Subscription, with view: View) {
        self.close(subscription)
        subscription.restart(with: view)
        self.open(subscription)
    }

    /// The subscription holds `snapshot` now: catches it up with what happened while it was read.
    func settle(_ subscription: Subscription, at snapshot: Snapshot) {
        guard case .loading(let buffered) = subscription.state else { return }
        subscription.state = .ahead(snapshot)
        for step in buffered { self.deliver(step, to: subscription, holding: snapshot) }
        if let position = self.position { self.join(subscription, snapshot, at: position.cursor.snapshot) }
        subscription.session?.flush()
    }

    private func join(_ subscription: Subscription, _ snapshot: Snapshot, at position: Snapshot) {
        guard position.includes(snapshot) else { return }
        self.unsettled[ObjectIdentifier(subscription)] = nil
        let group = self.groups.group(for: subscription)
        group.add(subscription)
        subscription.state = .live(group)
    }

    // MARK: Steps

    func apply(_ step: Step) {
        if let catalog = step.catalog { self.catalog = catalog }
        let cursor = step.cursor
        let text = cursor.encoded()
        for batch in step.batches { self.deliver(batch, cursor: text) }
        self.position = (cursor, text, step.readAt)
        self.remember(step)

        for subscription in Array(self.unsettled.values) {
            switch subscription.state {
            case .loading(var buffered):
                guard step.batches.contains(where: { $0.feed.name == subscription.view.feed.name }) else { continue }
                buffered.append(step)
                subscription.state = .loading(buffered: buffered)
                // The database is slow, not the client: it asks again, from where the database is then.
                if buffered.count > Self.maximumBuffered { subscription.session?.reload(subscription) }
            case .ahead(let snapshot):
                self.deliver(step, to: subscription, holding: snapshot)
                self.join(subscription, snapshot, at: step.end)
            case .live, .closed: break
            }
        }
        if !step.resets.isEmpty {
            for session in self.openSessions { session.reset(step.resets) }
        }
        self.announceRead(step)
        self.flush()
    }

    /// Calls `body` when a step has been applied that was read after this call; after a second anyway, because the
    /// database may be away.
    func afterNextRead(by reader: FeedReader, _ body: @escaping () -> Void) {
        let number = self.reads.next
        self.reads.next += 1
        self.reads.waiting[number] = (reader.poke(), body)
        self.eventLoop.assumeIsolated().scheduleTask(in: .seconds(1)) {
            self.reads.waiting.removeValue(forKey: number)?.body()
        }
    }

    private func announceRead(_ step: Step) {
        guard !self.reads.waiting.isEmpty else { return }
        let served = self.reads.waiting.filter { $0.value.asked <= step.answers }
        for (number, _) in served { self.reads.waiting[number] = nil }
        for (_, waiter) in served.sorted(by: { $0.key < $1.key }) { waiter.body() }
    }

    private func remember(_ step: Step) {
        if step.epoch != self.ringEpoch {
            self.ringEpoch = step.epoch
            self.ring.reset(at: step.end)
        } else {
            self.ring.append(end: step.end, batches: step.batches, resetFeeds: Set(step.resets.keys))
        }
        self.metrics.ringBytes.set(self.ring.bytes)
    }

    /// What happened to a view since this cursor, with as little as it takes to be where this shard is; `nil` when the
    /// ring does not reach back so far.
    func replay(for view: View, since cursor: Cursor) -> [Coalescer.Step]? {
        guard let batches = self.batches(for: view, since: cursor) else { return nil }
        return Replay.compacted(
            batches.flatMap { batch in
                batch.changes(notIn: cursor.snapshot, for: view.viewer).compactMap { change in
                    view.delta(for: change).map { (change: change, delta: $0) }
                }
            },
            in: view
        )
    }

    func canReplay(for view: View, since cursor: Cursor) -> Bool {
        self.batches(for: view, since: cursor) != nil
    }

    private func batches(for view: View, since cursor: Cursor) -> [Batch]? {
        guard cursor.epoch == self.ringEpoch, cursor.snapshot.sees(view.feed.since),
            let batches = self.ring.batches(of: view.feed.name, after: cursor.snapshot),
            batches.allSatisfy({ $0.isComplete(for: view.filter.columns) })
        else { return nil }
        return batches
    }

    private func flush() {
        for session in self.dirty.values { session.flush() }
        self.dirty.removeAll(keepingCapacity: true)
    }

    /// Steps kept for a subscription whose snapshot does not come; they are shared with all others that wait.
    private static let maximumBuffered = 4096

    private func deliver(_ batch: Batch, cursor: String) {
        var touched: [Group] = []
        for change in batch.changes {
            self.groups.forEachGroup(of: change, feed: batch.feed.name) { group in
                guard let delta = group.view.delta(for: change) else { return }
                if group.pending.isEmpty { touched.append(group) }
                group.pending.append((change, delta))
            }
        }
        for group in touched {
            if group.isCounts {
                let changes = group.pending.map(\.change)
                let frames = Self.countFrames(&group.counts, changes, group.view, group.key.id.string, cursor)
                for member in group.members { self.send(frames, to: member) }
                self.metrics.deliveries.increment(by: frames.count * group.members.count)
                self.metrics.sentBytes.increment(by: Self.bytes(of: frames) * group.members.count)
            } else if let before = group.coalescer?.merged,
                let steps = group.coalescer?.pass(group.pending, in: group.view, now: self.nanoseconds)
            {
                let merged = (group.coalescer?.merged ?? before) - before
                self.metrics.coalesced.increment(by: merged * group.members.count)
                self.send(steps, to: group, cursor: cursor)
                self.scheduleGauges(of: group)
            } else {
                self.send(group.pending, to: group, cursor: cursor)
            }
            group.pending.removeAll(keepingCapacity: true)
        }
    }

    private func send(_ steps: [Coalescer.Step], to group: Group, cursor: String) {
        let frames = FrameEncoder.changes(id: group.key.id.string, cursor: cursor, deltas: steps, view: group.view)
        for member in group.members { self.send(frames, to: member) }
        self.metrics.count(steps, frames: frames.count, bytes: Self.bytes(of: frames), receivers: group.members.count)
    }

    private static func bytes(of frames: [OutboundFrame]) -> Int {
        frames.reduce(0) { $0 + $1.bytes.readableBytes }
    }

    private var nanoseconds: Int64 { Int64(clamping: self.eventLoop.now.uptimeNanoseconds) }

    /// Sends what `max_rate` holds back, when its time has come.
    private func scheduleGauges(of group: Group) {
        guard let due = group.coalescer?.due, !group.isTimerSet else { return }
        group.isTimerSet = true
        let now = self.nanoseconds
        // A rate may ask for years; the timer looks again after an hour.
        let wait = due > now ? min(due - now, 3_600_000_000_000) : 0
        self.eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(wait)) {
            group.isTimerSet = false
            guard let due = group.coalescer?.due, let position = self.position, !group.members.isEmpty else { return }
            if due > self.nanoseconds { return self.scheduleGauges(of: group) }
            if let steps = group.coalescer?.flush(now: self.nanoseconds) {
                self.send(steps, to: group, cursor: position.text)
            }
            self.flush()
        }
    }

    /// The slow way, for one subscription that does not stand where the others stand.
    private func deliver(_ step: Step, to subscription: Subscription, holding snapshot: Snapshot) {
        let cursor = step.cursor.encoded()
        for batch in step.batches where batch.feed.name == subscription.view.feed.name {
            let deltas = batch.changes(notIn: snapshot, for: subscription.view.viewer).compactMap { change in
                subscription.view.delta(for: change).map { (change: change, delta: $0) }
            }
            let frames =
                subscription.isCounts
                ? Self.countFrames(
                    &subscription.counts,
                    deltas.map(\.change),
                    subscription.view,
                    subscription.id,
                    cursor
                )
                : FrameEncoder.changes(
                    id: subscription.id,
                    cursor: cursor,
                    deltas: Self.coalesced(deltas, for: subscription),
                    view: subscription.view
                )
            self.send(frames, to: subscription)
        }
    }

    /// Many updates of a gauge in one step are one for whoever asked for a maximum rate.
    private static func coalesced(_ steps: [Coalescer.Step], for subscription: Subscription) -> [Coalescer.Step] {
        guard let rate = subscription.request.maxRate else { return steps }
        var coalescer = Coalescer(maximumRate: rate)
        return coalescer.pass(steps, in: subscription.view, now: 0)
    }

    private static func countFrames(
        _ counts: inout StatusCounts,
        _ changes: [Feed.Change],
        _ view: View,
        _ id: String,
        _ cursor: String
    ) -> [OutboundFrame] {
        let statuses = counts.apply(changes, in: view)
        guard !statuses.isEmpty, let at = changes.map(\.at).max() else { return [] }
        return [FrameEncoder.counts(id: id, cursor: cursor, at: at, statuses: statuses, counts: counts)]
    }

    private func send(_ frames: [OutboundFrame], to subscription: Subscription) {
        guard !frames.isEmpty, let session = subscription.session else { return }
        session.deliver(frames)
        self.dirty[ObjectIdentifier(session)] = session
    }
}

@available(*, unavailable)
extension Shard: Sendable {}
