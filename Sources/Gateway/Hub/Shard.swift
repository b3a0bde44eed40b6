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
    /// Those that are not where this shard is, and the steps that they wait for.
    private var unsettled: [ObjectIdentifier: Subscription] = [:]
    private var kept = KeptSteps()
    private var sessions: [ObjectIdentifier: Session] = [:]
    /// What is still to be handed to sessions; only for this the shard may be behind ``position``.
    private let fanOut = FanOut()
    private var isFanOutScheduled = false
    /// Steps applied so far.
    private var number: UInt64 = 0
    /// Sessions that something was written to since the last flush.
    private var dirty: [Session] = []
    /// Groups that the batch at hand concerns.
    private var touched: [Group] = []
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
    }

    var openSessions: [Session] { Array(self.sessions.values) }

    /// Lets every session look at its clocks.
    func tick(now: NIODeadline, wallClockSeconds: Double) {
        for session in self.sessions.values { session.tick(now: now, wallClockSeconds: wallClockSeconds) }
    }

    // MARK: Subscriptions

    /// From here on steps are kept for it.
    func open(_ subscription: Subscription) {
        self.unsettled[ObjectIdentifier(subscription)] = subscription
        subscription.state = .loading(from: self.kept.next)
        subscription.keptFrom = self.position?.cursor.snapshot
    }

    func close(_ subscription: Subscription) {
        if case .live(let group) = subscription.state {
            group.remove(subscription)
            self.groups.removeIfEmpty(group)
        }
        self.unsettled[ObjectIdentifier(subscription)] = nil
        subscription.joined = .max
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
        guard case .loading(let first) = subscription.state else { return }
        subscription.state = .ahead(snapshot)
        for step in self.kept.since(first) { self.deliver(step, to: subscription, holding: snapshot) }
        if let position = self.position { self.join(subscription, snapshot, at: position.cursor.snapshot) }
        subscription.session?.flush()
    }

    private func join(_ subscription: Subscription, _ snapshot: Snapshot, at position: Snapshot) {
        guard position.includes(snapshot) else { return }
        self.unsettled[ObjectIdentifier(subscription)] = nil
        let group = self.groups.group(for: subscription)
        group.add(subscription)
        subscription.joined = self.number + 1
        subscription.state = .live(group)
    }

    // MARK: Steps

    /// - Parameter sent: called when the step's frames have been handed to all sessions.
    func apply(_ step: Step, sent: @escaping () -> Void) {
        if let catalog = step.catalog { self.catalog = catalog }
        self.number += 1
        for batch in step.batches { self.deliver(batch, cursor: step.text) }
        self.position = (step.cursor, step.text, step.readAt)
        self.remember(step)
        if !self.unsettled.isEmpty { self.keep(step) }
        if !step.resets.isEmpty {
            for session in self.openSessions { session.reset(step.resets) }
        }
        self.announceRead(step)
        self.fanOut.mark(sent)
        if !self.isFanOutScheduled { self.sendSlice() }
    }

    /// For subscriptions that are not where all others are.
    private func keep(_ step: Step) {
        if !step.batches.isEmpty { self.kept.append(step) }
        let isTrimmed = self.kept.isDue
        var oldest = self.kept.next
        for subscription in Array(self.unsettled.values) {
            switch subscription.state {
            case .loading(let first):
                guard isTrimmed else { continue }
                if self.kept.next - first <= Self.maximumKept {
                    oldest = min(oldest, first)
                } else {
                    // The database is slow, not the client: it asks again, from where the database is then.
                    subscription.session?.reload(subscription)
                }
            case .ahead(let snapshot):
                self.deliver(step, to: subscription, holding: snapshot)
                self.join(subscription, snapshot, at: step.end)
            case .live, .closed: break
            }
        }
        if isTrimmed { self.kept.drop(before: oldest) }
    }

    /// Steps kept for a subscription whose snapshot does not come.
    private static let maximumKept: UInt64 = 4096

    // MARK: Sending

    /// Whether all sessions have been handed what happened up to ``position``.
    var isCaughtUp: Bool { self.fanOut.isEmpty }

    /// Receivers that are served before other work of the loop has its turn.
    private static let slice = 512

    private func sendSlice() {
        self.fanOut.send(to: Self.slice) { self.send($0, to: $1) }
        self.flush()
        guard !self.fanOut.isEmpty else { return }
        self.isFanOutScheduled = true
        self.eventLoop.assumeIsolated().execute {
            self.isFanOutScheduled = false
            self.sendSlice()
        }
    }

    private func flush() {
        for session in self.dirty {
            session.isDirty = false
            session.flush()
        }
        self.dirty.removeAll(keepingCapacity: true)
    }

    private func send(_ frames: [OutboundFrame], to subscription: Subscription) {
        guard !frames.isEmpty, let session = subscription.session else { return }
        session.deliver(frames)
        if !session.isDirty {
            session.isDirty = true
            self.dirty.append(session)
        }
        if session.isBehind, case .live(let group) = subscription.state, !group.isCounts {
            group.fellBehind(subscription, now: self.nanoseconds)
            session.isLagging = true
        }
    }

    /// Queues frames for the members of a group, all of whom are told the same.
    private func send(_ changes: FrameEncoder.Changes, to group: Group) -> (frames: Int, bytes: Int) {
        var sum = (frames: 0, bytes: 0)
        guard !changes.isEmpty else { return sum }
        for namesakes in group.namesakes {
            let frames = changes.frames(id: namesakes.id)
            self.fanOut.append(frames, to: namesakes.members, number: self.number)
            sum.frames += frames.count * namesakes.members.count
            sum.bytes += frames.reduce(0) { $0 + $1.bytes.readableBytes } * namesakes.members.count
        }
        return sum
    }

    private func deliver(_ batch: Batch, cursor: String) {
        guard !batch.changes.isEmpty, let groups = self.groups[batch.feed.name] else { return }
        for place in batch.changes.indices {
            let change = batch.changes[place]
            groups.forEach(of: change) { group in
                guard let delta = group.view.delta(for: change) else { return }
                if group.pending.isEmpty { self.touched.append(group) }
                group.pending.append((place, delta))
            }
        }
        var elements = Elements(batch.changes)
        for group in self.touched {
            let steps: [Coalescer.Step]
            if group.isCounts || group.coalescer != nil {
                steps = group.pending.map { (batch.changes[$0.place], $0.delta) }
            } else {
                steps = []
            }
            if group.isCounts {
                let counts = Self.counts(&group.counts, steps.map(\.change), group.view, cursor)
                if let sum = counts.map({ self.send($0, to: group) }) {
                    self.metrics.deliveries.increment(by: sum.frames)
                    self.metrics.sentBytes.increment(by: sum.bytes)
                }
            } else if let before = group.coalescer?.merged,
                let passed = group.coalescer?.pass(steps, in: group.view, now: self.nanoseconds)
            {
                let merged = (group.coalescer?.merged ?? before) - before
                self.metrics.coalesced.increment(by: merged * group.memberCount)
                self.send(passed, to: group, cursor: cursor)
                self.scheduleGauges(of: group)
            } else {
                let parts = group.pending.map { place, delta in
                    (batch.changes[place].at, elements.element(place, delta, group.shape))
                }
                let sum = self.send(FrameEncoder.Changes(cursor: cursor, parts), to: group)
                self.metrics.count(
                    group.pending.lazy.map(\.delta),
                    at: group.pending.last.map { batch.changes[$0.place].at },
                    sent: sum,
                    receivers: group.memberCount - group.laggards.count
                )
                if !group.laggards.isEmpty {
                    self.tellLaggards(of: group, group.pending.map { (batch.changes[$0.place], $0.delta) }, cursor)
                }
            }
            group.forgetPending()
        }
        self.touched.removeAll(keepingCapacity: true)
    }

    private func send(_ steps: [Coalescer.Step], to group: Group, cursor: String) {
        guard !steps.isEmpty else { return }
        let sum = self.send(FrameEncoder.changes(cursor: cursor, steps, group.shape), to: group)
        self.metrics.count(
            steps.lazy.map(\.delta),
            at: steps.last?.change.at,
            sent: sum,
            receivers: group.memberCount - group.laggards.count
        )
        self.tellLaggards(of: group, steps, cursor)
    }

    // MARK: Sockets that are behind

    /// Rows whose gauges are held back for one subscription.
    private static let maximumHeld = 10_000

    /// Gauges wait, merged, until the socket has taken what it was sent; events go out behind them.
    private func tellLaggards(of group: Group, _ steps: [Coalescer.Step], _ cursor: String) {
        for laggard in group.laggards {
            let before = laggard.lag?.merged ?? 0
            guard let passed = laggard.lag?.pass(steps, in: group.view, now: self.nanoseconds) else { continue }
            self.metrics.coalesced.increment(by: (laggard.lag?.merged ?? before) - before)
            self.tell(passed, laggard, cursor, group.shape)
            if laggard.lag?.count ?? 0 > Self.maximumHeld { laggard.session?.tooSlow() }
        }
    }

    private func tell(_ steps: [Coalescer.Step], _ laggard: Subscription, _ cursor: String, _ shape: Shape) {
        guard !steps.isEmpty else { return }
        let frames = FrameEncoder.changes(cursor: cursor, steps, shape).frames(id: MessageWriter.quoted(laggard.id))
        self.fanOut.append(frames, to: [laggard], number: self.number)
        self.metrics.count(
            steps.lazy.map(\.delta),
            at: steps.last?.change.at,
            sent: (frames.count, frames.reduce(0) { $0 + $1.bytes.readableBytes }),
            receivers: 1
        )
    }

    /// The session's socket has taken all that it was sent: its subscriptions are told what was held back, and are among
    /// the others again.
    func caughtUp(_ session: Session) {
        // Not now: this may be in the middle of a flush.
        self.eventLoop.assumeIsolated().execute {
            guard session.isLagging, !session.isBehind, let position = self.position else { return }
            session.isLagging = false
            for subscription in session.subscriptions.values {
                guard case .live(let group) = subscription.state, subscription.lag != nil else { continue }
                let held = subscription.lag?.flush(now: self.nanoseconds) ?? []
                self.tell(held, subscription, position.text, group.shape)
                group.caughtUp(subscription)
            }
            if !self.isFanOutScheduled { self.sendSlice() }
        }
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
            guard let due = group.coalescer?.due, let position = self.position, !group.isEmpty else { return }
            if due > self.nanoseconds { return self.scheduleGauges(of: group) }
            if let steps = group.coalescer?.flush(now: self.nanoseconds) {
                self.send(steps, to: group, cursor: position.text)
            }
            if !self.isFanOutScheduled { self.sendSlice() }
        }
    }

    /// The slow way, for one subscription that does not stand where the others stand.
    private func deliver(_ step: Step, to subscription: Subscription, holding snapshot: Snapshot) {
        // Snapshots are ordered: what it holds may be all that the step led to.
        guard !snapshot.includes(step.end) else { return }
        let view = subscription.view
        for batch in step.batches where batch.feed.name == view.feed.name {
            let deltas = batch.changes(notIn: snapshot, for: view.viewer).compactMap { change in
                view.delta(for: change).map { (change: change, delta: $0) }
            }
            let frames =
                subscription.isCounts
                ? Self.counts(&subscription.counts, deltas.map(\.change), view, step.text)?
                    .frames(id: MessageWriter.quoted(subscription.id)) ?? []
                : FrameEncoder.changes(
                    id: subscription.id,
                    cursor: step.text,
                    deltas: Self.coalesced(deltas, for: subscription),
                    view: view
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

    private static func counts(
        _ counts: inout StatusCounts,
        _ changes: [Feed.Change],
        _ view: View,
        _ cursor: String
    ) -> FrameEncoder.Changes? {
        let statuses = counts.apply(changes, in: view)
        guard !statuses.isEmpty, let at = changes.map(\.at).max() else { return nil }
        return FrameEncoder.counts(cursor: cursor, at: at, statuses: statuses, counts: counts)
    }
}

@available(*, unavailable)
extension Shard: Sendable {}
