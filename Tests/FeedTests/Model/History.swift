import Feed

/// A database with several transactions open at once: row locks, foreign keys with their actions, capture triggers.
///
/// A statement that would have to wait for another transaction's lock is not tried.
struct History {
    struct Commit {
        let xid: UInt64?
        let world: World
        let snapshot: Snapshot
    }

    struct Schema {
        var hops: Int
        /// `ON DELETE CASCADE`, else `SET NULL`.
        var isCascading: Bool
    }

    private struct Transaction {
        var xid: UInt64? = nil
        var jobs: [ByteText: [String: JSONText]?] = [:]
        var path: [[ByteText: World.PathRow?]]
        var records: [LogRecord] = []
    }

    private struct Locks {
        /// `FOR UPDATE`: deleted, new, or its key changed.
        var exclusive: Int? = nil
        /// `FOR NO KEY UPDATE`
        var update: Int? = nil
        /// `FOR KEY SHARE`, as foreign keys take it.
        var shares: Set<Int> = []
    }

    let schema: Schema
    private(set) var commits: [Commit]
    /// Of committed transactions only.
    private(set) var log: [LogRecord] = []
    private var random: SplitMix
    private var world: World
    private var open: [Int: Transaction] = [:]
    private var jobLocks: [ByteText: Int] = [:]
    private var pathLocks: [[ByteText: Locks]]
    private var nextXid: UInt64 = 100
    private var nextSeq: Int64 = 1
    private var nextTransaction = 0

    static let users: [ByteText] = ["alice", "bob", "carol"]
    private static let jobKeys: [ByteText] = ["1", "2", "3", "4"]
    private static let pathKeys: [ByteText] = ["11", "12", "13", "14"]
    private static let statuses: [ByteText] = ["pending", "processing", "success", "failed"]

    init(schema: Schema, seed: UInt64) {
        self.schema = schema
        self.random = SplitMix(seed: seed)
        self.world = World(hops: schema.hops)
        self.pathLocks = Array(repeating: [:], count: schema.hops)
        self.commits = []
        self.commits = [Commit(xid: nil, world: self.world, snapshot: self.snapshot)]
    }

    private var snapshot: Snapshot {
        let running = self.open.values.compactMap(\.xid).sorted()
        return Snapshot(xmin: running.first ?? self.nextXid, xmax: self.nextXid, inProgress: running)
            ?? Snapshot.of("1:1:")
    }

    // MARK: Running it

    mutating func run(steps: Int) {
        for _ in 0..<steps {
            if self.open.count < 3, self.open.isEmpty || self.random.chance(15) {
                self.nextTransaction += 1
                self.open[self.nextTransaction] = Transaction(path: Array(repeating: [:], count: self.schema.hops))
            }
            guard let transaction = self.open.keys.sorted().randomElement(using: &self.random) else { continue }
            switch Int.random(in: 0..<100, using: &self.random) {
            case 0..<30: self.end(transaction, isCommit: true)
            case 30..<34: self.end(transaction, isCommit: false)
            default: self.statement(transaction)
            }
        }
        for transaction in self.open.keys.sorted() { self.end(transaction, isCommit: true) }
    }

    private mutating func end(_ id: Int, isCommit: Bool) {
        guard let transaction = self.open.removeValue(forKey: id) else { return }
        self.jobLocks = self.jobLocks.filter { $0.value != id }
        for hop in self.pathLocks.indices {
            for (key, locks) in self.pathLocks[hop] {
                var locks = locks
                locks.shares.remove(id)
                if locks.update == id { locks.update = nil }
                if locks.exclusive == id { locks.exclusive = nil }
                self.pathLocks[hop][key] = locks
            }
        }
        guard isCommit else { return }
        for (key, job) in transaction.jobs { self.world.jobs[key] = job }
        for hop in transaction.path.indices {
            for (key, row) in transaction.path[hop] { self.world.path[hop][key] = row }
        }
        self.log += transaction.records
        self.log.sort { $0.seq < $1.seq }
        self.commits.append(Commit(xid: transaction.xid, world: self.world, snapshot: self.snapshot))
    }

    private mutating func statement(_ id: Int) {
        let view = self.view(id)
        let key = Self.jobKeys.randomElement(using: &self.random) ?? "1"
        let pathKey = Self.pathKeys.randomElement(using: &self.random) ?? "11"
        let hop = self.schema.hops == 0 ? 0 : Int.random(in: 0..<self.schema.hops, using: &self.random)
        let kind = Int.random(in: 0..<100, using: &self.random)
        guard self.schema.hops == 0 || kind < 60 else {
            guard view.path[hop][pathKey] != nil else { return self.insertPathRow(id, hop, pathKey) }
            switch kind {
            case 60..<78: return self.lead(id, hop, pathKey, to: self.target(id, hop + 1))
            case 78..<86: return self.deletePathRow(id, hop, pathKey)
            case 86..<93: return self.rename(id, hop, pathKey)
            default: return self.insertPathRow(id, hop, pathKey)
            }
        }
        guard self.isFree(job: key, for: id) else { return }
        guard let job = view.jobs[key] else {
            guard let link = self.target(id, 0) else { return }
            return self.write(id, job: key, self.newJob(key, link.next))
        }
        switch kind {
        case 0..<36:
            var changed = job
            self.scribble(&changed)
            self.write(id, job: key, changed)
        case 36..<48:
            guard let link = self.target(id, 0) else { return }
            var changed = job
            changed["assigned_to"] = Self.json(link.next)
            if self.random.chance(50) { self.scribble(&changed) }
            self.write(id, job: key, changed)
        default: self.write(id, job: key, nil)
        }
    }

