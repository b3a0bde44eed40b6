/// Which rows to follow, and from where on.
///
/// ```swift
/// SubscribeOptions(channel: "jobs:pending,processing", filter: "path=eq./spookify", columns: ["progress"])
/// ```
public struct SubscribeOptions: Sendable, Equatable {
    /// `FEED`, `FEED:STATUS[,STATUS…]`, `FEED/KEY` or `FEED#counts`.
    public var channel: String
    /// PostgREST grammar: `col=op.value` joined by `&`.
    public var filter: String?
    /// Only these columns; the key and the status always come along.
    public var columns: [String]?
    /// The cursor of an earlier subscription to the same view; changes since then are delivered first.
    public var resume: String?
    /// Whether the current rows are delivered first. After a gap that cannot be bridged they are in any case.
    public var snapshot: Bool
    /// The newest so many rows in the snapshot, 1 to 10,000.
    public var limit: Int
    /// Gauges such as progress change at most so many times a second per job.
    public var maxRate: Double?

    public init(
        channel: String,
        filter: String? = nil,
        columns: [String]? = nil,
        resume: String? = nil,
        snapshot: Bool = true,
        limit: Int = 1000,
        maxRate: Double? = nil
    ) {
        self.channel = channel
        self.filter = filter
        self.columns = columns
        self.resume = resume
        self.snapshot = snapshot
        self.limit = limit
        self.maxRate = maxRate
    }
}
