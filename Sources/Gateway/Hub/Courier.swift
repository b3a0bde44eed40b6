import Feed
import JobFeedProtocol
import NIOCore
import WebSocketTransport

/// Brings what happened to the sessions of one loop: to those who keep up at once, to those who do not as much as they
/// can take.
final class Courier {
    /// What a shard stands at, as clients see it; `nil` before the database was reached.
    var cursor: String? = nil
    /// Steps delivered so far, the one at hand included.
    var number: UInt64 = 0

    /// What is still to be handed to sessions.
    private let fanOut = FanOut()
    private var isFanOutScheduled = false
    /// Sessions that something was written to since the last flush.
    private var dirty: [Session] = []
    /// Groups that the batch at hand concerns.
    private var touched: [Group] = []
    private let eventLoop: any EventLoop
    private let metrics: GatewayMetrics

    init(eventLoop: any EventLoop, metrics: GatewayMetrics) {
        self.eventLoop = eventLoop
        self.metrics = metrics
    }

    private var nanoseconds: Int64 { Int64(clamping: self.eventLoop.now.uptimeNanoseconds) }

    // MARK: Fan-out

    /// Whether all has been handed over.
    var isIdle: Bool { self.fanOut.isEmpty }

    /// Receivers that are served before other work of the loop has its turn.
    private static let slice = 512

    /// - Parameter sent: called when all that was delivered so far has been handed to the sessions.
    func start(then sent: @escaping () -> Void) {
        self.fanOut.mark(sent)
        self.start()
    }

    /// The first slice goes out now, unless it has to wait behind others.
    private func start() {
        if !self.isFanOutScheduled { self.sendSlice() }
    }

    private func sendSlice() {
        let now = self.eventLoop.now
        self.fanOut.send(to: Self.slice) { frames, subscription, isAlone in
            if isAlone, let session = subscription.session, session.deliverNow(frames[0], now: now) { return }
            self.send(frames, to: subscription)
        }
        for session in self.dirty {
            session.isDirty = false
            session.flush()
        }
        self.dirty.removeAll(keepingCapacity: true)
        guard !self.fanOut.isEmpty else { return }
        self.isFanOutScheduled = true
        self.eventLoop.assumeIsolated().execute {
            self.isFanOutScheduled = false
            self.sendSlice()
        }
    }

    /// Writes at once; flushed with the next slice.
    func send(_ frames: [OutboundFrame], to subscription: Subscription) {
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

    // MARK: Groups

    func deliver(_ batch: Batch, to groups: FeedGroups, cursor: String) {
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
            self.deliverPending(of: group, batch, &elements, cursor)
            group.forgetPending()
        }
        self.touched.removeAll(keepingCapacity: true)
    }

    private func deliverPending(of group: Group, _ batch: Batch, _ elements: inout Elements, _ cursor: String) {
        func steps() -> [Coalescer.Step] { group.pending.map { (batch.changes[$0.place], $0.delta) } }
        if group.isCounts {
            guard let counts = group.counts.changes(steps().map(\.change), group.view, cursor, group.shape.encoding)
            else { return }
            let sum = self.send(counts, to: group)
            self.metrics.deliveries.increment(by: sum.frames)
            self.metrics.sentBytes.increment(by: sum.bytes)
        } else if let passed = self.pass(steps(), &group.coalescer, group.view, receivers: group.memberCount) {
            self.tell(passed, group, cursor)
            self.scheduleGauges(of: group)
        } else {
            let parts = group.pending.compactMap { place, delta in
                elements.element(place, delta, group.shape).map { (at: batch.changes[place].at, json: $0) }
            }
            let sum = self.send(Changes(cursor: cursor, parts, group.shape.encoding), to: group)
            self.metrics.count(
                group.pending.lazy.map(\.delta),
                at: group.pending.last.map { batch.changes[$0.place].at },
                sent: sum,
                receivers: group.memberCount - group.laggards.count
            )
            if !group.laggards.isEmpty { self.tellLaggards(of: group, steps(), cursor) }
        }
    }

    /// Queues frames for the members of a group, all of whom are told the same.
    private func send(_ changes: Changes, to group: Group) -> (frames: Int, bytes: Int) {
        var sum = (frames: 0, bytes: 0)
        guard !changes.isEmpty else { return sum }
        for namesakes in group.namesakes {
            let frames = changes.frames(head: namesakes.head)
            self.fanOut.append(frames, to: namesakes.members, number: self.number)
            sum.frames += frames.count * namesakes.members.count
            sum.bytes += frames.byteCount * namesakes.members.count
        }
        return sum
    }

