import Feed

/// A database as far as the doorbell sees it: each step is one that PostgreSQL does at once, and any that can happen
/// next may.
struct DoorbellModel: Hashable {
    /// What the product promises, each with the ways to break it.
    struct Rules: Hashable {
        enum Barrier {
            /// An xid given out after the row was committed.
            case xid
            /// `xmax` of a snapshot taken after the row was committed.
            case snapshot
            case missing
        }

        var barrier = Barrier.xid
        /// The trigger looks at the nodes' rows after it has written to the log, and so has an xid.
        var looksAfterWriting = true
        /// A writer whose snapshot is older than its look.
        var repeatableReadAlwaysRings = true
        /// Notifications are thrown away only where a read follows.
        var discardsBeforeReading = true
    }

    struct Writer: Hashable {
        enum Phase: UInt8 {
            case idle, begun, written, looked, both, done
        }

        var phase = Phase.idle
        var isRepeatable = false
        /// What a REPEATABLE READ writer's snapshot says of the nodes.
        var sawSleeper = false
        var xid: UInt64 = 0
        var rings = false

        var order: (UInt8, UInt64, Int) {
            let flags = (self.isRepeatable ? 4 : 0) + (self.sawSleeper ? 2 : 0) + (self.rings ? 1 : 0)
            return (self.phase.rawValue, self.xid, flags)
        }
    }

    struct Gateway: Hashable {
        enum Phase: Hashable {
            case told(Doorbell.Action)
            case arming(xid: UInt64)
            case armed
            case reading(Doorbell.Cause)
            case read(Doorbell.Cause, found: Int)
        }

        var doorbell: Doorbell
        var phase: Phase
        var cursor: Snapshot
        var isRowAsleep = false
        /// A notification waits at the socket; another is on its way there.
        var hasRung = false
        var isRinging = false

        /// It reads only when somebody rings, as no backstop is part of the model.
        var waitsForRing: Bool {
            if case .told(.wait) = self.phase { self.doorbell.mode == .asleep } else { false }
        }
    }

    let rules: Rules
    var writers: [Writer]
    var gateways: [Gateway]
    /// Transactions that wrote to the log.
    var changes: [UInt64] = []
    var nextXid: UInt64 = 10
    var latestEnded: UInt64 = 9
    var reconnects: Int
    var now: Int64 = 0

    init(rules: Rules, writers: Int, gateways: Int, reconnects: Int, timing: Doorbell.Timing) {
        self.rules = rules
        self.writers = Array(repeating: Writer(), count: writers)
        self.gateways = []
        self.reconnects = reconnects
        for number in 0..<gateways {
            var doorbell = Doorbell(timing: timing, seed: UInt64(number) + 1)
            let action = doorbell.connected(canListen: true, now: 0)
            self.gateways.append(Gateway(doorbell: doorbell, phase: .told(action), cursor: Snapshot.of("10:10:")))
        }
    }

    /// `xmax` follows the last transaction that ended, whatever was begun since.
    var snapshot: Snapshot {
        var running = self.writers.filter { $0.xid != 0 && $0.phase != .done }.map(\.xid)
        for gateway in self.gateways {
            if case .arming(let xid) = gateway.phase { running.append(xid) }
        }
        let xmax = self.latestEnded + 1
        running = running.filter { $0 < xmax }.sorted()
        return Snapshot(xmin: running.first ?? xmax, xmax: xmax, inProgress: running) ?? Snapshot.of("1:1:")
    }

    /// What must never be: a node that nobody will wake, and a committed change that it has not read.
    var overslept: (gateway: Int, xid: UInt64)? {
        for (number, gateway) in self.gateways.enumerated()
        where gateway.waitsForRing && !gateway.hasRung && !gateway.isRinging {
            if let xid = self.changes.first(where: { !gateway.cursor.sees($0) }) { return (number, xid) }
        }
        return nil
    }

    var isAtRest: Bool {
        self.writers.allSatisfy { $0.phase == .done }
            && self.gateways.allSatisfy { $0.waitsForRing && !$0.hasRung && !$0.isRinging }
    }

    // MARK: Steps

    typealias Step = (label: String, apply: (inout DoorbellModel) -> Void)

    var steps: [Step] {
        var steps: [Step] = []
        for index in self.writers.indices { self.addSteps(ofWriter: index, to: &steps) }
        for index in self.gateways.indices { self.addSteps(ofGateway: index, to: &steps) }
        return steps
    }