    // MARK: Statements on jobs

    private func isFree(job key: ByteText, for id: Int) -> Bool { self.jobLocks[key].map { $0 == id } ?? true }

    private mutating func newJob(_ key: ByteText, _ link: ByteText?) -> [String: JSONText] {
        var job: [String: JSONText] = [
            "id": JSONText(key.string), "assigned_to": Self.json(link), "status": "\"pending\"",
        ]
        for column in FeedDefinition.jobs.columns where job[column.name] == nil { job[column.name] = "null" }
        self.scribble(&job)
        return job
    }

    private mutating func scribble(_ job: inout [String: JSONText]) {
        let number = JSONText(String(Int.random(in: 0..<1000, using: &self.random)))
        switch Int.random(in: 0..<6, using: &self.random) {
        case 0...2: job["status"] = Self.json(Self.statuses.randomElement(using: &self.random))
        case 3: job["progress"] = number
        case 4: job["errors"] = number
        default: job["retries"] = JSONText(String(Int.random(in: 0..<4, using: &self.random)))
        }
        if self.random.chance(50) { job["updated_at"] = number }
    }

    /// Insert, update or delete, with what the trigger writes.
    private mutating func write(_ id: Int, job key: ByteText, _ after: [String: JSONText]?) {
        let before = self.view(id).jobs[key]
        self.jobLocks[key] = id
        self.open[id]?.jobs[key] = .some(after)
        switch (before, after) {
        case (nil, nil): break
        case (nil, .some(let row)): self.log(id, .insert, key, row: row, before: nil)
        case (.some(let row), nil): self.log(id, .delete, key, row: row, before: nil)
        case (.some(let old), .some(let new)):
            let changed = old.filter { new[$0.key] != $0.value }
            guard changed.keys.contains(where: { $0 != "updated_at" }) else { return }
            self.log(id, .update, key, row: new, before: changed)
        }
    }

    // MARK: Statements on the owner path

    /// Something that a link may lead to now: a row of hop `hop`'s table, or a user behind the last one.
    private mutating func target(_ id: Int, _ hop: Int) -> World.PathRow? {
        if self.random.chance(8) { return World.PathRow(next: nil) }
        guard hop < self.schema.hops else {
            return World.PathRow(next: Self.users.randomElement(using: &self.random))
        }
        let keys = self.view(id).path[hop].keys.filter { key in
            let holder = self.pathLocks[hop][key]?.exclusive
            return holder == nil || holder == id
        }
        guard let key = keys.sorted(by: { $0.string < $1.string }).randomElement(using: &self.random) else {
            return nil
        }
        self.pathLocks[hop][key, default: Locks()].shares.insert(id)
        return World.PathRow(next: key)
    }

    private func isFree(_ hop: Int, _ key: ByteText, for id: Int, isExclusive: Bool) -> Bool {
        guard let locks = self.pathLocks[hop][key] else { return true }
        if let holder = locks.exclusive, holder != id { return false }
        if let holder = locks.update, holder != id { return false }
        return !isExclusive || locks.shares.subtracting([id]).isEmpty
    }

    private mutating func insertPathRow(_ id: Int, _ hop: Int, _ key: ByteText) {
        guard self.view(id).path[hop][key] == nil, self.isFree(hop, key, for: id, isExclusive: true),
            let next = self.target(id, hop + 1)
        else { return }
        self.pathLocks[hop][key, default: Locks()].exclusive = id
        self.open[id]?.path[hop][key] = .some(next)
        self.begin(id)
    }

    private mutating func lead(_ id: Int, _ hop: Int, _ key: ByteText, to next: World.PathRow?) {
        guard let next, let old = self.view(id).path[hop][key], old != next,
            self.isFree(hop, key, for: id, isExclusive: false)
        else { return }
        self.pathLocks[hop][key, default: Locks()].update = id
        self.open[id]?.path[hop][key] = .some(next)
        self.log(id, hop, key, before: (key, old), after: (key, next))
    }

    /// Whether the row and all that refers to it can be locked now.
    private func isLockable(_ id: Int, _ hop: Int, _ key: ByteText) -> Bool {
        guard self.isFree(hop, key, for: id, isExclusive: true) else { return false }
        return self.referring(id, hop, key).allSatisfy { referring in
            hop == 0 ? self.isFree(job: referring, for: id) : self.isLockable(id, hop - 1, referring)
        }
    }

