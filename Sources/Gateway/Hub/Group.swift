import Feed
import WebSocketTransport

/// Live subscriptions that are told the very same: one evaluation and one encoding serve all of them; only the head of
/// each frame, with the id that each gave itself, differs.
final class Group {
    struct Key: Hashable {
        let feed: String
        let viewer: View.Viewer
        let channel: ByteText
        let filter: ByteText?
        let columns: [String]
        let maxRate: Double?
        let encoding: String
    }

    /// Those with one head: they share the bytes, too.
    final class Namesakes {
        let head: [UInt8]
        fileprivate var place: Int
        fileprivate(set) var members: [Subscription] = []

        fileprivate init(head: [UInt8], place: Int) {
            self.head = head
            self.place = place
        }
    }

    let key: Key
    let view: View
    private let sharedView: Shared<View>
    let shape: Shape
    let isCounts: Bool
    private(set) var namesakes: [Namesakes] = []
    /// Members whose sockets are behind; each is told by itself, as much as it can take.
    private(set) var laggards: [Subscription] = []
    private var byHead: [[UInt8]: Namesakes] = [:]
    private(set) var memberCount = 0
    /// Only for `FEED#counts`: as of the shard's position.
    var counts: StatusCounts
    /// Only with `max_rate`.
    var coalescer: Coalescer?
    var isTimerSet = false
    /// What the batch at hand means for this view, by the place of the change in it; empty between batches.
    var pending: [(place: Int, delta: View.Delta)] = []

    init(key: Key, shape: Shape, for subscription: Subscription) {
        self.key = key
        self.shape = shape
        self.sharedView = Shared(subscription.view)
        self.view = subscription.view
        self.isCounts = subscription.isCounts
        self.counts = subscription.counts
        self.coalescer = key.maxRate.map(Coalescer.init(maximumRate:))
    }

    var isEmpty: Bool { self.memberCount == 0 }

    func add(_ subscription: Subscription) {
        self.enlist(subscription)
        self.memberCount += 1
    }

    func remove(_ subscription: Subscription) {
        guard subscription.lag != nil || subscription.membership != nil else { return }
        if subscription.lag != nil {
            subscription.lag = nil
            self.laggards.removeAll { $0 === subscription }
        } else {
            self.discharge(subscription)
        }
        self.memberCount -= 1
    }

    /// - Parameter now: nanoseconds, as for ``Coalescer``.
    func fellBehind(_ subscription: Subscription, now: Int64) {
        guard subscription.lag == nil, subscription.membership != nil else { return }
        self.discharge(subscription)
        // Never due: it is flushed when the socket has caught up.
        var lag = Coalescer(maximumRate: 1e-9)
        _ = lag.flush(now: now)
        subscription.lag = lag
        self.laggards.append(subscription)
    }

    /// What was held back has been taken out of ``Subscription/lag``.
    func caughtUp(_ subscription: Subscription) {
        guard subscription.lag != nil else { return }
        subscription.lag = nil
        self.laggards.removeAll { $0 === subscription }
        self.enlist(subscription)
    }

    private func enlist(_ subscription: Subscription) {
        let head = subscription.head
        let namesakes: Namesakes
        if let known = self.byHead[head] {
            namesakes = known
        } else {
            namesakes = Namesakes(head: head, place: self.namesakes.count)
            self.byHead[head] = namesakes
            self.namesakes.append(namesakes)
        }
        subscription.membership = (namesakes, namesakes.members.count)
        namesakes.members.append(subscription)
        subscription.share(self.sharedView)
    }

    private func discharge(_ subscription: Subscription) {
        guard let (namesakes, place) = subscription.membership else { return }
        subscription.membership = nil
        if let last = namesakes.members.popLast(), last !== subscription {
            namesakes.members[place] = last
            last.membership = (namesakes, place)
        }
        guard namesakes.members.isEmpty else { return }
        self.byHead[namesakes.head] = nil
        if let last = self.namesakes.popLast(), last !== namesakes {
            self.namesakes[namesakes.place] = last
            last.place = namesakes.place
        }
    }

    func forgetPending() {
        self.pending.removeAll(keepingCapacity: self.pending.count < 256)
    }
}

@available(*, unavailable)
extension Group: Sendable {}

@available(*, unavailable)
extension Group.Namesakes: Sendable {}
