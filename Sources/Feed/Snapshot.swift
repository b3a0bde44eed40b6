/// A `pg_snapshot`: which transactions were finished at one moment of one database
/// (PostgreSQL manual, "Functions and Operators", section "Transaction ID and Snapshot Information").
package struct Snapshot: Hashable, Sendable {
    /// Lowest transaction still running; everything below it is finished.
    package let xmin: UInt64
    /// First transaction not yet assigned; nothing from here on is visible.
    package let xmax: UInt64
    /// Transactions in `xmin..<xmax` that were still running, ascending.
    package let inProgress: [UInt64]

    /// Fails when the parts contradict each other.
    package init?(xmin: UInt64, xmax: UInt64, inProgress: [UInt64]) {
        guard xmin > 0, xmin <= xmax else { return nil }
        var previous: UInt64? = nil
        for xid in inProgress {
            guard xid >= xmin, xid < xmax, previous.map({ $0 < xid }) ?? true else { return nil }
            previous = xid
        }
        self.xmin = xmin
        self.xmax = xmax
        self.inProgress = inProgress
    }

    /// Reads the text form `xmin:xmax:xip,xip…`.
    package init?(text: some StringProtocol) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 3, let xmin = UInt64(parts[0]), let xmax = UInt64(parts[1]) else { return nil }
        var inProgress: [UInt64] = []
        for part in parts[2].split(separator: ",") {
            guard let xid = UInt64(part) else { return nil }
            inProgress.append(xid)
        }
        self.init(xmin: xmin, xmax: xmax, inProgress: inProgress)
    }

    package var text: String {
        "\(self.xmin):\(self.xmax):" + self.inProgress.map(String.init).joined(separator: ",")
    }

    /// Whether what transaction `xid` committed is part of this snapshot.
    package func sees(_ xid: UInt64) -> Bool {
        if xid < self.xmin { return true }
        if xid >= self.xmax { return false }
        return !self.isInProgress(xid)
    }

    /// Whether everything that `other` sees is seen here too. Snapshots of one primary are ordered by inclusion.
    package func includes(_ other: Snapshot) -> Bool {
        for xid in self.inProgress where xid < other.xmax {
            if other.sees(xid) { return false }
        }
        if self.xmax >= other.xmax { return true }
        // Everything in self.xmax ..< other.xmax must have been running in `other`.
        let running = other.inProgress.count { $0 >= self.xmax }
        return UInt64(running) == other.xmax - self.xmax
    }

    private func isInProgress(_ xid: UInt64) -> Bool {
        var low = 0
        var high = self.inProgress.count
        while low < high {
            let middle = (low + high) / 2
            if self.inProgress[middle] < xid { low = middle + 1 } else { high = middle }
        }
        return low < self.inProgress.count && self.inProgress[low] == xid
    }
}
