import CoreMetrics
import Synchronization

/// How often a value fell into each of some fixed ranges. Recording is an atomic addition and one exchange.
final class PrometheusHistogram: PrometheusSeries, RecorderHandler, TimerHandler {
    private final class Cell: Sendable {
        let count = Atomic<Int64>(0)
    }

    /// From 100 µs, which a commit takes at best, to 30 s, which is an outage.
    static let latencySeconds: [Double] = [
        0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
    ]
    static let sizes: [Double] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 20_000, 100_000]

    private let bounds: [Double]
    /// One for each bound, and one for what is larger than all.
    private let cells: [Cell]
    private let sum = Atomic<Double>(0)

    /// - Parameter bounds: upper ends of the ranges, themselves included, in rising order.
    init(bounds: [Double]) {
        precondition(zip(bounds, bounds.dropFirst()).allSatisfy(<), "the buckets \(bounds) do not rise")
        self.bounds = bounds
        self.cells = (0...bounds.count).map { _ in Cell() }
    }

    /// - Parameter times: how often this value occurred: one call for all receivers of a frame.
    func record(_ value: Double, times: Int) {
        guard !value.isNaN, times > 0 else { return }
        var index = 0
        while index < self.bounds.count, value > self.bounds[index] { index += 1 }
        self.cells[index].count.wrappingAdd(Int64(clamping: times), ordering: .relaxed)
        var old = self.sum.load(ordering: .relaxed)
        while true {
            let new = old + value * Double(times)
            let result = self.sum.weakCompareExchange(expected: old, desired: new, ordering: .relaxed)
            if result.exchanged { return }
            old = result.original
        }
    }

    func record(_ value: Int) { self.record(Double(value), times: 1) }
    func record(_ value: Int64) { self.record(Double(value), times: 1) }
    func record(_ value: Double) { self.record(value, times: 1) }
    /// In seconds.
    func record(_ duration: Duration, times: Int = 1) { self.record(duration / .seconds(1), times: times) }
    // Divided, not multiplied by 1e-9, which is no Double: a whole millisecond is not above its own bound.
    func recordNanoseconds(_ duration: Int64) { self.record(Double(duration) / 1e9, times: 1) }

    func render(_ name: String, _ labels: String, to page: inout Exposition) {
        let prefix = labels.isEmpty ? "" : labels + ","
        var total: Int64 = 0
        for (bound, cell) in zip(self.bounds + [.infinity], self.cells) {
            total += cell.count.load(ordering: .relaxed)
            page.sample(name + "_bucket", prefix + "le=\"\(Exposition.number(bound))\"", String(total))
        }
        page.sample(name + "_sum", labels, Exposition.number(self.sum.load(ordering: .relaxed)))
        // Of what was just added up: the last bucket and the count are the same number.
        page.sample(name + "_count", labels, String(total))
    }
}
