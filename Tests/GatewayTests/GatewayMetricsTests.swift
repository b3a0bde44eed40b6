import Feed
import Testing
import WebSocketTransport

@testable import Gateway

struct GatewayMetricsTests {
    let registry = PrometheusRegistry()

    var lines: [Substring] { String(decoding: self.registry.render(), as: UTF8.self).split(separator: "\n") }

    /// https://prometheus.io/docs/practices/naming/
    @Test func namesFollowTheConventions() {
        let metrics = GatewayMetrics(self.registry)
        metrics.process.collect()
        for line in self.lines where line.hasPrefix("# TYPE ") {
            let parts = line.split(separator: " ")
            let name = parts[2]
            #expect(name.allSatisfy { $0 == "_" || ("a"..."z").contains($0) }, "\(name)")
            #expect(name.hasPrefix("jobfeed_") || name.hasPrefix("process_"), "\(name)")
            #expect(name.hasSuffix("_total") == (parts[3] == "counter"), "\(line)")
            #expect(!name.hasSuffix("_ms") && !name.hasSuffix("_milliseconds"), "\(name)")
        }
    }

    @Test func countersStartAtZero() {
        _ = GatewayMetrics(self.registry)
        #expect(self.lines.contains("jobfeed_backstop_finds_total 0"))
        #expect(self.lines.contains("jobfeed_disconnects_total{code=\"4000\",initiator=\"server\"} 0"))
        #expect(self.lines.contains("jobfeed_resumes_total{source=\"ring\",recovered=\"true\"} 0"))
        // What is not known is not 0.
        #expect(!self.lines.contains { $0.hasPrefix("jobfeed_log_bytes") })
    }

    @Test(arguments: [
        (CloseReason(initiator: .local, code: 4000, reason: ""), "code=\"4000\",initiator=\"server\""),
        (CloseReason(initiator: .local, code: 1002, reason: ""), "code=\"1002\",initiator=\"server\""),
        (CloseReason(initiator: .peer, code: 1000, reason: ""), "code=\"1000\",initiator=\"client\""),
        // A client cannot raise an alert, nor make labels.
        (CloseReason(initiator: .peer, code: 4000, reason: ""), "code=\"other\",initiator=\"client\""),
        (CloseReason(initiator: .peer, code: 3777, reason: ""), "code=\"other\",initiator=\"client\""),
        (CloseReason(initiator: .transport, code: 1006, reason: ""), "code=\"1006\",initiator=\"network\""),
    ])
    func disconnects(_ reason: CloseReason, _ labels: String) {
        let metrics = GatewayMetrics(self.registry)
        metrics.connectionOpened()
        metrics.connectionClosed(reason)
        let counted = self.lines.filter { $0.hasPrefix("jobfeed_disconnects_total") && !$0.hasSuffix(" 0") }
        #expect(counted == ["jobfeed_disconnects_total{\(labels)} 1"])
        #expect(self.lines.contains("jobfeed_connections 0"))
    }

    @Test func onlyOneStateHolds() {
        let metrics = GatewayMetrics(self.registry)
        metrics.doorbell.enter(.asleep)
        metrics.doorbell.enter(.awake)
        let states = self.lines.filter { $0.hasPrefix("jobfeed_doorbell_state{") }
        #expect(states.count == DoorbellState.allCases.count)
        #expect(states.filter { !$0.hasSuffix(" 0") } == ["jobfeed_doorbell_state{state=\"awake\"} 1"])
    }

    @Test func statusesAreFew() {
        let metrics = GatewayMetrics(self.registry)
        metrics.httpResponse(status: 401)
        metrics.httpResponse(status: 418)
        #expect(self.lines.contains("jobfeed_http_responses_total{status=\"401\"} 1"))
        #expect(self.lines.contains("jobfeed_http_responses_total{status=\"other\"} 1"))
    }

    @Test func aProgramsNameMayHoldAnything() {
        let fields = (3...52).map { String($0) }.joined(separator: " ")
        let stat = ProcessStat("17 (a b) R 9 (c)) \(fields)\n")
        #expect(stat?.threads == 20)
        #expect(stat?.startTicks == 22)
        #expect(stat?.virtualBytes == 23)
        #expect(stat?.residentPages == 24)
        #expect(ProcessStat("17 (a") == nil)
        #expect(ProcessStat.bootTime("cpu 1 2\nbtime 1700000000\nprocesses 5") == 1_700_000_000)
    }
}
