import Feed
import JobFeedProtocol
import NIOCore
import WebSocketTransport

/// Everything one event loop knows of feeds and subscribers. Created off the loop, used only on it.
final class Shard {
    private(set) var catalog: [String: FeedDefinition] = [:]
    /// Where the live subscriptions of this loop stand; `nil` before the database was reached.
    private(set) var position: (cursor: Cursor, text: String, readAt: Int64)? = nil

    private var ring: ReplayRing
    private var reads: (next: UInt64, waiting: [UInt64: (asked: UInt64, body: () -> Void)]) = (0, [:])
    private var groups = GroupIndex()
    /// Those that are not where this shard is, and the steps that they wait for.
    private var unsettled: [ObjectIdentifier: Subscription] = [:]
    private var kept = KeptSteps()
    private var sessions: [ObjectIdentifier: Session] = [:]
    private let courier: Courier
    private let eventLoop: any EventLoop
    private let metrics: GatewayMetrics

    init(eventLoop: any EventLoop, ringBytes: Int, metrics: GatewayMetrics) {
        self.eventLoop = eventLoop
        self.metrics = metrics
        self.ring = ReplayRing(maximumBytes: ringBytes)
        self.courier = Courier(eventLoop: eventLoop, metrics: metrics)
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
        subscription.joined = self.courier.number + 1
        subscription.state = .live(group)
    }

    // MARK: Steps

    /// - Parameter sent: called when the step's frames have been handed to all sessions.
    func apply(_ step: Step, sent: @escaping () -> Void) {
        if let catalog = step.catalog { self.catalog = catalog }
        self.courier.number += 1
        for batch in step.batches {
            guard !batch.changes.isEmpty, let groups = self.groups[batch.feed.name] else { continue }
            self.courier.deliver(batch, to: groups, cursor: step.text)
        }
        self.position = (step.cursor, step.text, step.readAt)
        self.courier.cursor = step.text
        self.ring.append(step)
        self.metrics.ringBytes.set(self.ring.bytes)
        if !self.unsettled.isEmpty { self.keep(step) }
        if !step.resets.isEmpty {
            for session in self.openSessions { session.reset(step.resets) }
        }
        self.announceRead(step)
        self.courier.start(then: sent)
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

    /// Whether all sessions have been handed what happened up to ``position``.
    var isCaughtUp: Bool { self.courier.isIdle }

    func caughtUp(_ session: Session) { self.courier.caughtUp(session) }

    /// What happened to a view since this cursor, up to ``position``; `nil` when memory does not reach back so far.
    func replay(of view: View, since cursor: Cursor) -> [Replay.Step]? { self.ring.replay(of: view, since: cursor) }

    func canReplay(_ view: View, since cursor: Cursor) -> Bool { self.ring.reaches(cursor, for: view) }

    // MARK: Reads

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

    /// The slow way, for one subscription that does not stand where the others stand.
    private func deliver(_ step: Step, to subscription: Subscription, holding snapshot: Snapshot) {
        // Snapshots are ordered: what it holds may be all that the step led to.
        guard !snapshot.includes(step.end) else { return }
        let view = subscription.view
        for batch in step.batches where batch.feed.name == view.feed.name {
            let steps = batch.steps(of: view, notIn: snapshot)
            let changes =
                subscription.isCounts
                ? subscription.counts.changes(steps.map(\.change), view, step.text, subscription.encoding)
                : Changes(
                    cursor: step.text,
                    Self.coalesced(steps, for: subscription),
                    Shape(view, subscription.encoding)
                )
            let frames = changes?.frames(head: subscription.head) ?? []
            self.courier.send(frames, to: subscription)
        }
    }

    /// Many updates of a gauge in one step are one for whoever asked for a maximum rate.
    private static func coalesced(_ steps: [Coalescer.Step], for subscription: Subscription) -> [Coalescer.Step] {
        guard let rate = subscription.request.maxRate else { return steps }
        var coalescer = Coalescer(maximumRate: rate)
        return coalescer.pass(steps, in: subscription.view, now: 0)
    }
}

@available(*, unavailable)
extension Shard: Sendable {}
