/// Which keys of a fetched set hold, and when to fetch it again; pure, with the time passed in.
struct KeyCache: Sendable {
    typealias Instant = ContinuousClock.Instant

    enum Answer: Sendable {
        case keys([KeySet.Key])
        /// The caller fetches the set, tells what came of it, and asks again.
        case fetch
        /// Somebody fetches it already.
        case wait
        /// The issuer has no such key.
        case unknown
        /// Nobody can tell at present.
        case unavailable(for: Duration)
    }

    /// How long a set is fresh, whatever its server says; and when it says nothing.
    static let shortestAge = Duration.seconds(60)
    static let longestAge = Duration.seconds(86_400)
    static let defaultAge = Duration.seconds(600)
    /// How long a set is used that should have been replaced and could not be.
    static let grace = Duration.seconds(86_400)
    /// Between two fetches: tokens that name invented keys cannot make it more.
    static let spacing = Duration.seconds(5)
    static let firstDelay = Duration.seconds(1)
    static let longestDelay = Duration.seconds(60)
    static let maximumDropped = 256

    private(set) var set: KeySet? = nil
    private(set) var fetchedAt: Instant? = nil
    private(set) var lastError: String? = nil
    /// Names of keys that the issuer had.
    private var dropped: Set<String> = []
    private var isFetching = false
    private var failures = 0
    /// When the set is to be fetched anew, and until when it is used if it cannot be.
    private var freshUntil: Instant
    private var usableUntil: Instant
    /// No fetch before.
    private var earliest: Instant

    init(now: Instant) {
        self.freshUntil = now
        self.usableUntil = now
        self.earliest = now
    }

    func usable(now: Instant) -> KeySet? { now < self.usableUntil ? self.set : nil }

    /// A token wants to be verified.
    mutating func wanted(_ algorithm: String, named name: String?, now: Instant) -> Answer {
        let answer = self.known(algorithm, named: name, afterFetch: false, now: now)
        switch answer {
        case .keys, .unknown: return answer
        case .fetch, .wait, .unavailable: break
        }
        if self.isFetching { return .wait }
        guard now >= self.earliest else { return answer }
        self.isFetching = true
        return .fetch
    }

    /// What can be said without another fetch.
    ///
    /// Clients give up when they are told that a key is unknown. It may be one that was published since the last fetch,
    /// unless the set was fetched for this token, or has or had a key of that name.
    func known(_ algorithm: String, named name: String?, afterFetch: Bool, now: Instant) -> Answer {
        let usable = self.usable(now: now)
        if let keys = usable?.keys(for: algorithm, named: name), !keys.isEmpty { return .keys(keys) }
        if let usable, self.lastError == nil {
            if afterFetch { return .unknown }
            if let name, self.dropped.contains(name) || usable.has(name) { return .unknown }
        }
        return .unavailable(for: max(self.earliest - now, Self.firstDelay))
    }

    /// Answers true when it is time for the caller to fetch the set.
    mutating func isDue(now: Instant) -> Bool {
        guard !self.isFetching, now >= self.earliest else { return false }
        guard now >= self.freshUntil || self.lastError != nil else { return false }
        self.isFetching = true
        return true
    }

    mutating func fetched(_ set: KeySet, maximumAge: Duration?, now: Instant) {
        let age = min(max(maximumAge ?? Self.defaultAge, Self.shortestAge), Self.longestAge)
        self.isFetching = false
        self.failures = 0
        self.lastError = nil
        self.dropped.formUnion(self.set?.keys.compactMap(\.name) ?? [])
        self.dropped.subtract(set.keys.compactMap(\.name))
        if self.dropped.count > Self.maximumDropped { self.dropped = [] }
        self.set = set
        self.fetchedAt = now
        self.freshUntil = now + age
        self.usableUntil = now + age + Self.grace
        self.earliest = now + Self.spacing
    }

    /// - Parameter random: from 0 to 1, so that nodes do not come back at once.
    mutating func failed(_ reason: String, random: Double, now: Instant) {
        let delay = min(Self.firstDelay * (1 << min(self.failures, 16)), Self.longestDelay)
        self.isFetching = false
        self.failures += 1
        self.lastError = reason
        self.earliest = now + delay * (0.5 + random / 2)
    }
}
