import Feed
import NIOCore
import Synchronization
import Testing

@testable import Gateway

struct ConnectionCensusTests {
    private func census(_ change: (inout ConnectionLimits) -> Void = { _ in }) -> ConnectionCensus {
        var limits = ConnectionLimits()
        change(&limits)
        return ConnectionCensus(limits: limits)
    }

    private func address(_ text: String) throws -> SocketAddress {
        try SocketAddress(ipAddress: text, port: 4711)
    }

    /// The seat of a new WebSocket, or why there is none.
    private func open(
        _ census: ConnectionCensus,
        _ user: ByteText?,
        from: String = "192.0.2.1"
    ) throws -> (seat: ConnectionCensus.Seat, refusal: ConnectionCensus.Refusal?) {
        let seat = try #require(census.enter(try self.address(from)))
        return (seat, census.refusal(of: seat) ?? census.upgrade(seat, user: user))
    }

    @Test func theTotalIsRefusedBeforeAnybodyIsKnown() throws {
        let census = self.census { $0.total = 2 }
        let first = try self.open(census, "a")
        #expect(first.refusal == nil)
        #expect(try self.open(census, nil).refusal == nil)
        let third = try #require(census.enter(nil))
        #expect(census.refusal(of: third) == .total)
        #expect(census.upgrade(third, user: "b") == .total)
        census.leave(first.seat)
        #expect(census.upgrade(third, user: "b") == nil)
        #expect(census.users == 1)
    }

    @Test func aUserIsCountedHoweverItSaysWhoItIs() throws {
        let census = self.census { $0.perUser = 2 }
        let first = try self.open(census, "a")
        let second = try self.open(census, nil)
        #expect(census.identify(second.seat, as: "a"))
        #expect(try self.open(census, "a").refusal == .user)
        let fourth = try self.open(census, nil)
        #expect(!census.identify(fourth.seat, as: "a"))
        // A refused one does not count, and may still be another.
        #expect(census.identify(fourth.seat, as: "b"))
        census.leave(first.seat)
        #expect(try self.open(census, "a").refusal == nil)
    }

    @Test func usersAreToldApartByBytes() throws {
        let census = self.census { $0.perUser = 1 }
        #expect(try self.open(census, "\u{e9}").refusal == nil)
        #expect(try self.open(census, "e\u{301}").refusal == nil)
        #expect(try self.open(census, "\u{e9}").refusal == .user)
    }

    @Test(arguments: [
        ("192.0.2.1", "192.0.2.1", true), ("192.0.2.1", "192.0.2.2", false),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true), ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
        ("::ffff:192.0.2.1", "192.0.2.1", true), ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
    ])
    func addressesOfOneHouseholdAreOne(first: String, second: String, isSame: Bool) throws {
        let census = self.census { $0.perAddress = 1 }
        let held = try self.open(census, "a", from: first)
        #expect(held.refusal == nil)
        #expect(try self.open(census, "b", from: second).refusal == (isSame ? .address : nil))
        census.leave(held.seat)
        #expect(try self.open(census, "a", from: first).refusal == nil)
    }

    @Test func handshakesAreRefusedAndThenNotEvenHeard() throws {
        let census = self.census { $0.handshakes = 2 }
        let waiting = try (0..<4).map { _ in try #require(census.enter(nil)) }
        #expect(census.enter(nil) == nil)
        #expect(census.refusal(of: waiting[0]) == .handshakes)
        census.becameHTTP(waiting[3])
        census.leave(waiting[2])
        #expect(census.refusal(of: waiting[0]) == nil)
        #expect(census.upgrade(waiting[0], user: nil) == nil)
    }

    @Test func whoeverLeavesTakesNothingTwice() throws {
        let census = self.census { $0.total = 3 }
        let seats = try (0..<3).map { _ in try self.open(census, "a").seat }
        for _ in 0..<3 { census.leave(seats[0]) }
        #expect(try self.open(census, "a").refusal == nil)
        #expect(try self.open(census, "a").refusal == .total)
        census.leave(seats[1])
        census.leave(seats[2])
        #expect(census.users == 1)
    }

    @Test(.timeLimit(.minutes(1))) func theLastToLeaveEndsTheWait() async throws {
        let census = self.census()
        await census.waitUntilEmpty()
        let seats = [try self.open(census, "a").seat, try self.open(census, nil).seat]
        let flag = Flag()
        let waiting = Task {
            await census.waitUntilEmpty()
            flag.isOver.withLock { $0 = true }
        }
        census.leave(seats[0])
        for _ in 0..<100 { await Task.yield() }
        #expect(!flag.isOver.withLock { $0 })
        census.leave(seats[1])
        await waiting.value
        #expect(flag.isOver.withLock { $0 })
    }

    private final class Flag: Sendable {
        let isOver = Mutex(false)
    }

    @Test(.timeLimit(.minutes(1))) func cancellationEndsTheWait() async throws {
        let census = self.census()
        _ = try self.open(census, "a")
        let waiting = Task { await census.waitUntilEmpty() }
        waiting.cancel()
        await waiting.value
    }
}
