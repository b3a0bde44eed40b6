import CoreMetrics
import Synchronization

/// What a registry keeps of one combination of labels; any thread may write while another renders.
protocol PrometheusSeries: AnyObject, Sendable {
    func render(_ name: String, _ labels: String, to page: inout Exposition)
}

/// A number that only grows. Incrementing is one atomic addition.
final class PrometheusCounter: PrometheusSeries, CounterHandler {
    private let count = Atomic<Int64>(0)

    var value: Int64 { self.count.load(ordering: .relaxed) }

    func increment(by amount: Int = 1) { self.increment(by: Int64(clamping: amount)) }

    func increment(by amount: Int64) {
        guard amount > 0 else { return }
        self.count.wrappingAdd(amount, ordering: .relaxed)
    }

    func reset() { self.count.store(0, ordering: .relaxed) }

    func render(_ name: String, _ labels: String, to page: inout Exposition) {
        page.sample(name, labels, String(self.value))
    }
}
