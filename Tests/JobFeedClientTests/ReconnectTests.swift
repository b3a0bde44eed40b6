import Testing

@testable import JobFeedClient

@Suite struct ReconnectTests {
    @Test func delaysDoubleUpToTheCap() {
        var backoff = Backoff()
        let delays = (0..<9).map { _ in backoff.next(random: 1) }
        #expect(delays == [0.5, 1, 2, 4, 8, 16, 20, 20, 20].map { Duration.seconds($0) })
        backoff.reset()
        #expect(backoff.next(random: 0.5) == .milliseconds(250))
    }

    @Test func jitterIsFull() {
        var backoff = Backoff()
        for _ in 0..<200 {
            #expect(backoff.next(random: 0) == .zero)
        }
    }

    @Test(arguments: [
        (Disconnection.lost("x"), Disconnection.Decision.retry(reason: "x", notBefore: .zero)),
        (.closed(code: 1001, reason: ""), .retry(reason: "closed by the server: 1001 going_away", notBefore: .zero)),
        (
            .closed(code: 4003, reason: "rate_limited: wait 12 s"),
            .retry(reason: "closed by the server: 4003 rate_limited: wait 12 s", notBefore: .seconds(12))
        ),
        (
            .closed(code: 4003, reason: "99999999999999999999"),
            .retry(reason: "closed by the server: 4003 99999999999999999999", notBefore: .zero)
        ),
        (.closed(code: 4123, reason: "new"), .retry(reason: "closed by the server: 4123 new", notBefore: .zero)),
        (
            .refusedUpgrade(status: 503, detail: "busy", retryAfter: .seconds(3)),
            .retry(reason: "the server answered HTTP 503: busy", notBefore: .seconds(3))
        ),
    ])
    func retries(end: Disconnection, decision: Disconnection.Decision) {
        #expect(end.decision == decision)
    }

    @Test(arguments: [
        (Disconnection.closed(code: 4501, reason: ""), JobFeedError.Code.unauthenticated),
        (.closed(code: 4508, reason: ""), .unauthenticated),
        (.closed(code: 4503, reason: ""), .forbidden),
        (.closed(code: 4504, reason: ""), .revoked),
        (.closed(code: 4509, reason: ""), .connectionRefused),
        (.closed(code: 4777, reason: ""), .connectionRefused),
        (.closed(code: 1008, reason: ""), .connectionRefused),
        (.refusedUpgrade(status: 401, detail: nil, retryAfter: nil), .unauthenticated),
        (.refusedUpgrade(status: 403, detail: nil, retryAfter: nil), .forbidden),
    ])
    func stops(end: Disconnection, code: JobFeedError.Code) {
        guard case .stop(let error) = end.decision else {
            Issue.record("\(end) is not final")
            return
        }
        #expect(error.code == code)
    }
}