    private func tell(_ steps: [Coalescer.Step], _ group: Group, _ cursor: String) {
        guard !steps.isEmpty else { return }
        let sum = self.send(Changes(cursor: cursor, steps, group.shape), to: group)
        self.metrics.count(
            steps.lazy.map(\.delta),
            at: steps.last?.change.at,
            sent: sum,
            receivers: group.memberCount - group.laggards.count
        )
        self.tellLaggards(of: group, steps, cursor)
    }

    // MARK: Gauges that wait

    /// - Returns: what does not wait; `nil` without a coalescer.
    private func pass(
        _ steps: @autoclosure () -> [Coalescer.Step],
        _ coalescer: inout Coalescer?,
        _ view: View,
        receivers: Int
    ) -> [Coalescer.Step]? {
        guard let before = coalescer?.merged, let passed = coalescer?.pass(steps(), in: view, now: self.nanoseconds)
        else { return nil }
        self.metrics.coalesced.increment(by: ((coalescer?.merged ?? before) - before) * receivers)
        return passed
    }

    /// Sends what `max_rate` holds back, when its time has come.
    private func scheduleGauges(of group: Group) {
        guard let due = group.coalescer?.due, !group.isTimerSet else { return }
        group.isTimerSet = true
        let now = self.nanoseconds
        // A rate may ask for years; the timer looks again after an hour.
        let wait = due > now ? min(due - now, 3_600_000_000_000) : 0
        self.eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(wait)) {
            group.isTimerSet = false
            guard let due = group.coalescer?.due, let cursor = self.cursor, !group.isEmpty else { return }
            if due > self.nanoseconds { return self.scheduleGauges(of: group) }
            if let steps = group.coalescer?.flush(now: self.nanoseconds) { self.tell(steps, group, cursor) }
            self.start()
        }
    }

    // MARK: Sockets that are behind

    /// Rows whose gauges are held back for one subscription.
    private static let maximumHeld = 10_000

    /// Gauges wait, merged, until the socket has taken what it was sent; events go out behind them.
    private func tellLaggards(of group: Group, _ steps: [Coalescer.Step], _ cursor: String) {
        for laggard in group.laggards {
            guard let passed = self.pass(steps, &laggard.lag, group.view, receivers: 1) else { continue }
            self.tell(passed, laggard, cursor, group.shape)
            if laggard.lag?.count ?? 0 > Self.maximumHeld { laggard.session?.tooSlow() }
        }
    }

    private func tell(_ steps: [Coalescer.Step], _ laggard: Subscription, _ cursor: String, _ shape: Shape) {
        guard !steps.isEmpty else { return }
        let frames = Changes(cursor: cursor, steps, shape).frames(head: laggard.head)
        self.fanOut.append(frames, to: [laggard], number: self.number)
        self.metrics.count(
            steps.lazy.map(\.delta),
            at: steps.last?.change.at,
            sent: (frames.count, frames.byteCount),
            receivers: 1
        )
    }

    /// The session's socket has taken all that it was sent: its subscriptions are told what was held back, and are among
    /// the others again.
    func caughtUp(_ session: Session) {
        // Not now: this may be in the middle of a flush.
        self.eventLoop.assumeIsolated().execute {
            guard session.isLagging, !session.isBehind, let cursor = self.cursor else { return }
            session.isLagging = false
            for subscription in session.subscriptions.values {
                guard case .live(let group) = subscription.state, subscription.lag != nil else { continue }
                let held = subscription.lag?.flush(now: self.nanoseconds) ?? []
                self.tell(held, subscription, cursor, group.shape)
                group.caughtUp(subscription)
            }
            self.start()
        }
    }
}

@available(*, unavailable)
extension Courier: Sendable {}

extension StatusCounts {
    /// Applies changes of a view; `nil` when no count is another now.
    mutating func changes(
        _ changes: [Feed.Change],
        _ view: View,
        _ cursor: String,
        _ encoding: any RowEncoding
    ) -> Changes? {
        let statuses = self.apply(changes, in: view)
        guard !statuses.isEmpty, let at = changes.map(\.at).max() else { return nil }
        return Changes(cursor: cursor, at: at, statuses, of: self, encoding)
    }
}
