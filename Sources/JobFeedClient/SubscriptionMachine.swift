import JobFeedProtocol

/// One subscription on its way to `live` and back: gathers frames into whole steps, keeps the cursor to resume from.
struct SubscriptionMachine: Sendable {
    typealias Instant = ContinuousClock.Instant

    enum Phase: Sendable, Equatable {
        /// No connection to ask on; → requested.
        case offline
        /// Asked for; → filling, postponed.
        case requested(Instant)
        /// Snapshot or replay under way, last heard of then; → live, postponed.
        case filling(Instant)
        /// Complete; → filling (reset), postponed.
        case live
        /// The server said to try again; → requested.
        case postponed(until: Instant)
    }

    /// What the consumer is to see, with the size of the frames it came in.
    struct Delivery: Sendable, Equatable {
        var event: Event
        var bytes: Int
    }

    private struct Gathered: Sendable {
        var rows: [ServerMessage.Row] = []
        var truncated = false
        var counts: [String: Int]?
    }

    let id: String
    let options: SubscribeOptions
    private(set) var phase = Phase.offline
    /// The end of the last whole step; where the next connection resumes.
    private(set) var cursor: String?
    /// Bytes of frames that wait for the end of their step.
    private(set) var pendingBytes = 0
    private var gathered: Gathered?
    private var changes: [Change] = []
    private var counts: [String: Int] = [:]
    private var backoff = Backoff()

    init(id: String, options: SubscribeOptions) {
        self.id = id
        self.options = options
        self.cursor = options.resume
    }

    /// A gap that cannot be bridged must show, so whoever resumes is also told the rows.
    private var wantsSnapshot: Bool { self.options.snapshot || self.cursor != nil }

    mutating func request(now: Instant) -> Command {
        self.phase = .requested(now)
        return .subscribe(
            Subscribe(
                id: self.id,
                channel: self.options.channel,
                filter: self.options.filter,
                columns: self.options.columns,
                resume: self.cursor,
                snapshot: self.wantsSnapshot,
                limit: self.options.limit,
                maxRate: self.options.maxRate
            )
        )
    }

    mutating func connectionLost() {
        self.phase = .offline
        self.dropStep()
    }

    /// The server refused for now; answers how long to wait.
    mutating func postponed(random: Double, now: Instant) -> Duration {
        let delay = self.backoff.next(random: random)
        self.phase = .postponed(until: now + delay)
        self.dropStep()
        return delay
    }

    // MARK: Frames

    mutating func subscribed(recovered: Bool, now: Instant) {
        self.phase = .filling(now)
        self.dropStep()
        if !recovered, self.wantsSnapshot {
            self.gathered = Gathered()
        }
    }

    mutating func resetReceived(now: Instant) {
        self.phase = .filling(now)
        self.dropStep()
        self.gathered = Gathered()
    }

    mutating func snapshotReceived(_ snapshot: ServerMessage.Snapshot, bytes: Int, now: Instant) {
        self.phase = .filling(now)
        self.pendingBytes += bytes
        var gathered = self.gathered ?? Gathered()
        switch snapshot {
        case .rows(let rows, let truncated):
            gathered.rows += rows
            gathered.truncated = gathered.truncated || truncated
        case .counts(let counts): gathered.counts = (gathered.counts ?? [:]).merging(counts) { $1 }
        }
        self.gathered = gathered
    }

    mutating func liveReceived(cursor: String?) -> [Delivery] {
        self.cursor = cursor ?? self.cursor
        var deliveries = self.takeSnapshot()
        if self.phase != .live {
            deliveries.append(Delivery(event: .live, bytes: 0))
        }
        self.phase = .live
        self.backoff.reset()
        return deliveries
    }

    mutating func changesReceived(_ message: ServerMessage.Changes, bytes: Int, now: Instant) -> [Delivery] {
        if case .filling = self.phase {
            self.phase = .filling(now)
        }
        self.pendingBytes += bytes
        let isCounts: Bool
        switch message.body {
        case .changes(let changes):
            isCounts = false
            self.changes += changes
        case .counts(let counts):
            isCounts = true
            self.counts.merge(counts) { $1 }
        }
        guard let cursor = message.cursor else { return [] }
        var deliveries = self.takeSnapshot()
        self.cursor = cursor
        let event: Event =
            isCounts
            ? .counts(self.counts, cursor: cursor)
            : .changes(Event.Batch(changes: self.changes, cursor: cursor, at: message.at))
        deliveries.append(Delivery(event: event, bytes: self.pendingBytes))
        self.changes = []
        self.pendingBytes = 0
        return deliveries
    }

    /// Answers whether the cursor moved: a step that is still coming in ends beyond it.
    mutating func heartbeatReceived(cursor: String) -> Bool {
        guard self.phase == .live, self.changes.isEmpty, self.cursor != cursor else { return false }
        self.cursor = cursor
        return true
    }

    // MARK: Steps

    private mutating func takeSnapshot() -> [Delivery] {
        guard let gathered = self.gathered else { return [] }
        self.gathered = nil
        defer { self.pendingBytes = 0 }
        if let counts = gathered.counts {
            self.counts = counts
            return [Delivery(event: .counts(counts, cursor: self.cursor), bytes: self.pendingBytes)]
        }
        let snapshot = Event.Snapshot(rows: gathered.rows, truncated: gathered.truncated, cursor: self.cursor)
        return [Delivery(event: .snapshot(snapshot), bytes: self.pendingBytes)]
    }

    private mutating func dropStep() {
        self.gathered = nil
        self.changes = []
        self.pendingBytes = 0
    }
}
