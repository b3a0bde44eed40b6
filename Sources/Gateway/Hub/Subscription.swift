import Feed
import JobFeedProtocol

/// One open subscription of one session; lives on the session's event loop.
final class Subscription {
    enum State {
        /// Its snapshot is being read; what happens meanwhile waits here.
        case loading(buffered: [Step])
        /// It holds a snapshot that the node's own position has not reached yet.
        case ahead(Snapshot)
        /// It stands where its shard stands, as a member of a group.
        case live(Group)
        case closed
    }

    let request: Subscribe
    let channel: Channel
    private(set) var view: View
    weak var session: Session?
    var state: State = .loading(buffered: [])
    /// Only for `FEED#counts`, and only while not in a group.
    var counts = StatusCounts()
    /// `subscribed` was sent.
    var isAnswered = false
    /// Steps are kept for it from here on; `nil` before it was opened.
    var keptFrom: Snapshot? = nil
    /// Raised by each reset: an answer to an older question is thrown away.
    private(set) var generation = 0

    var id: String { self.request.id }

    var isCounts: Bool {
        if case .counts = self.channel { return true }
        return false
    }

    init(request: Subscribe, channel: Channel, view: View, session: Session) {
        self.request = request
        self.channel = channel
        self.view = view
        self.session = session
    }

    /// Goes back to loading, with the view as the feed defines it now.
    func restart(with view: View) {
        self.view = view
        self.generation += 1
        self.state = .loading(buffered: [])
    }
}

@available(*, unavailable)
extension Subscription: Sendable {}

/// Live subscriptions that get the very same bytes: one evaluation and one encoding serve all of them.
final class Group {
    struct Key: Hashable {
        let feed: String
        let viewer: View.Viewer
        let channel: ByteText
        let filter: ByteText?
        let columns: [String]
        let maxRate: Double?
        let id: ByteText
    }

    let key: Key
    let view: View
    let isCounts: Bool
    private(set) var members: [Subscription] = []
    /// Only for `FEED#counts`: as of the shard's position.
    var counts: StatusCounts
    /// Only with `max_rate`.
    var coalescer: Coalescer?
    var isTimerSet = false
    /// What the batch at hand means for this view; empty between batches.
    var pending: [(change: Feed.Change, delta: View.Delta)] = []

    init(key: Key, for subscription: Subscription) {
        self.key = key
        self.view = subscription.view
        self.isCounts = subscription.isCounts
        self.counts = subscription.counts
        self.coalescer = key.maxRate.map(Coalescer.init(maximumRate:))
    }

    func add(_ subscription: Subscription) {
        self.members.append(subscription)
    }

    func remove(_ subscription: Subscription) {
        guard let index = self.members.firstIndex(where: { $0 === subscription }) else { return }
        self.members.swapAt(index, self.members.count - 1)
        self.members.removeLast()
    }
}

@available(*, unavailable)
extension Group: Sendable {}
