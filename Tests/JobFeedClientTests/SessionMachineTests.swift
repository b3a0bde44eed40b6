import Foundation
import JobFeedProtocol
import Testing

@testable import JobFeedClient

@Suite struct SessionMachineTests {
    /// A machine with a clock that only the test moves.
    private struct Bench {
        var machine = SessionMachine(maximumStepBytes: 1000, random: { 1 })
        var now = Moment(instant: .now, wall: Date(timeIntervalSince1970: 1_800_000_000))

        mutating func advance(_ seconds: Double) {
            self.now.instant += .seconds(seconds)
            self.now.wall += seconds
        }

        mutating func say(_ text: String, bytes: Int? = nil) throws -> [SessionMachine.Action] {
            let message = try ServerMessage(decoding: text)
            return self.machine.received(message, bytes: bytes ?? text.utf8.count, now: self.now)
        }

        mutating func tick() -> [SessionMachine.Action] { self.machine.ticked(isReading: true, now: self.now) }

        @discardableResult
        mutating func connect() throws -> [SessionMachine.Action] {
            #expect(self.machine.nextStep(now: self.now.instant).0 == .connect)
            self.machine.connected(token: "t", now: self.now.instant)
            return try self.say(#"{"type":"welcome","heartbeat_seconds":25,"expires_at":"2027-01-15T09:00:00Z"}"#)
        }

        /// Subscribed, connected, live at `c1` with row 1.
        static func live() throws -> (Bench, id: String) {
            var bench = Bench()
            let id = bench.machine.subscribed(SubscribeOptions(channel: "jobs"), now: bench.now.instant).id
            try bench.connect()
            _ = try bench.say(#"{"type":"subscribed","id":"s1","recovered":false}"#)
            _ = try bench.say(#"{"type":"snapshot","id":"s1","rows":[{"id":1}]}"#)
            _ = try bench.say(#"{"type":"live","id":"s1","cursor":"c1"}"#)
            return (bench, id)
        }
    }

    private func events(_ actions: [SessionMachine.Action]) -> [Event] {
        actions.compactMap { if case .deliver(_, let delivery) = $0 { delivery.event } else { nil } }
    }

    private func resume(_ actions: [SessionMachine.Action]) -> String?? {
        for case .send(.subscribe(let subscribe)) in actions {
            return subscribe.resume
        }
        return nil
    }

    @Test func parksUntilSomebodySubscribes() {
        var bench = Bench()
        #expect(bench.machine.nextStep(now: bench.now.instant).0 == .park)
        _ = bench.machine.subscribed(SubscribeOptions(channel: "jobs"), now: bench.now.instant)
        let (step, actions) = bench.machine.nextStep(now: bench.now.instant)
        #expect(step == .connect)
        #expect(self.events(actions) == [.connecting(attempt: 1)])
    }

    @Test func snapshotIsDeliveredWholeAtLive() throws {
        var bench = Bench()
        _ = bench.machine.subscribed(SubscribeOptions(channel: "jobs"), now: bench.now.instant)
        #expect(try bench.connect() == [.send(.subscribe(Subscribe(id: "s1", channel: "jobs")))])
        #expect(try bench.say(#"{"type":"subscribed","id":"s1","recovered":false}"#).isEmpty)
        #expect(try bench.say(#"{"type":"snapshot","id":"s1","rows":[{"id":1}]}"#).isEmpty)
        #expect(try bench.say(#"{"type":"snapshot","id":"s1","rows":[{"id":2}],"truncated":true}"#).isEmpty)
        let rows = ["1", "2"].map { ServerMessage.Row(key: $0, columns: ["id": .number($0)]) }
        #expect(
            self.events(try bench.say(#"{"type":"live","id":"s1","cursor":"c1"}"#))
                == [.snapshot(.init(rows: rows, truncated: true, cursor: "c1")), .live]
        )
    }

    @Test func aBatchIsDeliveredOnceWithItsCursor() throws {
        var (bench, _) = try Bench.live()
        let first = #"{"type":"changes","id":"s1","changes":[{"op":"update","key":"1","set":{"a":1}}]}"#
        let last = #"{"type":"changes","id":"s1","cursor":"c2","changes":[{"op":"update","key":"1","set":{"a":2}}]}"#
        #expect(try bench.say(first).isEmpty)
        let batch = Event.Batch(
            changes: [.update(key: "1", set: ["a": 1]), .update(key: "1", set: ["a": 2])],
            cursor: "c2"
        )
        #expect(self.events(try bench.say(last)) == [.changes(batch)])
    }

    @Test func halfABatchIsForgottenWithItsConnection() throws {
        var (bench, _) = try Bench.live()
        _ = try bench.say(#"{"type":"changes","id":"s1","changes":[{"op":"update","key":"1","set":{"a":1}}]}"#)
        let lost = bench.machine.disconnected(.lost("cut"), now: bench.now.instant)
        #expect(self.events(lost) == [.reconnecting(after: .milliseconds(500), reason: "cut")])
        bench.advance(1)
        #expect(self.resume(try bench.connect()) == "c1")
        _ = try bench.say(#"{"type":"subscribed","id":"s1","recovered":true}"#)
        let again = #"{"type":"changes","id":"s1","cursor":"c2","changes":[{"op":"update","key":"1","set":{"a":1}}]}"#
        let batch = Event.Batch(changes: [.update(key: "1", set: ["a": 1])], cursor: "c2")
        #expect(self.events(try bench.say(again)) == [.changes(batch)])
        #expect(self.events(try bench.say(#"{"type":"live","id":"s1","cursor":"c2"}"#)) == [.live])
    }

    @Test func resetSwapsAtLive() throws {
        var (bench, _) = try Bench.live()
        #expect(try bench.say(#"{"type":"reset","id":"s1","reason":"retention"}"#).isEmpty)
        #expect(try bench.say(#"{"type":"snapshot","id":"s1","rows":[]}"#).isEmpty)
        #expect(
            self.events(try bench.say(#"{"type":"live","id":"s1","cursor":"c9"}"#))
                == [.snapshot(.init(rows: [], cursor: "c9")), .live]
        )
    }

    @Test func heartbeatMovesTheCursor() throws {
        var (bench, id) = try Bench.live()
        #expect(try bench.say(#"{"type":"heartbeat","cursor":"c5"}"#) == [.moveCursor(id: id, to: "c5")])
        #expect(try bench.say(#"{"type":"heartbeat","cursor":"c5"}"#).isEmpty)
        _ = bench.machine.disconnected(.lost(""), now: bench.now.instant)
        bench.advance(1)
        #expect(self.resume(try bench.connect()) == "c5")
    }

    @Test func countsAreMerged() throws {
        var bench = Bench()
        _ = bench.machine.subscribed(SubscribeOptions(channel: "jobs#counts"), now: bench.now.instant)
        try bench.connect()
        _ = try bench.say(#"{"type":"snapshot","id":"s1","counts":{"a":3,"b":1}}"#)
        #expect(
            self.events(try bench.say(#"{"type":"live","id":"s1","cursor":"c1"}"#))
                == [.counts(["a": 3, "b": 1], cursor: "c1"), .live]
        )
        #expect(
            self.events(try bench.say(#"{"type":"changes","id":"s1","cursor":"c2","counts":{"a":2}}"#))
                == [.counts(["a": 2, "b": 1], cursor: "c2")]
        )
    }

    @Test func backoffGrowsUntilThirtySecondsOfLive() throws {
        var (bench, _) = try Bench.live()
        for expected in [0.5, 1.0, 2.0] {
            let actions = bench.machine.disconnected(.lost(""), now: bench.now.instant)
            #expect(self.events(actions) == [.reconnecting(after: .seconds(expected), reason: "")])
            bench.advance(expected)
            try bench.connect()
            _ = try bench.say(#"{"type":"live","id":"s1"}"#)
        }
        bench.advance(30)
        let actions = bench.machine.disconnected(.lost(""), now: bench.now.instant)
        #expect(self.events(actions) == [.reconnecting(after: .milliseconds(500), reason: "")])
    }

    @Test func silenceIsBehindThenDead() throws {
        var (bench, _) = try Bench.live()
        let heard = bench.now.wall
        bench.advance(49)
        #expect(bench.tick().isEmpty)
        bench.advance(1)
        let actions = bench.tick()
        #expect(actions.first == .send(.ping(id: "p")))
        #expect(self.events(actions) == [.behind(since: heard)])
        #expect(bench.tick().isEmpty)
        bench.advance(25)
        guard case .disconnect(.lost) = bench.tick().first else {
            Issue.record("a dead connection was kept")
            return
        }
    }

    @Test func anythingHeardEndsTheSilence() throws {
        var (bench, _) = try Bench.live()
        bench.advance(50)
        _ = bench.tick()
        #expect(self.events(try bench.say(#"{"type":"pong","id":"p"}"#)) == [.live])
        bench.advance(49)
        #expect(bench.tick().isEmpty)
    }

    @Test func aHeldUpReaderIsNotSilence() throws {
        var (bench, _) = try Bench.live()
        bench.advance(200)
        #expect(bench.machine.ticked(isReading: false, now: bench.now).isEmpty)
        #expect(bench.tick().isEmpty)
    }

    @Test func anOldViewIsBehind() throws {
        var (bench, _) = try Bench.live()
        // The server's clock: it says 2027-01-15T08:00:00Z, which is 0 s from ours.
        let old = #"{"type":"heartbeat","as_of":"2027-01-15T07:59:40Z","token_expires_in":3600}"#
        #expect(self.events(try bench.say(old)) == [.behind(since: Date(timeIntervalSince1970: 1_799_999_980))])
        #expect(try bench.say(old).isEmpty)
        let fresh = #"{"type":"heartbeat","as_of":"2027-01-15T08:00:00Z","token_expires_in":3600}"#
        #expect(self.events(try bench.say(fresh)) == [.live])
    }

    @Test func aWrongLocalClockIsNotALag() throws {
        var (bench, _) = try Bench.live()
        bench.now.wall += 7200
        let fresh = #"{"type":"heartbeat","as_of":"2027-01-15T08:00:00Z","token_expires_in":3600}"#
        #expect(try bench.say(fresh).isEmpty)
    }

    @Test func retryableRefusalIsAskedAgain() throws {
        var (bench, _) = try Bench.live()
        let refusal = #"{"type":"error","id":"s1","code":"unavailable","message":"later","retry":true}"#
        #expect(self.events(try bench.say(refusal)) == [.reconnecting(after: .milliseconds(500), reason: "later")])
        #expect(bench.tick().isEmpty)
        bench.advance(0.5)
        #expect(self.resume(bench.tick()) == "c1")
    }

    @Test func finalRefusalEndsTheSubscriptionAndTheIdleConnection() throws {
        var (bench, id) = try Bench.live()
        let refusal = #"{"type":"error","id":"s1","code":"invalid_filter","message":"no","retry":false}"#
        let error = JobFeedError(code: .init(rawValue: "invalid_filter"), message: "no")
        let actions = try bench.say(refusal)
        #expect(actions.first == .finish(id: id, error))
        #expect(actions.count == 2)
        #expect(bench.machine.disconnected(.lost(""), now: bench.now.instant).isEmpty)
        #expect(bench.machine.nextStep(now: bench.now.instant).0 == .park)
    }

    @Test func aTerminalCloseEndsEverySubscription() throws {
        var (bench, id) = try Bench.live()
        let other = bench.machine.subscribed(SubscribeOptions(channel: "jobs/1"), now: bench.now.instant).id
        let actions = bench.machine.disconnected(.closed(code: 4503, reason: "no"), now: bench.now.instant)
        let ids = actions.compactMap { if case .finish(let id, .some) = $0 { id } else { nil } }
        #expect(ids == [id, other])
    }

    @Test func aSubscriptionWithoutAnswerIsNotLeftDead() throws {
        var bench = Bench()
        _ = bench.machine.subscribed(SubscribeOptions(channel: "jobs"), now: bench.now.instant)
        try bench.connect()
        for _ in 0..<3 {
            bench.advance(20)
            _ = try bench.say(#"{"type":"heartbeat"}"#)
        }
        guard case .disconnect(.lost) = bench.tick().first else {
            Issue.record("a subscription without an answer was kept")
            return
        }
    }

    @Test func aStepTooLargeEndsItsSubscription() throws {
        var (bench, id) = try Bench.live()
        let actions = try bench.say(#"{"type":"changes","id":"s1","changes":[]}"#, bytes: 1001)
        guard case .finish(id, let error?)? = actions.first else {
            Issue.record("the step was kept")
            return
        }
        #expect(error.code == .stepTooLarge)
    }

    @Test func theTokenIsRenewedAheadOfItsExpiry() throws {
        var (bench, _) = try Bench.live()
        bench.advance(1)
        _ = try bench.say(#"{"type":"heartbeat","token_expires_in":90}"#)
        bench.advance(29)
        #expect(bench.tick().isEmpty)
        bench.advance(1)
        #expect(bench.tick() == [.fetchToken])
        #expect(bench.tick().isEmpty)
        #expect(bench.machine.tokenFetched("t", now: bench.now).isEmpty)
        bench.advance(15)
        #expect(bench.tick() == [.fetchToken])
        #expect(bench.machine.tokenFetched("u", now: bench.now) == [.send(.authenticate(id: "a", token: "u"))])
    }

    @Test func leavingClosesTheConnection() throws {
        var (bench, id) = try Bench.live()
        let other = bench.machine.subscribed(SubscribeOptions(channel: "jobs/1"), now: bench.now.instant).id
        #expect(bench.machine.unsubscribed(id) == [.send(.unsubscribe(id: id))])
        guard case .disconnect = bench.machine.unsubscribed(other).first else {
            Issue.record("the connection was kept for nobody")
            return
        }
    }
}
