import Feed
import Testing

/// What a node does when, by the clock; that nothing is overslept is ``DoorbellModelTests``'s matter.
@Suite struct DoorbellTests {
    private static let millisecond: Int64 = 1_000_000
    private static let idle = Snapshot.of("100:100:")

    /// Asleep since `now`, behind barrier 50.
    private static func sleeper(now: Int64 = 0) -> Doorbell {
        var bell = Doorbell(seed: 7)
        #expect(bell.connected(canListen: true, now: now) == .arm)
        #expect(bell.armed(barrier: 50, now: now) == .pause(0))
        _ = bell.afterRead(found: 0, snapshot: Self.idle, cause: .timer, now: now)
        #expect(bell.mode == .asleep)
        return bell
    }

    /// Rings until the node wakes.
    private static func awake(now: inout Int64) -> Doorbell {
        var bell = Self.sleeper(now: now)
        for _ in 0..<100 {
            now += 10 * Self.millisecond
            if bell.afterRead(found: 1, snapshot: Self.idle, cause: .rung, now: now) == .disarm { break }
        }
        #expect(bell.disarmed(now: now) == .pause(0))
        #expect(bell.mode == .awake)
        return bell
    }

    @Test func itSleepsOnlyWhenEverybodyBelowTheBarrierHasEnded() {
        var bell = Doorbell(seed: 1)
        _ = bell.connected(canListen: true, now: 0)
        _ = bell.armed(barrier: 50, now: 0)
        for snapshot in ["49:60:49", "40:40:", "49:49:"] {
            let action = bell.afterRead(found: 0, snapshot: Snapshot.of(snapshot), cause: .timer, now: 1)
            #expect(action == .wait(20 * Self.millisecond), "\(snapshot)")
            #expect(bell.mode == .fallingAsleep)
        }
        let asleep = bell.afterRead(found: 0, snapshot: Snapshot.of("50:60:50"), cause: .timer, now: 2)
        #expect(bell.mode == .asleep)
        guard case .wait(let backstop) = asleep else { return #expect(Bool(false), "\(asleep)") }
        #expect(Doorbell.Timing().backstop.contains(backstop))
    }

    /// A transaction that is open for hours does not cost fifty reads a second.
    @Test(arguments: [(10, 20), (200, 25), (1000, 125), (3_600_000, 250)] as [(Int64, Int64)])
    func theLongerItTakesToFallAsleepTheFewerReads(after: Int64, wait: Int64) {
        var bell = Doorbell(seed: 1)
        _ = bell.connected(canListen: true, now: 0)
        _ = bell.armed(barrier: 50, now: 0)
        let now = after * Self.millisecond
        let action = bell.afterRead(found: 0, snapshot: Snapshot.of("10:60:10"), cause: .timer, now: now)
        #expect(action == .wait(wait * Self.millisecond))
    }

    @Test(arguments: [(5, true), (22, true), (23, false), (1000, false)] as [(Int64, Bool)])
    func onlyFastRingsWake(everyMilliseconds: Int64, isWoken: Bool) {
        var bell = Self.sleeper()
        var isAwake = false
        for number in 1...60 as ClosedRange<Int64> {
            let now = number * everyMilliseconds * Self.millisecond
            if bell.afterRead(found: 1, snapshot: Self.idle, cause: .rung, now: now) == .disarm { isAwake = true }
            // Pokes and timers are no rings.
            _ = bell.afterRead(found: 0, snapshot: Self.idle, cause: .poked, now: now)
            if isAwake { break }
        }
        #expect(isAwake == isWoken)
    }

    @Test func aBurstWhileFallingAsleepWakesAgain() {
        var bell = Doorbell(seed: 1)
        _ = bell.connected(canListen: true, now: 0)
        _ = bell.armed(barrier: 50, now: 0)
        var last = Doorbell.Action.wait(0)
        for number in 1...10 as ClosedRange<Int64> {
            last = bell.afterRead(found: 1, snapshot: Snapshot.of("10:60:10"), cause: .rung, now: number)
        }
        #expect(last == .disarm)
    }

    @Test(arguments: [(0, 1), (2, 1), (3, 0), (100, 0)])
    func itStaysAwakeOnlyWhileReadsFindSomething(finds: Int, sleeps: Int) {
        var now: Int64 = 0
        var bell = Self.awake(now: &now)
        var armed = 0
        for number in 0..<125 {
            now += 2 * Self.millisecond
            let found = number < finds ? 1 : 0
            let isBusy = min(number + 1, finds) >= 20
            switch bell.afterRead(found: found, snapshot: Self.idle, cause: .timer, now: now) {
            case .arm: armed += 1
            case let action: #expect(action == .pause((isBusy ? 1 : 2) * Self.millisecond))
            }
        }
        #expect(armed == sleeps)
    }

    @Test func whatABackstopFindsIsAMissOnlyIfNobodyRingsForIt() {
        let second = 1000 * Self.millisecond
        // The ring was on its way.
        var bell = Self.sleeper()
        #expect(bell.afterRead(found: 1, snapshot: Self.idle, cause: .timer, now: 3 * second) == .wait(second))
        _ = bell.afterRead(found: 0, snapshot: Self.idle, cause: .rung, now: 3 * second + 1)
        _ = bell.afterRead(found: 0, snapshot: Self.idle, cause: .timer, now: 6 * second)
        #expect(bell.misses == 0)
        // It never came: counted once, and the row is written again.
        #expect(bell.afterRead(found: 1, snapshot: Self.idle, cause: .timer, now: 9 * second) == .wait(second))
        _ = bell.afterRead(found: 0, snapshot: Self.idle, cause: .poked, now: 9 * second + 1)
        #expect(bell.misses == 0)
        #expect(bell.afterRead(found: 0, snapshot: Self.idle, cause: .timer, now: 10 * second) == .arm)
        #expect(bell.misses == 1)
        #expect(bell.mode == .fallingAsleep)
    }

    @Test func readsWhileFallingAsleepAreNoMisses() {
        var bell = Doorbell(seed: 1)
        _ = bell.connected(canListen: true, now: 0)
        _ = bell.armed(barrier: 50, now: 0)
        for number in 1...100 as ClosedRange<Int64> {
            let now = number * 50 * Self.millisecond
            _ = bell.afterRead(found: 1, snapshot: Snapshot.of("10:60:10"), cause: .timer, now: now)
        }
        #expect(bell.misses == 0)
    }

    @Test func withoutListenItPollsFasterUnderLoad() {
        var bell = Doorbell(seed: 1)
        #expect(bell.connected(canListen: false, now: 0) == .disarm)
        #expect(bell.disarmed(now: 0) == .pause(0))
        var waits: [Int64] = []
        for found in [1, 0, 0, 0, 0, 0, 0, 5, 0] {
            guard case .pause(let wait) = bell.afterRead(found: found, snapshot: Self.idle, cause: .timer, now: 0)
            else {
                return #expect(Bool(false), "does not pause")
            }
            waits.append(wait / Self.millisecond)
        }
        #expect(waits == [10, 20, 40, 80, 160, 250, 250, 10, 20])
        #expect(bell.mode == .polling)
    }

    @Test func nodesDoNotReadInStep() {
        let backstops = (0..<50 as Range<UInt64>).map { seed in
            var bell = Doorbell(seed: seed)
            _ = bell.connected(canListen: true, now: 0)
            _ = bell.armed(barrier: 50, now: 0)
            return bell.afterRead(found: 0, snapshot: Self.idle, cause: .timer, now: 0)
        }
        #expect(Set(backstops).count > 40)
    }
}
