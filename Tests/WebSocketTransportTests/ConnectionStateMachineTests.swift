import NIOCore
import NIOWebSocket
import Testing

@testable import WebSocketTransport

@Suite struct ConnectionStateMachineTests {
    private let start = NIODeadline.uptimeNanoseconds(0)

    private func at(_ seconds: Int64) -> NIODeadline { self.start + .seconds(seconds) }

    private func machine(
        isServer: Bool = true,
        _ change: (inout WebSocketConnection.Configuration) -> Void = { _ in }
    ) -> TestMachine {
        TestMachine(isServer: isServer, now: self.start, change)
    }

    // MARK: Outbound

    @Test func writesThroughWhileWritable() {
        let machine = self.machine()
        for _ in 0..<100 {
            #expect(machine.send("0123456789", now: self.start) == "write 0123456789")
        }
        #expect(machine.queuedBytes == 0)
    }

    @Test func queuesInOrderUpToTheLimitInBytes() {
        let machine = self.machine()
        #expect(!machine.writabilityChanged(to: false, now: self.start))
        #expect(machine.send("01234567", now: self.start) == "queued")
        #expect(machine.send("abcdefgh", now: self.start) == "queued")
        #expect(machine.queuedBytes == 20)
        let drains = machine.writabilityChanged(to: true, now: self.start)
        #expect(drains)
        // Behind what is queued even while the socket takes more.
        #expect(machine.nextQueued() == "write 01234567")
        #expect(machine.send("z", now: self.start) == "queued")
        #expect(machine.nextQueued() == "write abcdefgh")
        #expect(machine.nextQueued() == "write z")
        #expect(machine.nextQueued() == "drained")
        #expect(machine.queuedBytes == 0)
        #expect(machine.send("y", now: self.start) == "write y")
    }

    @Test func drainingStopsWhenTheSocketIsFullAgain() {
        let machine = self.machine()
        machine.writabilityChanged(to: false, now: self.start)
        _ = machine.send("a", now: self.start)
        _ = machine.send("b", now: self.start)
        machine.writabilityChanged(to: true, now: self.start)
        #expect(machine.nextQueued() == "write a")
        machine.writabilityChanged(to: false, now: self.start)
        #expect(machine.nextQueued() == "wait")
    }

    @Test func overflowClosesWithoutTheQueue() {
        let machine = self.machine()
        machine.writabilityChanged(to: false, now: self.start)
        _ = machine.send("0123456789abcdefg", now: self.start)
        #expect(machine.send("x", now: self.start) == "close 4000 slow_consumer awaitPeer +0")
        #expect(!machine.isOpen)
        #expect(machine.queuedBytes == 0)
        #expect(machine.send("x", now: self.start) == "drop")
    }

    @Test func stallIsTimed() {
        let machine = self.machine { $0.stallTimeout = .seconds(3) }
        machine.writabilityChanged(to: false, now: self.at(10))
        // Told again: the clock goes on.
        machine.writabilityChanged(to: false, now: self.at(12))
        #expect(machine.nextDeadline == self.at(13))
        #expect(machine.tick(now: self.at(12)) == "none")
        #expect(machine.tick(now: self.at(13)) == "close 4000 slow_consumer awaitPeer +0")
    }

    @Test func writableAgainInTime() {
        let machine = self.machine { $0.stallTimeout = .seconds(3) }
        machine.writabilityChanged(to: false, now: self.at(10))
        machine.writabilityChanged(to: true, now: self.at(12))
        #expect(machine.nextDeadline == nil)
        #expect(machine.tick(now: self.at(13)) == "none")
    }

    // MARK: Life signs

    @Test func pingsAreAnsweredOrTheConnectionEnds() {
        let machine = self.machine {
            $0.pingInterval = .seconds(25)
            $0.pongTimeout = .seconds(20)
        }
        #expect(machine.nextDeadline == self.at(25))
        #expect(machine.tick(now: self.at(24)) == "none")
        #expect(machine.tick(now: self.at(25)) == "ping")
        #expect(machine.nextDeadline == self.at(45))
        #expect(machine.frameReceived(.masked(.pong, ""), now: self.at(26)).name == "none")
        #expect(machine.nextDeadline == self.at(50))
        #expect(machine.tick(now: self.at(50)) == "ping")
        #expect(machine.tick(now: self.at(70)) == "close 4002 pong_timeout awaitPeer +0")
    }

    @Test func anyFrameIsALifeSign() {
        let machine = self.machine { $0.pingInterval = .seconds(25) }
        #expect(machine.tick(now: self.at(25)) == "ping")
        #expect(machine.frameReceived(.masked(.text, "x"), now: self.at(26)).name == "deliver x")
        #expect(machine.tick(now: self.at(45)) == "none")
    }

    @Test func aFullSocketIsNotPinged() {
        let machine = self.machine {
            $0.pingInterval = .seconds(25)
            $0.stallTimeout = .seconds(100)
        }
        machine.writabilityChanged(to: false, now: self.start)
        #expect(machine.tick(now: self.at(25)) == "none")
        #expect(machine.nextDeadline == self.at(50))
    }

    @Test func idleTimeoutCountsFramesOnly() {
        let machine = self.machine { $0.idleTimeout = .seconds(60) }
        #expect(machine.frameReceived(.masked(.ping, ""), now: self.at(50)).name == "pong ")
        #expect(machine.tick(now: self.at(109)) == "none")
        #expect(machine.tick(now: self.at(110)) == "close 4002 idle_timeout awaitPeer +0")
    }

