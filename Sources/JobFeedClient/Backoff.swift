/// Exponential delays with full jitter, so that clients which lost one server do not return together.
struct Backoff: Sendable {
    static let base = Duration.milliseconds(500)
    static let cap = Duration.seconds(20)

    /// How many delays were handed out since the last reset.
    private(set) var failures = 0

    /// - Parameter random: evenly distributed in 0…1.
    mutating func next(random: Double) -> Duration {
        // Beyond the sixth doubling the cap rules; the shift must not overflow.
        let ceiling = min(Self.cap, Self.base * (1 << min(self.failures, 6)))
        self.failures += 1
        return ceiling * min(max(random, 0), 1)
    }

    mutating func reset() {
        self.failures = 0
    }
}
