/// When a node reads the log: it sleeps until writers ring while little happens, and reads every few milliseconds,
/// unrung, while much does. Pure: whoever drives it does what the ``Action`` says and reports back.
///
/// Writers ring only while some node's row says `asleep`, so that busy writers do not queue for NOTIFY's lock.
package struct Doorbell: Hashable, Sendable {
    /// Nanoseconds throughout.
    package struct Timing: Hashable, Sendable {
        /// From one read to the next while awake: the lower bound while much happens.
        package var awake: ClosedRange<Int64> = 1_000_000...2_000_000
        /// So many reads in `quietWindow` that found something are much.
        package var busyReads = 20
        /// So many reads that a ring caused, in `burstWindow`, wake the node.
        package var burstReads = 10
        package var burstWindow: Int64 = 200_000_000
        /// Awake, fewer reads than `quietReads` in `quietWindow` that found something put the node to sleep.
        package var quietReads = 3
        package var quietWindow: Int64 = 250_000_000
        /// Between two reads while falling asleep: an eighth of the time it takes already, within these bounds.
        package var settling: ClosedRange<Int64> = 20_000_000...250_000_000
        /// Between two reads while asleep that nobody rang for.
        package var backstop: ClosedRange<Int64> = 2_000_000_000...4_000_000_000
        /// The ring for what a backstop read found may be on its way for so long.
        package var grace: Int64 = 1_000_000_000
        /// Between two reads without LISTEN: under load, and at rest.
        package var polling: ClosedRange<Int64> = 10_000_000...250_000_000

        package init() {}
    }

    /// Why the log was read.
    package enum Cause: Sendable {
        case rung
        case timer
        /// Somebody on this node asked for it.
        case poked
    }

    package enum Action: Hashable, Sendable {
        /// Read at the next ring, and after so many nanoseconds at the latest.
        case wait(Int64)
        /// Read so many nanoseconds after the last read began; rings mean nothing. Ones that come meanwhile may be
        /// discarded, before the read.
        case pause(Int64)
        /// Commit `asleep = true`. Then, in a second transaction, get an xid; then call ``armed(barrier:now:)``.
        case arm
        /// Commit `asleep = false`, then call ``disarmed(now:)``.
        case disarm
    }

    /// For those who watch.
    package enum Mode: String, Sendable {
        case asleep
        case awake
        case fallingAsleep = "falling_asleep"
        case polling
    }

    private enum State: Hashable, Sendable {
        /// The row may say anything. → fallingAsleep
        case arming
        /// The row says asleep; writers that looked before it did are below the barrier. → asleep, disarming
        case fallingAsleep(barrier: UInt64, since: Int64)
        /// Every writer rings. → disarming, arming
        case asleep
        /// The row may say anything. → awake, polling
        case disarming
        /// No writer needs to ring. → arming
        case awake(since: Int64, found: Int)
        case polling(interval: Int64)
    }

    /// Changes that a backstop read found and no ring announced: each one is a bug, here or in the writers' triggers.
    package private(set) var misses = 0
    private var state = State.arming
    private var canListen = true
    private var burstSince: Int64 = 0
    private var burstCount = 0
    /// A backstop read found something; a ring is due until then.
    private var ringDue: Int64? = nil
    private let timing: Timing
    private var random: UInt64

    /// - Parameter seed: for the jitter, so that nodes do not read in step.
    package init(timing: Timing = Timing(), seed: UInt64) {
        self.timing = timing
        self.random = seed
    }

    package var mode: Mode {
        switch self.state {
        case .asleep: .asleep
        case .awake: .awake
        case .polling: .polling
        case .arming, .fallingAsleep: self.canListen ? .fallingAsleep : .polling
        case .disarming: self.canListen ? .awake : .polling
        }
    }

    /// After each connect, when LISTEN is in force or known to be impossible, and whenever the node's row was lost.
    package mutating func connected(canListen: Bool, now: Int64) -> Action {
        self.canListen = canListen
        self.forgetBurst(now)
        self.ringDue = nil
        self.state = canListen ? .arming : .disarming
        return canListen ? .arm : .disarm
    }

    /// - Parameter barrier: an xid that was given out after `asleep = true` was committed (`pg_current_xact_id()` in a
    ///   transaction of its own). Whoever looked at the row before that commit had a lower one. A snapshot's `xmax`
    ///   does not do: it is the last *ended* transaction's successor, and running ones may lie beyond it.
    package mutating func armed(barrier: UInt64, now: Int64) -> Action {
        self.state = .fallingAsleep(barrier: barrier, since: now)
        self.forgetBurst(now)
        return .pause(0)
    }

    package mutating func disarmed(now: Int64) -> Action {
        self.state = self.canListen ? .awake(since: now, found: 0) : .polling(interval: self.timing.polling.lowerBound)
        return .pause(0)
    }

    /// - Parameters:
    ///   - found: how many records; the log is empty between the snapshot before and `snapshot` when it is 0.
    ///   - now: on any clock that does not go back, after the read.
    package mutating func afterRead(found: Int, snapshot: Snapshot, cause: Cause, now: Int64) -> Action {
        switch self.state {
        case .arming: return .arm
        case .disarming: return .disarm
        case .polling(let interval):
            let bounds = self.timing.polling
            let next = found > 0 ? bounds.lowerBound : min(interval * 2, bounds.upperBound)
            self.state = .polling(interval: next)
            return .pause(next)
        case .awake(let since, var count):
            count += found > 0 ? 1 : 0
            let isOver = now - since >= self.timing.quietWindow
            if isOver, count < self.timing.quietReads {
                self.state = .arming
                return .arm
            }
            self.state = isOver ? .awake(since: now, found: 0) : .awake(since: since, found: count)
            return .pause(count >= self.timing.busyReads ? self.timing.awake.lowerBound : self.timing.awake.upperBound)
        case .fallingAsleep(let barrier, let since):
            if self.isBurst(cause, now) { return self.wakeUp() }
            // Whoever did not ring has ended, and this very read has seen what it did.
            if snapshot.xmin >= barrier {
                self.state = .asleep
                return .wait(self.backstop())
            }
            let settling = self.timing.settling
            return .wait(min(max((now - since) / 8, settling.lowerBound), settling.upperBound))
        case .asleep:
            if self.isMiss(cause, now) {
                self.misses += 1
                self.state = .arming
                return .arm
            }
            if self.isBurst(cause, now) { return self.wakeUp() }
            if cause == .timer, found > 0 { self.ringDue = now + self.timing.grace }
            return .wait(self.ringDue.map { max($0 - now, 0) } ?? self.backstop())
        }
    }

    private mutating func wakeUp() -> Action {
        self.ringDue = nil
        self.state = .disarming
        return .disarm
    }

    /// Whether the ring for what a backstop read found did not come.
    private mutating func isMiss(_ cause: Cause, _ now: Int64) -> Bool {
        guard let due = self.ringDue else { return false }
        if cause == .rung {
            self.ringDue = nil
            return false
        }
        guard now >= due else { return false }
        self.ringDue = nil
        return true
    }

    private mutating func isBurst(_ cause: Cause, _ now: Int64) -> Bool {
        guard cause == .rung else { return false }
        if now - self.burstSince > self.timing.burstWindow { self.forgetBurst(now) }
        self.burstCount += 1
        return self.burstCount >= self.timing.burstReads
    }

    private mutating func forgetBurst(_ now: Int64) {
        self.burstSince = now
        self.burstCount = 0
    }

    /// Xorshift: a jitter needs no better.
    private mutating func backstop() -> Int64 {
        let range = self.timing.backstop
        let width = UInt64(clamping: range.upperBound - range.lowerBound)
        guard width > 0 else { return range.lowerBound }
        if self.random == 0 { self.random = 0x9E37_79B9_7F4A_7C15 }
        self.random ^= self.random << 13
        self.random ^= self.random >> 7
        self.random ^= self.random << 17
        return range.lowerBound + Int64(self.random % (width + 1))
    }
}
