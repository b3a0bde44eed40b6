import DequeModule
import JobFeedProtocol

/// The snapshots that one session waits for: one at a time, so that a session holds one in memory and takes one place
/// in the pool.
struct LoadQueue {
    struct Load {
        let subscription: Subscription
        let resume: String?
        let isReset: Bool
        private let generation: Int

        init(subscription: Subscription, resume: String?, isReset: Bool) {
            self.subscription = subscription
            self.resume = resume
            self.isReset = isReset
            self.generation = subscription.generation
        }

        /// Whether the subscription still waits for this answer.
        var isCurrent: Bool {
            guard case .loading = self.subscription.state else { return false }
            return self.subscription.generation == self.generation
        }

        var request: SnapshotLoader.Request {
            SnapshotLoader.Request(
                view: self.subscription.view,
                id: self.subscription.id,
                isCounts: self.subscription.isCounts,
                limit: self.subscription.request.limit,
                wantsSnapshot: self.subscription.request.snapshot || self.isReset,
                resume: self.resume,
                isReset: self.isReset
            )
        }
    }

    private var waiting: Deque<Load> = []
    private var isLoading = false

    mutating func append(_ load: Load) {
        self.waiting.append(load)
    }

    mutating func startNext() -> Load? {
        guard !self.isLoading else { return nil }
        while let load = self.waiting.popFirst() {
            guard load.isCurrent else { continue }
            self.isLoading = true
            return load
        }
        return nil
    }

    mutating func finished() {
        self.isLoading = false
    }
}
