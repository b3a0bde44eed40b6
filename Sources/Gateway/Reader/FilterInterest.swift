import Synchronization

/// Which columns the filters of open subscriptions look at: only a change of one of these can make a row enter a
/// view by filter. Sessions register before they take their snapshot, so the reader never learns too late.
final class FilterInterest: Sendable {
    private let counts = Mutex<[String: [String: Int]]>([:])

    func add(_ columns: Set<String>, feed: String) {
        self.counts.withLock { counts in
            for column in columns { counts[feed, default: [:]][column, default: 0] += 1 }
        }
    }

    func remove(_ columns: Set<String>, feed: String) {
        self.counts.withLock { counts in
            for column in columns {
                guard let count = counts[feed]?[column] else { continue }
                counts[feed]?[column] = count > 1 ? count - 1 : nil
            }
        }
    }

    func columns(of feed: String) -> Set<String> {
        self.counts.withLock { Set($0[feed, default: [:]].keys) }
    }
}
