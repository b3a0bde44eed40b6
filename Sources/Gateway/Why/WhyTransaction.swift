import Feed

/// What one transaction wrote that concerns one job, and what it wrote it over.
struct WhyTransaction: Sendable {
    /// A row that a transaction locks until it ends.
    private enum Lock: Hashable {
        case job
        case path(hop: Int, key: ByteText)
    }

    let xid: UInt64
    /// In `seq` order.
    let records: [LogRecord]
    /// By the database's commit timestamps, where it keeps them.
    let committedAt: Int64?
    /// Earlier transactions of this list that may have committed after this one, and nothing proves the contrary.
    var unordered: [UInt64] = []

    var at: Int64 { self.records.last?.at ?? 0 }
    var isOwnerPathChanged: Bool { self.records.contains { $0.operation == .ownerPath } }
    private var lastSeq: Int64 { self.records.last?.seq ?? 0 }

    private init(xid: UInt64, records: [LogRecord], committedAt: Int64?) {
        self.xid = xid
        self.records = records
        self.committedAt = committedAt
    }

    /// Transactions in the order of their commits, as well as it can be known.
    ///
    /// Of two that wrote the same row the second had to wait for the first, so their records do not interleave. That
    /// orders a job's own transactions, and those of one row of the owner path, by `seq`; the last record comes before
    /// the commit, and the next one's first record after it.
    static func ordered(
        _ records: [LogRecord],
        committedAt times: [UInt64: Int64],
        feed: FeedDefinition
    ) -> [WhyTransaction] {
        let byTransaction = Dictionary(grouping: records, by: \.xid)
        var list = byTransaction.map { xid, records in
            WhyTransaction(xid: xid, records: records.sorted { $0.seq < $1.seq }, committedAt: times[xid])
        }
        if list.allSatisfy({ $0.committedAt != nil }) {
            list.sort { ($0.committedAt ?? 0, $0.lastSeq) < ($1.committedAt ?? 0, $1.lastSeq) }
        } else {
            list.sort { $0.lastSeq < $1.lastSeq }
        }
        self.markUnordered(&list, feed)
        return list
    }

    private func locks(_ feed: FeedDefinition) -> [Lock: (first: Int64, last: Int64)] {
        var locks: [Lock: (first: Int64, last: Int64)] = [:]
        for record in self.records {
            var rows: [Lock] = [.job]
            if record.operation == .ownerPath {
                guard feed.hops.indices.contains(record.hop) else { continue }
                let keys = [record.before, record.row].compactMap { $0?.keyText(feed.hops[record.hop].to) }
                rows = Set(keys).map { .path(hop: record.hop, key: $0) }
            }
            for row in rows { locks[row] = (locks[row]?.first ?? record.seq, record.seq) }
        }
        return locks
    }

    private static func markUnordered(_ list: inout [WhyTransaction], _ feed: FeedDefinition) {
        let locks = list.map { $0.locks(feed) }
        // By row: who wrote it last so far.
        var latest: [Lock: Int] = [:]
        var next: [Int: Int64] = [:]
        for index in list.indices.reversed() {
            for (row, _) in locks[index] {
                if let later = latest[row], let first = locks[later][row]?.first {
                    next[index] = min(next[index] ?? .max, first)
                }
                latest[row] = index
            }
        }
        latest = [:]
        for index in list.indices {
            let mine = Set(locks[index].keys)
            for other in Set(latest.values).sorted() where mine.isDisjoint(with: locks[other].keys) {
                if let one = list[other].committedAt, let two = list[index].committedAt, one != two { continue }
                // Whoever wrote the same row next had waited for its end.
                if let end = next[other], end <= list[index].lastSeq { continue }
                list[index].unordered.append(list[other].xid)
            }
            for row in mine { latest[row] = index }
        }
    }
}
