/// What a client may ask.
public enum Command: Sendable, Equatable {
    case subscribe(Subscribe)
    case unsubscribe(id: String)
    case authenticate(id: String, token: String)
    case ping(id: String)

    /// The client's name for this command, repeated in every answer.
    public var id: String {
        switch self {
        case .subscribe(let subscribe): subscribe.id
        case .unsubscribe(let id), .authenticate(let id, _), .ping(let id): id
        }
    }
}

/// A request to hold a view: which rows, which columns, from where on.
public struct Subscribe: Sendable, Equatable {
    public static let defaultLimit = 1000
    public static let limits = 1...10000
    public static let idLengths = 1...64

    public var id: String
    /// `FEED`, `FEED:STATUS[,STATUS…]`, `FEED/KEY` or `FEED#counts`; see ``Channel``.
    public var channel: String
    /// PostgREST grammar, for example `path=eq./spookify&retries=gt.2`.
    public var filter: String?
    /// Only these columns; the key and the status always come along.
    public var columns: [String]?
    /// The cursor to continue from.
    public var resume: String?
    /// Whether the current rows are sent first.
    public var snapshot: Bool
    /// The newest so many rows in the snapshot.
    public var limit: Int
    /// Gauges change at most so many times a second per job.
    public var maxRate: Double?

    public init(
        id: String,
        channel: String,
        filter: String? = nil,
        columns: [String]? = nil,
        resume: String? = nil,
        snapshot: Bool = true,
        limit: Int = Self.defaultLimit,
        maxRate: Double? = nil
    ) {
        self.id = id
        self.channel = channel
        self.filter = filter
        self.columns = columns
        self.resume = resume
        self.snapshot = snapshot
        self.limit = limit
        self.maxRate = maxRate
    }
}
