import CoreMetrics
import Dispatch
import Testing

@testable import Gateway

/// The text that Prometheus reads, as its format 0.0.4 wants it.
struct PrometheusTests {
    let registry = PrometheusRegistry()

    var page: String { String(decoding: self.registry.render(), as: UTF8.self) }

    @Test func goldenPage() {
        // Registered in another order than shown.
        let wait = self.registry.histogram("wait_seconds", "Wait.", bounds: [0.001, 0.5, 2])
        let open = self.registry.gauge("open", "Open now.", initial: 0)
        let lost = self.registry.counter("closed_total", "Closed.", labels: [("code", "4000"), ("by", "server")])
        let gone = self.registry.counter("closed_total", "Closed.", labels: [("code", "1001"), ("by", "client")])
        _ = self.registry.gauge("unknown", "Not known yet.")
        wait.record(.milliseconds(1))
        wait.record(0.25, times: 3)
        wait.record(7)
        open.increment()
        open.increment()
        open.decrement()
        lost.increment(by: 2)
        gone.increment()
        #expect(
            self.page == """
                # HELP closed_total Closed.
                # TYPE closed_total counter
                closed_total{code="1001",by="client"} 1
                closed_total{code="4000",by="server"} 2
                # HELP open Open now.
                # TYPE open gauge
                open 1
                # HELP unknown Not known yet.
                # TYPE unknown gauge
                # HELP wait_seconds Wait.
                # TYPE wait_seconds histogram
                wait_seconds_bucket{le="0.001"} 1
                wait_seconds_bucket{le="0.5"} 4
                wait_seconds_bucket{le="2"} 4
                wait_seconds_bucket{le="+Inf"} 5
                wait_seconds_sum 7.751
                wait_seconds_count 5

                """
        )
    }

    @Test func escaping() {
        let value = "a\"b\\c\nd\r\ne"
        self.registry.counter("x_total", "one\\two\nthree \"four\"", labels: [("l", value)]).increment()
        #expect(
            self.page == "# HELP x_total one\\\\two\\nthree \"four\"\n# TYPE x_total counter\n"
                + "x_total{l=\"a\\\"b\\\\c\\nd\r\\ne\"} 1\n"
        )
    }

    @Test(arguments: [
        (0.0, "0"), (-3, "-3"), (0.1, "0.1"), (2.5e-05, "2.5e-05"), (1e18, "1000000000000000000"), (1e300, "1e+300"),
        (.infinity, "+Inf"), (-.infinity, "-Inf"), (.nan, "NaN"),
    ])
    func numbers(_ number: Double, _ text: String) {
        #expect(Exposition.number(number) == text)
    }

    @Test(
        arguments: [
            (999_999, [1, 1, 1]), (1_000_000, [1, 1, 1]), (1_000_001, [0, 1, 1]), (30_000_000, [0, 1, 1]),
            (30_000_001, [0, 0, 1]), (-5, [1, 1, 1]),
        ] as [(Int64, [Int])]
    )
    func bucketEdges(_ nanoseconds: Int64, _ counts: [Int]) {
        let histogram = self.registry.histogram("h", "h", bounds: [0.001, 0.03])
        histogram.recordNanoseconds(nanoseconds)
        let buckets = self.page.split(separator: "\n").filter { $0.hasPrefix("h_bucket") }
        #expect(buckets.map { $0.last == "1" ? 1 : 0 } == counts)
    }

    @Test func notANumberIsNotRecorded() {
        let histogram = self.registry.histogram("h", "h", bounds: [1])
        histogram.record(.nan)
        histogram.record(1, times: 0)
        #expect(self.page.contains("h_sum 0\nh_count 0"))
    }

    @Test func countersOnlyGrow() {
        let counter = self.registry.counter("c_total", "c")
        counter.increment(by: -4)
        counter.increment(by: 3)
        #expect(counter.value == 3)
    }

    @Test func concurrentWriters() {
        let counter = self.registry.counter("c_total", "c")
        let gauge = self.registry.gauge("g", "g", initial: 0)
        let histogram = self.registry.histogram("h", "h", bounds: [1, 2])
        DispatchQueue.concurrentPerform(iterations: 8) { worker in
            for _ in 0..<5000 {
                counter.increment()
                gauge.increment()
                gauge.decrement(by: 0.5)
                histogram.record(worker % 2 == 0 ? 1 : 2)
            }
            _ = self.registry.render()
        }
        #expect(counter.value == 40_000)
        #expect(gauge.value == 20_000)
        #expect(self.page.contains("h_bucket{le=\"1\"} 20000\nh_bucket{le=\"2\"} 40000\n"))
        #expect(self.page.contains("h_sum 60000\nh_count 40000\n"))
    }

    // MARK: Through swift-metrics

    @Test func librariesCountToo() {
        Counter(label: "http.requests", dimensions: [("b-c", "2"), ("a", "1")], factory: self.registry).increment(by: 2)
        Counter(label: "http.requests", dimensions: [("a", "1"), ("b-c", "2")], factory: self.registry).increment()
        Gauge(label: "9lives", factory: self.registry).record(8)
        Meter(label: "meter", factory: self.registry).increment(by: 1.5)
        Timer(label: "took", factory: self.registry).recordMilliseconds(40)
        Recorder(label: "batch", dimensions: [("le", "x")], factory: self.registry).record(3)
        let page = self.page
        for line in [
            "http_requests_total{a=\"1\",b_c=\"2\"} 3", "_9lives 8", "meter 1.5",
            "took_seconds_bucket{le=\"0.05\"} 1", "took_seconds_sum 0.04", "batch_count{exported_le=\"x\"} 1",
        ] {
            #expect(page.contains("\n\(line)\n"), "\(line)\n\(page)")
        }
    }

    @Test func aNameThatIsTakenIsNotShownTwice() {
        self.registry.counter("x_total", "x").increment()
        Meter(label: "x_total", factory: self.registry).set(7)
        #expect(self.page == "# HELP x_total x\n# TYPE x_total counter\nx_total 1\n")
    }

    @Test func labelsOfPeersAreBounded() {
        for number in 0..<10_000 {
            Counter(label: "c", dimensions: [("peer", "\(number)")], factory: self.registry).increment()
        }
        #expect(self.page.split(separator: "\n").count == 2 + PrometheusRegistry.maximumSeries)
    }

    @Test func destroyed() {
        let counter = Counter(label: "c", factory: self.registry)
        counter.increment()
        counter.destroy()
        #expect(self.page == "")
    }
}
