import Synchronization

/// All metrics of a process, by name; any thread may register, write and render.
package final class PrometheusRegistry: Sendable {
    typealias Labels = [(name: String, value: String)]

    private struct Family: Sendable {
        let kind: Exposition.Kind
        let help: String
        /// By their labels as text.
        var series: [String: any PrometheusSeries] = [:]
    }

    private struct State: Sendable {
        var families: [String: Family] = [:]
        var collectors: [@Sendable () -> Void] = []
    }

    /// Libraries may make labels of what peers send; beyond these bounds their metrics count, but are not shown.
    static let maximumFamilies = 500
    static let maximumSeries = 200

    private let state = Mutex(State())

    package init() {}

    // MARK: For our own table of metrics

    func counter(_ name: String, _ help: String, labels: Labels = []) -> PrometheusCounter {
        self.own(name, .counter, help, labels) { PrometheusCounter() }
    }

    /// - Parameter initial: `nil`: nothing is shown before the gauge is set.
    func gauge(_ name: String, _ help: String, labels: Labels = [], initial: Double? = nil) -> PrometheusGauge {
        self.own(name, .gauge, help, labels) { PrometheusGauge(initial) }
    }

    /// A counter that somebody else keeps, set to its value when the page is rendered.
    func total(_ name: String, _ help: String) -> PrometheusGauge {
        self.own(name, .counter, help, []) { PrometheusGauge(nil) }
    }

    func histogram(_ name: String, _ help: String, bounds: [Double]) -> PrometheusHistogram {
        self.own(name, .histogram, help, []) { PrometheusHistogram(bounds: bounds) }
    }

    /// Runs before each rendering, to set the gauges of what is only known by asking.
    func onRender(_ collect: @escaping @Sendable () -> Void) {
        self.state.withLock { $0.collectors.append(collect) }
    }

    private func own<Series: PrometheusSeries>(
        _ name: String,
        _ kind: Exposition.Kind,
        _ help: String,
        _ labels: Labels,
        make: () -> Series
    ) -> Series {
        guard let series = self.series(name, kind, help, labels, make: make) else {
            preconditionFailure("the metric \(name) is registered already, as something else")
        }
        return series
    }

    /// The one that is there already, or a new one; `nil` if the name is taken by another kind, or there is no room.
    func series<Series: PrometheusSeries>(
        _ name: String,
        _ kind: Exposition.Kind,
        _ help: String,
        _ labels: Labels,
        make: () -> Series
    ) -> Series? {
        let key = Exposition.labels(labels)
        return self.state.withLock { state in
            if state.families[name] == nil, state.families.count >= Self.maximumFamilies { return nil }
            var family = state.families[name] ?? Family(kind: kind, help: help)
            guard family.kind == kind else { return nil }
            if let series = family.series[key] { return series as? Series }
            guard family.series.count < Self.maximumSeries else { return nil }
            let series = make()
            family.series[key] = series
            state.families[name] = family
            return series
        }
    }

    func remove(_ series: AnyObject) {
        self.state.withLock { state in
            for (name, var family) in state.families {
                guard let key = family.series.first(where: { $0.value === series })?.key else { continue }
                family.series[key] = nil
                state.families[name] = family.series.isEmpty ? nil : family
                return
            }
        }
    }

    // MARK: The page

    func render() -> [UInt8] {
        // Outside of the lock: collectors take locks of their own.
        for collect in self.state.withLock({ $0.collectors }) { collect() }
        var page = Exposition()
        for (name, family) in self.state.withLock({ $0.families }).sorted(by: { $0.key < $1.key }) {
            page.beginFamily(name, family.kind, help: family.help)
            for (labels, series) in family.series.sorted(by: { $0.key < $1.key }) {
                series.render(name, labels, to: &page)
            }
        }
        return page.bytes
    }
}
