import Feed
import JobFeedProtocol
import WebSocketTransport

/// One open subscription of one session; lives on the session's event loop.
final class Subscription {
    enum State {
        /// Its snapshot is being read; steps from this number on are kept for it.
        case loading(from: UInt64)
        /// It holds a snapshot that the node's own position has not reached yet.
        case ahead(Snapshot)
        /// It stands where its shard stands, as a member of a group.
        case live(Group)
        case closed
    }

    let request: Subscribe
    let channel: Channel
    let encoding: any RowEncoding
    /// Shared with its group, once it has one.
    private var sharedView: Shared<View>
    /// `nil` after its end.
    var session: Session?
    var state: State = .closed
    /// Where it stands in its group; `nil` unless it is live.
    var membership: (namesakes: Group.Namesakes, place: Int)? = nil
    /// The number of the first step that it gets as a member of its group.
    var joined = UInt64.max
    /// What is held back while its socket is behind; `nil` while it keeps up.
    var lag: Coalescer? = nil
    /// Only for `FEED#counts`, and only while not in a group.
    var counts = StatusCounts()
    /// `subscribed` was sent.
    var isAnswered = false
    /// Steps are kept for it from here on; `nil` before it was opened.
    var keptFrom: Snapshot? = nil
    /// Raised by each reset: an answer to an older question is thrown away.
    private(set) var generation = 0

    var id: String { self.request.id }

    var view: View { self.sharedView.value }

    var isCounts: Bool {
        if case .counts = self.channel { return true }
        return false
    }

    /// What frames of changes begin with.
    var head: [UInt8] { self.encoding.head(of: self.request) }

    init(request: Subscribe, channel: Channel, view: View, encoding: any RowEncoding, session: Session) {
        self.request = request
        self.encoding = encoding
        self.channel = channel
        self.sharedView = Shared(view)
        self.session = session
    }

    /// Is to be loaded again, with the view as the feed defines it now.
    func restart(with view: View) {
        self.sharedView = Shared(view)
        self.generation += 1
    }

    func share(_ view: Shared<View>) {
        self.sharedView = view
    }
}

@available(*, unavailable)
extension Subscription: Sendable {}