    /// Keys of what refers to a row, for this transaction and for everybody else.
    private func referring(_ id: Int, _ hop: Int, _ key: ByteText) -> [ByteText] {
        var found: Set<ByteText> = []
        for world in [self.world, self.view(id)] {
            if hop == 0 {
                found.formUnion(world.jobs.filter { $0.value["assigned_to"]?.byteText == key }.keys)
            } else {
                found.formUnion(world.path[hop - 1].filter { $0.value.next == key }.keys)
            }
        }
        return found.sorted(by: { $0.string < $1.string })
    }

    private mutating func deletePathRow(_ id: Int, _ hop: Int, _ key: ByteText) {
        guard self.isLockable(id, hop, key), let old = self.view(id).path[hop][key] else { return }
        self.pathLocks[hop][key, default: Locks()].exclusive = id
        self.open[id]?.path[hop][key] = .some(nil)
        // Triggers fire in the order of their names: the foreign key's before or after the capture.
        let isLogFirst = self.random.chance(50)
        if isLogFirst { self.log(id, hop, key, before: (key, old), after: nil) }
        self.follow(id, hop, key, to: nil)
        if !isLogFirst { self.log(id, hop, key, before: (key, old), after: nil) }
    }

    /// `UPDATE thread SET id = …` with `ON UPDATE CASCADE`.
    private mutating func rename(_ id: Int, _ hop: Int, _ key: ByteText) {
        guard self.isLockable(id, hop, key), let old = self.view(id).path[hop][key],
            let new = Self.pathKeys.randomElement(using: &self.random), self.view(id).path[hop][new] == nil,
            self.isFree(hop, new, for: id, isExclusive: true)
        else { return }
        for key in [key, new] { self.pathLocks[hop][key, default: Locks()].exclusive = id }
        self.open[id]?.path[hop][key] = .some(nil)
        self.open[id]?.path[hop][new] = .some(old)
        let isLogFirst = self.random.chance(50)
        if isLogFirst { self.log(id, hop, key, before: (key, old), after: (new, old)) }
        self.follow(id, hop, key, to: new)
        if !isLogFirst { self.log(id, hop, key, before: (key, old), after: (new, old)) }
    }

    /// The foreign key's action on what referred to `key`.
    private mutating func follow(_ id: Int, _ hop: Int, _ key: ByteText, to new: ByteText?) {
        let view = self.view(id)
        for referring in self.referring(id, hop, key) {
            if hop > 0 {
                guard view.path[hop - 1][referring]?.next == key else { continue }
                if new == nil, self.schema.isCascading {
                    self.deletePathRow(id, hop - 1, referring)
                } else {
                    self.lead(id, hop - 1, referring, to: World.PathRow(next: new))
                }
            } else if var job = view.jobs[referring], job["assigned_to"]?.byteText == key {
                job["assigned_to"] = Self.json(new)
                self.write(id, job: referring, new == nil && self.schema.isCascading ? nil : job)
            }
        }
    }

    // MARK: The log

    private mutating func begin(_ id: Int) {
        guard self.open[id]?.xid == nil else { return }
        self.open[id]?.xid = self.nextXid
        self.nextXid += 1
    }

    private mutating func log(
        _ id: Int,
        _ operation: LogRecord.Operation,
        _ key: ByteText,
        hop: Int = 0,
        row: [String: JSONText]?,
        before: [String: JSONText]?
    ) {
        self.begin(id)
        let record = LogRecord(
            seq: self.nextSeq,
            xid: self.open[id]?.xid ?? 0,
            operation: operation,
            key: key,
            hop: hop,
            at: self.nextSeq,
            row: row.map(Row.init(values:)),
            before: before.map(Row.init(values:))
        )
        self.open[id]?.records.append(record)
        self.nextSeq += 1
    }

    private mutating func log(
        _ id: Int,
        _ hop: Int,
        _ key: ByteText,
        before: (key: ByteText, row: World.PathRow),
        after: (key: ByteText, row: World.PathRow)?
    ) {
        let next = hop + 1 < self.schema.hops ? "project" : "author"
        func part(_ key: ByteText, _ row: World.PathRow) -> [String: JSONText] {
            ["id": JSONText(key.string), next: Self.json(row.next)]
        }
        self.log(
            id,
            .ownerPath,
            key,
            hop: hop,
            row: after.map { part($0.key, $0.row) },
            before: part(before.key, before.row)
        )
    }

    /// What the transaction sees: all that is committed, and its own work.
    private func view(_ id: Int) -> World {
        var view = self.world
        guard let transaction = self.open[id] else { return view }
        for (key, job) in transaction.jobs { view.jobs[key] = job }
        for hop in transaction.path.indices {
            for (key, row) in transaction.path[hop] { view.path[hop][key] = row }
        }
        return view
    }

    private static func json(_ text: ByteText?) -> JSONText {
        guard let text else { return "null" }
        return JSONText(Int(text.string) == nil ? "\"\(text)\"" : text.string)
    }
}
