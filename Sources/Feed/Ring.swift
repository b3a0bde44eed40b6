/// The steps of the last while, bounded in bytes: a resume that reaches back no further needs no database.
///
/// Batches share their storage, so that a ring per event loop costs little more than one.
package struct Ring: Sendable {
    private struct Entry: Sendable {
        let end: Snapshot
        let batches: [Batch]
        let bytes: Int
    }

    package let maximumBytes: Int
    package private(set) var bytes = 0
    /// From here on the ring knows all that happened; `nil` before the first ``reset(at:)`` or step.
    package private(set) var start: Snapshot? = nil
    package private(set) var end: Snapshot? = nil
    /// Feeds that were reset inside the ring are known only from then on.
    private var feedStarts: [String: Snapshot] = [:]
    private var entries: [Entry] = []
    /// Entries before this one are dropped.
    private var first = 0

    package init(maximumBytes: Int) {
        self.maximumBytes = maximumBytes
    }

    /// Forgets everything: a new history, or the log read from its start.
    ///
    /// - Parameter snapshot: `X:X:` for a ring that is preloaded with all records whose xid is `X` or more.
    package mutating func reset(at snapshot: Snapshot) {
        self.empty(at: snapshot)
        self.end = snapshot
    }

    /// - Parameters:
    ///   - end: what the step led to; it began where the one before ended.
    ///   - resetFeeds: feeds whose changes in this step are not all in `batches`.
    package mutating func append(end: Snapshot, batches: [Batch], resetFeeds: Set<String> = []) {
        self.end = end
        let bytes = batches.reduce(0) { $0 + $1.bytes }
        guard self.start != nil, bytes <= self.maximumBytes else { return self.empty(at: end) }
        for feed in resetFeeds { self.feedStarts[feed] = end }
        guard !batches.isEmpty else { return }
        self.entries.append(Entry(end: end, batches: batches, bytes: bytes))
        self.bytes += bytes
        while self.bytes > self.maximumBytes, self.first < self.entries.count { self.dropFirst() }
        if self.first > 64, self.first > self.entries.count / 2 {
            self.entries.removeFirst(self.first)
            self.first = 0
        }
    }

    /// What happened to a feed after `snapshot`: the caller takes ``Batch/changes(notIn:for:)`` of each, in this order.
    ///
    /// - Returns: `nil` unless it is all here.
    package func batches(of feed: String, after snapshot: Snapshot) -> [Batch]? {
        guard let start = self.start, let end = self.end, end.includes(snapshot), snapshot.includes(start),
            self.feedStarts[feed].map({ snapshot.includes($0) }) ?? true
        else { return nil }
        // Snapshots of one primary are ordered, and so are the entries.
        var low = self.first
        var high = self.entries.count
        while low < high {
            let middle = (low + high) / 2
            if snapshot.includes(self.entries[middle].end) { low = middle + 1 } else { high = middle }
        }
        return self.entries[low...].flatMap { entry in entry.batches.filter { $0.feed.name == feed } }
    }

    private mutating func empty(at snapshot: Snapshot) {
        self.entries = []
        self.first = 0
        self.bytes = 0
        self.feedStarts = [:]
        self.start = snapshot
    }

    private mutating func dropFirst() {
        let entry = self.entries[self.first]
        // Frees what it holds now, not when the array is cut.
        self.entries[self.first] = Entry(end: entry.end, batches: [], bytes: 0)
        self.first += 1
        self.bytes -= entry.bytes
        self.start = entry.end
        self.feedStarts = self.feedStarts.filter { !entry.end.includes($0.value) }
    }
}
