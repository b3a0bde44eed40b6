import Histogram

/// What was seen between `begin` and `end`.
struct Window {
    /// Microseconds from the change to here; up to ten minutes, to three digits.
    private var latency = Histogram<UInt32>(lowestDiscernibleValue: 1, highestTrackableValue: 600_000_000)
    private(set) var deliveries = 0
    var frames = 0
    var bytes = 0
    var closed = 0
    private var startedAt = Stamps.now()
    private var cpu = 0.0
    private var ownCPU = 0.0

    mutating func begin(_ servers: ServerProcesses) {
        self.latency.reset()
        (self.deliveries, self.frames, self.bytes, self.closed) = (0, 0, 0, 0)
        self.startedAt = Stamps.now()
        self.cpu = servers.cpuSeconds()
        self.ownCPU = ServerProcesses.ownCPUSeconds()
    }

    @inline(__always)
    mutating func delivered(after microseconds: UInt64) {
        self.deliveries += 1
        self.latency.record(min(max(microseconds, 1), 600_000_000))
    }

    /// The figures under their names.
    func figures(_ servers: ServerProcesses) -> [(String, Double)] {
        let cpu = servers.cpuSeconds() - self.cpu
        var figures: [(String, Double)] = [
            ("seconds", Double(Stamps.now() - self.startedAt) / 1e6),
            ("deliveries", Double(self.deliveries)), ("frames", Double(self.frames)), ("bytes", Double(self.bytes)),
            ("closed", Double(self.closed)), ("cpu_s", cpu),
            ("load_cpu_s", ServerProcesses.ownCPUSeconds() - self.ownCPU),
            ("rss_kb", Double(servers.residentKilobytes())),
        ]
        guard self.deliveries > 0 else { return figures }
        for (name, percentile) in [("p50_us", 50.0), ("p90_us", 90), ("p99_us", 99), ("p999_us", 99.9)] {
            figures.append((name, Double(self.latency.valueAtPercentile(percentile))))
        }
        figures.append(("max_us", Double(self.latency.max)))
        return figures
    }
}