    private func addSteps(ofWriter index: Int, to steps: inout [Step]) {
        let writer = self.writers[index]
        func add(_ label: String, _ apply: @escaping (inout DoorbellModel) -> Void) {
            steps.append(("writer \(index) \(label)", apply))
        }
        switch writer.phase {
        case .idle:
            add("begins") { $0.writers[index].phase = .begun }
            add("begins, repeatable read") {
                let sleeper = $0.hasSleeper
                $0.writers[index].phase = .begun
                $0.writers[index].isRepeatable = true
                $0.writers[index].sawSleeper = sleeper
            }
        case .begun:
            if self.rules.looksAfterWriting {
                add("writes") { $0.write(index, then: .written) }
            } else {
                add("looks") { $0.look(index, then: .looked) }
            }
        case .written: add("looks") { $0.look(index, then: .both) }
        case .looked: add("writes") { $0.write(index, then: .both) }
        case .both:
            add("commits") { model in
                let rings = model.writers[index].rings
                model.changes.append(model.writers[index].xid)
                model.end(index)
                if rings { for gateway in model.gateways.indices { model.gateways[gateway].isRinging = true } }
            }
            add("rolls back") { $0.end(index) }
        case .done: break
        }
    }

    private var hasSleeper: Bool { self.gateways.contains { $0.isRowAsleep } }

    private mutating func write(_ index: Int, then phase: Writer.Phase) {
        self.writers[index].xid = self.nextXid
        self.nextXid += 1
        self.writers[index].phase = phase
    }

    private mutating func look(_ index: Int, then phase: Writer.Phase) {
        let writer = self.writers[index]
        self.writers[index].phase = phase
        self.writers[index].rings =
            writer.isRepeatable ? writer.sawSleeper || self.rules.repeatableReadAlwaysRings : self.hasSleeper
    }

    private mutating func end(_ index: Int) {
        self.latestEnded = max(self.latestEnded, self.writers[index].xid)
        self.writers[index] = Writer(phase: .done)
        // Which writer did what is of no interest.
        self.writers.sort { $0.order < $1.order }
    }

    private func addSteps(ofGateway index: Int, to steps: inout [Step]) {
        let gateway = self.gateways[index]
        func add(_ label: String, _ apply: @escaping (inout DoorbellModel) -> Void) {
            steps.append(("node \(index) \(label)", apply))
        }
        if gateway.isRinging {
            add("hears") {
                $0.gateways[index].isRinging = false
                $0.gateways[index].hasRung = true
            }
        }
        if self.reconnects > 0 {
            add("reconnects") { $0.reconnect(index) }
        }
        switch gateway.phase {
        case .told(.wait):
            if gateway.hasRung {
                add("wakes") {
                    $0.gateways[index].hasRung = false
                    $0.gateways[index].phase = .reading(.rung)
                }
            }
            if gateway.doorbell.mode != .asleep { add("times out") { $0.gateways[index].phase = .reading(.timer) } }
        case .told(.pause):
            add("goes on") {
                $0.gateways[index].hasRung = false
                $0.gateways[index].phase = .reading(.timer)
            }
            if gateway.hasRung { add("goes on, rung") { $0.gateways[index].phase = .reading(.timer) } }
        case .told(.arm):
            add("arms") {
                $0.gateways[index].phase = .arming(xid: $0.nextXid)
                $0.nextXid += 1
            }
        case .arming(let xid):
            add("commits asleep") {
                $0.latestEnded = max($0.latestEnded, xid)
                $0.gateways[index].isRowAsleep = true
                $0.gateways[index].phase = .armed
            }
        case .armed:
            add("sets the barrier") { model in
                let barrier = model.barrier()
                let action = model.gateways[index].doorbell.armed(barrier: barrier, now: model.now)
                model.gateways[index].phase = .told(action)
            }
        case .told(.disarm):
            add("commits awake") { model in
                model.gateways[index].isRowAsleep = false
                let action = model.gateways[index].doorbell.disarmed(now: model.now)
                model.gateways[index].phase = .told(action)
            }
        case .reading(let cause):
            add("reads") { model in
                let snapshot = model.snapshot
                let cursor = model.gateways[index].cursor
                let found = model.changes.count { snapshot.sees($0) && !cursor.sees($0) }
                model.gateways[index].cursor = snapshot
                model.gateways[index].phase = .read(cause, found: found)
            }
        case .read(let cause, let found):
            add("has read \(found)") { model in
                if !model.rules.discardsBeforeReading { model.gateways[index].hasRung = false }
                let snapshot = model.gateways[index].cursor
                let action = model.gateways[index].doorbell.afterRead(
                    found: found,
                    snapshot: snapshot,
                    cause: cause,
                    now: model.now
                )
                model.gateways[index].phase = .told(action)
            }
        }
    }

    private mutating func barrier() -> UInt64 {
        switch self.rules.barrier {
        case .missing: return 0
        case .snapshot: return self.snapshot.xmax
        case .xid:
            let xid = self.nextXid
            self.nextXid += 1
            self.latestEnded = xid
            return xid
        }
    }

    /// Both sessions: what was on its way is lost, a running transaction is rolled back, the row may be removed.
    private mutating func reconnect(_ index: Int) {
        if case .arming(let xid) = self.gateways[index].phase { self.latestEnded = max(self.latestEnded, xid) }
        self.reconnects -= 1
        self.gateways[index].isRinging = false
        self.gateways[index].hasRung = false
        self.gateways[index].isRowAsleep = false
        let action = self.gateways[index].doorbell.connected(canListen: true, now: self.now)
        self.gateways[index].phase = .told(action)
    }
}
