import Feed
import Testing

/// No order of what writers and nodes do leaves a committed change unread while everybody sleeps.
@Suite struct DoorbellModelTests {
    /// Time stands still, so that there are finitely many states; one ring, or two, are a burst.
    private static func timeless(burstReads: Int) -> Doorbell.Timing {
        var timing = Doorbell.Timing()
        timing.burstReads = burstReads
        timing.quietReads = 1
        timing.quietWindow = 0
        timing.backstop = 1...1
        return timing
    }

    struct Outcome {
        var states = 0
        var steps = 0
        var atRest = 0
        /// The shortest history that ends with a change overslept.
        var counterexample: [String]? = nil
    }

    /// Breadth first through every state that can be reached.
    static func explore(_ start: DoorbellModel, limit: Int = 2_000_000) -> Outcome {
        var outcome = Outcome()
        var seen: Set<DoorbellModel> = [start]
        var queue: [(model: DoorbellModel, parent: Int, label: String)] = [(start, -1, "")]
        var next = 0
        while next < queue.count, queue.count < limit {
            let model = queue[next].model
            if let (gateway, xid) = model.overslept {
                var history = ["node \(gateway) does not read \(xid)"]
                var index = next
                while index > 0 {
                    history.append(queue[index].label)
                    index = queue[index].parent
                }
                outcome.counterexample = history.reversed()
                break
            }
            if model.isAtRest { outcome.atRest += 1 }
            for step in model.steps {
                var after = model
                step.apply(&after)
                outcome.steps += 1
                if seen.insert(after).inserted { queue.append((after, next, step.label)) }
            }
            next += 1
        }
        outcome.states = queue.count
        #expect(queue.count < limit, "not all states were looked at")
        return outcome
    }

    struct Size: CustomTestStringConvertible {
        var writers: Int
        var gateways: Int
        var reconnects = 0
        var burstReads = 1
        let atLeast: Int

        var testDescription: String {
            "\(self.writers) writers, \(self.gateways) nodes, \(self.reconnects) reconnects, \(self.burstReads) a burst"
        }
    }

    @Test(arguments: [
        Size(writers: 1, gateways: 2, atLeast: 20_000),
        Size(writers: 2, gateways: 1, reconnects: 1, atLeast: 50_000),
        Size(writers: 2, gateways: 1, reconnects: 1, burstReads: 2, atLeast: 50_000),
    ])
    func nobodyOversleeps(size: Size) {
        let outcome = Self.explore(Self.model(size))
        #expect(outcome.counterexample == nil)
        #expect(outcome.states > size.atLeast)
        #expect(outcome.atRest > 100)
    }

    /// Each rule of the theory, broken: the model knows a history that needs it.
    @Test(arguments: [
        DoorbellModel.Rules(barrier: .missing),
        DoorbellModel.Rules(barrier: .snapshot),
        DoorbellModel.Rules(looksAfterWriting: false),
        DoorbellModel.Rules(repeatableReadAlwaysRings: false),
        DoorbellModel.Rules(discardsBeforeReading: false),
    ])
    func everyRuleIsNeeded(rules: DoorbellModel.Rules) {
        let outcome = Self.explore(Self.model(Size(writers: 2, gateways: 1, atLeast: 0), rules))
        #expect(outcome.counterexample != nil)
    }

    private static func model(_ size: Size, _ rules: DoorbellModel.Rules = .init()) -> DoorbellModel {
        DoorbellModel(
            rules: rules,
            writers: size.writers,
            gateways: size.gateways,
            reconnects: size.reconnects,
            timing: Self.timeless(burstReads: size.burstReads)
        )
    }

    // MARK: Larger than can be walked through

    /// Busy and quiet times with the clock running; then everybody finishes what they are at.
    private static func walk(seed: UInt64, _ rules: DoorbellModel.Rules = .init()) -> (isOverslept: Bool, turns: Int) {
        var random = SplitMix(seed: seed)
        var timing = Doorbell.Timing()
        timing.burstReads = 3
        timing.quietReads = 1
        timing.quietWindow = 30_000_000
        var model = DoorbellModel(rules: rules, writers: 5, gateways: 3, reconnects: 1, timing: timing)
        var turns = 0
        var modes = model.gateways.map(\.doorbell.mode)
        for number in 0..<400 {
            // Rings come fast, then hardly at all.
            let isQuiet = number / 100 % 2 == 1
            model.now += Int64.random(in: 0...(isQuiet ? 8_000_000 : 1_000_000), using: &random)
            for index in model.writers.indices where model.writers[index].phase == .done {
                if random.chance(isQuiet ? 3 : 40) { model.writers[index] = DoorbellModel.Writer() }
            }
            guard let step = model.steps.randomElement(using: &random) else { break }
            step.apply(&model)
            if model.overslept != nil { return (true, turns) }
            let now = model.gateways.map(\.doorbell.mode)
            turns += zip(modes, now).count { $0 != $1 }
            modes = now
        }
        model.reconnects = 0
        for _ in 0..<4000 where !model.isAtRest {
            model.now += 1_000_000
            model.steps.randomElement(using: &random)?.apply(&model)
            if model.overslept != nil { return (true, turns) }
        }
        return (!model.isAtRest, turns)
    }

    @Test func manyWritersAndNodesAtRandom() {
        var turns = 0
        for seed in 0..<200 as Range<UInt64> {
            let outcome = Self.walk(seed: seed)
            turns += outcome.turns
            if outcome.isOverslept {
                Issue.record("seed \(seed)")
                return
            }
        }
        #expect(turns > 1000)
    }

    @Test(arguments: [
        DoorbellModel.Rules(barrier: .missing), DoorbellModel.Rules(repeatableReadAlwaysRings: false),
    ])
    func chanceFindsWhatABrokenRuleAllows(rules: DoorbellModel.Rules) {
        #expect((0..<1000 as Range<UInt64>).contains { Self.walk(seed: $0, rules).isOverslept })
    }
}
