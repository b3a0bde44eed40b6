/// Counters that differ in a label whose values are all known: each is there from the start, at 0.
struct LabelledCounters<Key: Hashable & Sendable>: Sendable {
    private let counters: [Key: PrometheusCounter]

    init(
        _ registry: PrometheusRegistry,
        _ name: String,
        _ help: String,
        keys: [Key],
        labels: (Key) -> PrometheusRegistry.Labels
    ) {
        var counters: [Key: PrometheusCounter] = [:]
        for key in keys { counters[key] = registry.counter(name, help, labels: labels(key)) }
        self.counters = counters
    }

    subscript(_ key: Key) -> PrometheusCounter? { self.counters[key] }

    func increment(_ key: Key, by amount: Int = 1) {
        self.counters[key]?.increment(by: amount)
    }
}

extension LabelledCounters where Key: CaseIterable & RawRepresentable<String> {
    init(_ registry: PrometheusRegistry, _ name: String, _ help: String, label: String) {
        self.init(registry, name, help, keys: Array(Key.allCases)) { [(label, $0.rawValue)] }
    }
}

/// Which one of several states holds: its gauge is 1 and the others are 0.
struct StateGauges<Key: Hashable & Sendable & CaseIterable & RawRepresentable<String>>: Sendable {
    private let gauges: [Key: PrometheusGauge]

    init(_ registry: PrometheusRegistry, _ name: String, _ help: String, label: String) {
        var gauges: [Key: PrometheusGauge] = [:]
        for key in Key.allCases { gauges[key] = registry.gauge(name, help, labels: [(label, key.rawValue)]) }
        self.gauges = gauges
    }

    /// Called by one thread at a time.
    func enter(_ state: Key) {
        for (key, gauge) in self.gauges { gauge.set(key == state ? 1 : 0) }
    }
}
