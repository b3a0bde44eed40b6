package import CoreMetrics

/// Shows what libraries count through swift-metrics, under names that Prometheus allows.
extension PrometheusRegistry: MetricsFactory {
    package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        let name = Self.name(label)
        return self.series(
            name.hasSuffix("_total") ? name : name + "_total",
            .counter,
            label,
            Self.labels(dimensions),
            make: PrometheusCounter.init
        ) ?? PrometheusCounter()
    }

    package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        self.gauge(label, dimensions)
    }

    package func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        guard aggregate else { return self.gauge(label, dimensions) }
        return self.histogram(Self.name(label), label, dimensions, bounds: PrometheusHistogram.sizes)
    }

    package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        let name = Self.name(label)
        return self.histogram(
            name.hasSuffix("_seconds") ? name : name + "_seconds",
            label,
            dimensions,
            bounds: PrometheusHistogram.latencySeconds
        )
    }

    package func destroyCounter(_ handler: any CounterHandler) { self.remove(handler) }
    package func destroyMeter(_ handler: any MeterHandler) { self.remove(handler) }
    package func destroyRecorder(_ handler: any RecorderHandler) { self.remove(handler) }
    package func destroyTimer(_ handler: any TimerHandler) { self.remove(handler) }

    private func gauge(_ label: String, _ dimensions: [(String, String)]) -> PrometheusGauge {
        self.series(Self.name(label), .gauge, label, Self.labels(dimensions)) { PrometheusGauge(0) }
            ?? PrometheusGauge(0)
    }

    private func histogram(
        _ name: String,
        _ label: String,
        _ dimensions: [(String, String)],
        bounds: [Double]
    ) -> PrometheusHistogram {
        self.series(name, .histogram, label, Self.labels(dimensions)) { PrometheusHistogram(bounds: bounds) }
            ?? PrometheusHistogram(bounds: bounds)
    }

    /// `[a-zA-Z_:][a-zA-Z0-9_:]*`; labels have no colon.
    private static func name(_ text: String, allowingColon: Bool = true) -> String {
        let name = String(
            text.unicodeScalars.map { scalar in
                switch scalar {
                case "a"..."z", "A"..."Z", "0"..."9": Character(scalar)
                case ":" where allowingColon: ":"
                default: "_"
                }
            }
        )
        guard let first = name.unicodeScalars.first, !("0"..."9").contains(first) else { return "_" + name }
        return name
    }

    /// Sorted, so that one combination is one series; `le` belongs to histograms.
    private static func labels(_ dimensions: [(String, String)]) -> Labels {
        var named: [String: String] = [:]
        for (key, value) in dimensions {
            let name = Self.name(key, allowingColon: false)
            named[name == "le" ? "exported_le" : name] = value
        }
        return named.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
    }
}