    @Test func silenceIsNoSignWhileReadingIsPaused() {
        let machine = self.machine { $0.idleTimeout = .seconds(60) }
        machine.readingPaused(true, now: self.at(10))
        #expect(machine.nextDeadline == nil)
        // The rest of the read that paused it.
        #expect(machine.frameReceived(.masked(.text, "x"), now: self.at(10)).name == "deliver x")
        #expect(machine.nextDeadline == nil)
        machine.readingPaused(false, now: self.at(1000))
        #expect(machine.nextDeadline == self.at(1060))
    }

    // MARK: Pings of the peer

    @Test func onlyTheLastPingIsOwedAPong() {
        let machine = self.machine()
        #expect(machine.frameReceived(.masked(.ping, "a"), now: self.start).name == "pong a")
        machine.writabilityChanged(to: false, now: self.start)
        for payload in ["b", "c", "d"] {
            #expect(machine.frameReceived(.masked(.ping, payload), now: self.start).name == "none")
        }
        machine.writabilityChanged(to: true, now: self.start)
        #expect(machine.nextQueued() == "pong d")
        #expect(machine.nextQueued() == "drained")
    }

    // MARK: Closing

    @Test func ourCloseWaitsForThePeers() {
        let machine = self.machine()
        let close = machine.closeRequested(1001, "bye", now: self.at(1))
        #expect(close?.name == "close 1001 bye awaitPeer +0")
        #expect(close?.reason == CloseReason(initiator: .local, code: 1001, reason: "bye"))
        #expect(machine.closeRequested(1000, "", now: self.at(1)) == nil)
        #expect(machine.nextDeadline == self.at(6))
        #expect(machine.frameReceived(.masked(.text, "late"), now: self.at(2)).name == "none")
        #expect(machine.tick(now: self.at(5)) == "none")
        #expect(machine.frameReceived(.masked(.connectionClose, ""), now: self.at(5)).name == "disconnect")
        #expect(machine.tick(now: self.at(6)) == "disconnect")
        #expect(machine.channelClosed() == nil)
        #expect(machine.nextDeadline == nil)
    }

    @Test("A disconnect that takes its time, as TLS does with a silent peer, is asked for once")
    func disconnectingHasNoDeadline() {
        let machine = self.machine()
        _ = machine.closeRequested(1001, "", now: self.start)
        #expect(machine.tick(now: self.at(5)) == "disconnect")
        #expect(machine.nextDeadline == nil)
        #expect(machine.tick(now: self.at(6)) == "none")
    }

    @Test func ourCloseComesAfterTheQueue() {
        let machine = self.machine()
        machine.writabilityChanged(to: false, now: self.start)
        _ = machine.send("a", now: self.start)
        _ = machine.send("b", now: self.start)
        let close = machine.closeRequested(1001, "", now: self.start)
        #expect(close?.name == "close 1001  awaitPeer +2")
    }

    @Test func thePeersCloseIsEchoed() {
        let machine = self.machine()
        let action = machine.frameReceived(.masked(.connectionClose, bytes: [0x0F, 0xA1, 0x78]), now: self.start)
        #expect(action.name == "close 4001  disconnect +0")
        guard case .close(let close) = action else { return }
        #expect(close.reason == CloseReason(initiator: .peer, code: 4001, reason: "x"))
        #expect(machine.frameReceived(.masked(.text, "late"), now: self.start).name == "none")
        #expect(machine.send("a", now: self.start) == "drop")
    }

    @Test func anEmptyCloseIsAnsweredEmpty() {
        let machine = self.machine()
        let action = machine.frameReceived(.masked(.connectionClose, ""), now: self.start)
        #expect(action.name == "close none disconnect +0")
        guard case .close(let close) = action else { return }
        #expect(close.reason == CloseReason(initiator: .peer, code: 1005, reason: ""))
    }

    @Test func aClientLeavesTCPToTheServer() {
        let machine = self.machine(isServer: false)
        let frame = WebSocketFrame(fin: true, opcode: .connectionClose, data: ByteBuffer(bytes: [0x03, 0xE8]))
        #expect(machine.frameReceived(frame, now: self.start).name == "close 1000  awaitPeer +0")
        #expect(machine.tick(now: self.at(5)) == "disconnect")
    }

    @Test func violationsAreAnsweredOnce() {
        let machine = self.machine()
        let action = machine.frameReceived(.masked(.continuation, "x"), now: self.start)
        let expected = "close 1002 continuation frame without a message to continue shutdownOutput +0"
        #expect(action.name == expected)
        #expect(machine.frameReceived(.masked(.continuation, "x"), now: self.start).name == "none")
        #expect(machine.decodingFailed(now: self.start) == nil)
    }

    @Test func losingTheChannelIsReportedOnce() {
        let machine = self.machine()
        #expect(machine.channelClosed() == CloseReason(initiator: .transport, code: 1006, reason: "connection lost"))
        #expect(machine.channelClosed() == nil)
        #expect(machine.send("a", now: self.start) == "drop")
        #expect(machine.tick(now: self.at(100)) == "none")
        #expect(machine.closeRequested(1000, "", now: self.start) == nil)
        #expect(!machine.writabilityChanged(to: true, now: self.start))
    }
}
