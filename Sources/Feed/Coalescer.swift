/// Holds back gauge updates of a subscription with a maximum rate, so that each row's gauges change at most so often.
///
/// Gauges are latest-wins: a held update takes in the next one of its row. Everything else is an event and goes out at
/// once, behind all that is held: a bar never ends at 93 %, and what was sent is always complete up to a cursor.
package struct Coalescer: Sendable {
    package typealias Step = (change: Change, delta: View.Delta)

    /// Between two times that gauges are sent, in nanoseconds.
    private let interval: Int64
    private var held: [(key: ByteText, step: Step)] = []
    private var places: [ByteText: Int] = [:]
    private var lastSent: Int64? = nil
    /// Updates that went into a later one.
    package private(set) var merged = 0

    /// - Parameter maximumRate: times per second; more than zero.
    package init(maximumRate: Double) {
        self.interval = Int64(min(1e18, max(1, 1e9 / maximumRate)))
    }

    /// When ``flush(now:)`` is to be called; `nil` while nothing is held.
    package var due: Int64? {
        guard !self.held.isEmpty else { return nil }
        guard let lastSent = self.lastSent else { return .min }
        let (due, isOverflow) = lastSent.addingReportingOverflow(self.interval)
        return isOverflow ? .max : due
    }

    package var isEmpty: Bool { self.held.isEmpty }
    /// Rows of which something is held.
    package var count: Int { self.held.count }

    /// - Parameter now: nanoseconds on any clock that does not go back.
    /// - Returns: what is to be sent now.
    package mutating func pass(_ steps: [Step], in view: View, now: Int64) -> [Step] {
        var passed: [Step] = []
        for step in steps {
            if Self.isGauge(step.delta, of: view.feed) {
                self.hold(step, in: view)
            } else {
                passed += self.flush(now: now)
                passed.append(step)
            }
        }
        let isDue = self.due.map { $0 <= now } ?? false
        return isDue || !passed.isEmpty ? passed + self.flush(now: now) : []
    }

    package mutating func flush(now: Int64) -> [Step] {
        defer {
            self.held.removeAll(keepingCapacity: true)
            self.places.removeAll(keepingCapacity: true)
            self.lastSent = now
        }
        return self.held.map(\.step)
    }

    private mutating func hold(_ step: Step, in view: View) {
        let key = step.change.key
        guard let place = self.places[key] else {
            self.places[key] = self.held.count
            self.held.append((key, step))
            return
        }
        guard let merged = Replay.merged(step, over: self.held[place].step, in: view) else { return }
        self.held[place].step = merged
        self.merged += 1
    }

    private static func isGauge(_ delta: View.Delta, of feed: FeedDefinition) -> Bool {
        guard case .update(let columns) = delta else { return false }
        return columns.allSatisfy { feed.gauges.contains($0) || feed.quiet.contains($0) }
    }
}
