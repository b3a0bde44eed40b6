import Feed

/// One step of the whole node: what every shard applies, in the same order.
struct Step: Sendable {
    /// The history that the snapshots belong to.
    let epoch: UInt64
    let end: Snapshot
    /// ``cursor`` as clients see it.
    let text: String
    /// Microseconds since 1970: every commit that the database had finished then is in.
    let readAt: Int64
    /// Whoever poked the reader and got this number or less did so before the step was read.
    var answers: UInt64 = 0
    /// How many changes were read, those of broken or reset feeds too.
    var found = 0
    var batches: [Batch] = []
    /// Feeds whose views must be read anew, and why.
    var resets: [String: ResetReason] = [:]
    /// All feeds, when they are others than before.
    var catalog: [String: FeedDefinition]? = nil

    init(epoch: UInt64, end: Snapshot, readAt: Int64) {
        self.epoch = epoch
        self.end = end
        self.readAt = readAt
        self.text = Cursor(epoch: epoch, snapshot: end).encoded()
    }

    /// Whether nothing but time has passed.
    var isIdle: Bool { self.batches.isEmpty && self.resets.isEmpty && self.catalog == nil }

    /// Where a subscription stands that has applied this step.
    var cursor: Cursor { Cursor(epoch: self.epoch, snapshot: self.end) }
}

/// Why a `reset` frame is sent, as clients see it.
enum ResetReason: String, Sendable, CaseIterable {
    case truncate
    case epoch
    /// The feed was attached anew or detached.
    case schema
    /// More happened at once than a node holds.
    case overflow
    /// The log does not reach back to where this node stood.
    case retention
}
