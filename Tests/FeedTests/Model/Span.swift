import Feed

/// What lies between two commits of a history, read as the reader reads it.
struct Span {
    let feed: FeedDefinition
    /// The states that somebody could have selected, the first and the last included.
    let states: [World]
    let batch: Batch

    var truth: World { self.states[self.states.count - 1] }

    init(_ history: History, _ feed: FeedDefinition, from first: Int, to last: Int) {
        let commits = history.commits[first...last]
        self.feed = feed
        self.states = commits.map(\.world)
        let start = history.commits[first].snapshot
        let end = history.commits[last].snapshot
        let records = history.log.filter { end.sees($0.xid) && !start.sees($0.xid) }
        let world = history.commits[last].world
        let moved = Self.moved(records, world, feed)
        var owners = OwnerTable(feed: feed)
        for record in records { owners.applyBefore(record, of: feed) }
        var links = Set(moved.values.compactMap { $0.keyText(["assigned_to"]) })
        for record in records where record.operation != .ownerPath {
            for state in [record.row, record.before] {
                if let link = state?.keyText(["assigned_to"]) { links.insert(link) }
            }
        }
        for hop in feed.hops.indices {
            for key in owners.unknownKeys(hop: hop, from: links) {
                owners.learn(hop: hop, key: key, next: nil)
                if let row = world.path[hop][key] { owners.learn(hop: hop, key: key, next: row.next) }
            }
        }
        self.batch = Batch(
            feed: feed,
            start: start,
            end: end,
            records: records,
            owners: owners.withoutStarts,
            moved: moved,
            isTruncated: false,
            isIndexed: true
        )
    }

    /// Rows, as they are at the end, that a changed row of the owner path leads on for.
    private static func moved(_ records: [LogRecord], _ world: World, _ feed: FeedDefinition) -> [ByteText: Row] {
        var moved: [ByteText: Row] = [:]
        for record in records where record.operation == .ownerPath {
            let keys = Set([record.before, record.row].compactMap { $0?.keyText(["id"]) })
            for (key, job) in world.jobs {
                var link = job["assigned_to"]?.byteText
                for table in world.path.prefix(record.hop) { link = link.flatMap { table[$0]?.next } }
                if let link, keys.contains(link) { moved[key] = Row(values: job) }
            }
        }
        return moved
    }

    /// Who owned what a link leads to, at any state of the span or inside its transactions.
    func ownersEver(ofLink link: ByteText) -> Set<ByteText?> {
        var keys: Set<ByteText?> = [link]
        for hop in self.feed.hops.indices {
            let referenced = keys
            keys = []
            for key in referenced {
                guard let key else {
                    keys.insert(nil)
                    continue
                }
                for state in self.states {
                    if let row = state.path[hop][key] { keys.insert(row.next) }
                }
                for record in self.batch.records where record.operation == .ownerPath && record.hop == hop {
                    guard let before = record.before, before.keyText(["id"]) == key else { continue }
                    keys.insert(before.keyText([hop + 1 < self.feed.hops.count ? "project" : "author"]))
                }
            }
        }
        return keys
    }

    /// The owners of everything that a job was linked to.
    func ownersEver(ofJob key: ByteText) -> Set<ByteText?> {
        var owners: Set<ByteText?> = []
        for state in self.states {
            guard let job = state.jobs[key] else { continue }
            owners.formUnion(job["assigned_to"]?.byteText.map(self.ownersEver(ofLink:)) ?? [nil])
        }
        for record in self.batch.records where record.operation != .ownerPath && record.key == key {
            owners.formUnion(self.ownersEver(of: record))
        }
        return owners
    }

    private func ownersEver(of record: LogRecord) -> Set<ByteText?> {
        var owners: Set<ByteText?> = []
        for state in [record.row, record.before] {
            guard let link = state?["assigned_to"] else { continue }
            owners.formUnion(link.byteText.map(self.ownersEver(ofLink:)) ?? [nil])
        }
        return owners
    }

    /// Versions of a job that `user` may be shown: committed ones that were theirs, and those inside a transaction
    /// during which nobody else could have owned it.
    func permitted(job key: ByteText, to user: ByteText) -> [[String: JSONText]] {
        var versions: [[String: JSONText]] = []
        for state in self.states where state.owner(ofJob: key) == user {
            if let job = state.jobs[key] { versions.append(job) }
        }
        let own = Dictionary(
            grouping: self.batch.records.filter { $0.operation != .ownerPath && $0.key == key },
            by: \.xid
        )
        for records in own.values where records.allSatisfy({ self.ownersEver(of: $0) == [user] }) {
            versions += records.compactMap { $0.row?.values }
        }
        return versions
    }

    /// The statuses that one job went through, as its records say; born and gone in one transaction was never there, and
    /// only operators are told what a transaction wrote before it deleted the job.
    func transitions(ofJob key: ByteText, forOperator: Bool) -> [String] {
        var transitions: [String] = []
        var rest = self.batch.records.filter { $0.operation != .ownerPath && $0.key == key }[...]
        while let xid = rest.first?.xid {
            let own = rest.prefix { $0.xid == xid }
            rest = rest.dropFirst(own.count)
            if own.last?.operation == .delete {
                if own.first?.operation == .insert { continue }
                if !forOperator {
                    transitions.append("leave")
                    continue
                }
            }
            for record in own {
                switch record.operation {
                case .insert: transitions.append("enter " + (record.row?["status"]?.scalarText ?? ""))
                case .delete: transitions.append("leave")
                default:
                    guard record.before?["status"] != nil else { continue }
                    transitions.append(record.row?["status"]?.scalarText ?? "")
                }
            }
        }
        return transitions
    }
}
