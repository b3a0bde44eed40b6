import DequeModule
import Feed
import JobFeedProtocol
import Synchronization

/// The snapshots that one session waits for: one at a time, so that a session holds one in memory and takes one place
/// in the pool.
struct LoadQueue {
    /// Tells the pool's thread that nobody waits any more.
    final class Ticket: Sendable {
        private let flag = Atomic(false)
        var isAbandoned: Bool { self.flag.load(ordering: .relaxed) }
        func abandon() { self.flag.store(true, ordering: .relaxed) }
    }

    struct Load {
        let ticket = Ticket()
        let subscription: Subscription
        let resume: String?
        let isReset: Bool
        /// How often its connection was lost.
        let losses: Int
        let trace: LoadTrace
        private let generation: Int

        init(subscription: Subscription, resume: String?, isReset: Bool, losses: Int = 0) {
            self.subscription = subscription
            self.resume = resume
            self.isReset = isReset
            self.losses = losses
            self.trace = LoadTrace(
                feed: subscription.view.feed.name,
                channel: subscription.request.channel,
                cause: isReset ? "reset" : resume == nil ? "subscribe" : "resume"
            )
            self.generation = subscription.generation
        }

        /// Whether it takes more than to know where the node stands.
        var needsDatabase: Bool {
            self.resume != nil || self.subscription.isCounts || self.request.wantsSnapshot
        }

        /// Whether the subscription still waits for this answer.
        var isCurrent: Bool {
            guard case .loading = self.subscription.state else { return false }
            return self.subscription.generation == self.generation
        }

        var request: SnapshotLoader.Request {
            SnapshotLoader.Request(
                view: self.subscription.view,
                subscribe: self.subscription.request,
                encoding: self.subscription.encoding,
                isCounts: self.subscription.isCounts,
                wantsSnapshot: self.subscription.request.snapshot || self.isReset
            )
        }
    }

    private var waiting: Deque<Load> = []
    private var current: Load? = nil

    mutating func append(_ load: Load) {
        // A subscription asks for one thing at a time; what it asked for before is of no use.
        self.remove(load.subscription)
        self.waiting.append(load)
    }

    mutating func remove(_ subscription: Subscription) {
        self.waiting.removeAll { $0.subscription === subscription }
        if let current, current.subscription === subscription { current.ticket.abandon() }
    }

    mutating func startNext() -> Load? {
        guard self.current == nil else { return nil }
        while let load = self.waiting.popFirst() {
            guard load.isCurrent else { continue }
            self.current = load
            break
        }
        // An empty queue keeps no storage.
        if self.waiting.isEmpty { self.waiting = [] }
        return self.current
    }

    mutating func finished() {
        self.current = nil
    }
}
