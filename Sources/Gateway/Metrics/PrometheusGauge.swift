import CoreMetrics
import Synchronization

/// A number that goes up and down; has no sample until it is known.
final class PrometheusGauge: PrometheusSeries, MeterHandler, RecorderHandler {
    private let current: Atomic<Double>

    /// - Parameter initial: `nil`: not known before the first ``set(_:)``.
    init(_ initial: Double?) {
        self.current = Atomic(initial ?? .nan)
    }

    var value: Double? {
        let value = self.current.load(ordering: .relaxed)
        return value.isNaN ? nil : value
    }

    func set(_ value: Int) { self.set(Double(value)) }
    func set(_ value: Int64) { self.set(Double(value)) }
    func set(_ value: Double) { self.current.store(value, ordering: .relaxed) }
    /// In seconds.
    func set(_ duration: Duration) { self.set(duration / .seconds(1)) }
    /// Nothing is known any more.
    func forget() { self.set(Double.nan) }

    func increment() { self.increment(by: 1) }
    func decrement() { self.increment(by: -1) }
    func decrement(by amount: Double) { self.increment(by: -amount) }

    func increment(by amount: Double) {
        var old = self.current.load(ordering: .relaxed)
        while true {
            let new = (old.isNaN ? 0 : old) + amount
            let result = self.current.weakCompareExchange(expected: old, desired: new, ordering: .relaxed)
            if result.exchanged { return }
            old = result.original
        }
    }

    func record(_ value: Int64) { self.set(value) }
    func record(_ value: Double) { self.set(value) }

    func render(_ name: String, _ labels: String, to page: inout Exposition) {
        if let value = self.value { page.sample(name, labels, Exposition.number(value)) }
    }
}
