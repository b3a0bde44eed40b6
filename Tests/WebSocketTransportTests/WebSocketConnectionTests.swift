import NIOCore
import NIOEmbedded
import NIOWebSocket
import Testing

@testable import WebSocketTransport

@Suite struct WebSocketConnectionTests {
    private func text(_ text: String) -> OutboundFrame { .text(ByteBuffer(string: text)) }

    @Test func answersOfOneReadLeaveWithOneFlush() throws {
        let peer = try EmbeddedPeer()
        peer.session.onText = { connection, text in connection.send(.text(text)) }
        try peer.send(frames: [(.text, "a"), (.ping, "p"), (.text, "b")])
        #expect(try peer.sent() == ["text a", "pong p", "text b"])
        #expect(peer.wire.flushes == 1)
        #expect(peer.session.events == ["opened", "text a", "text b"])
        _ = try peer.channel.finish()
    }

    @Test func nothingLeavesBeforeAFlush() throws {
        let peer = try EmbeddedPeer()
        peer.connection.send(self.text("a"))
        peer.connection.send(self.text("b"))
        #expect(try peer.sent().isEmpty)
        peer.connection.flush()
        peer.connection.flush()
        #expect(try peer.sent() == ["text a", "text b"])
        #expect(peer.wire.flushes == 1)
        _ = try peer.channel.finish()
    }

    @Test func aFullSocketQueuesUntilItIsWritable() throws {
        let peer = try EmbeddedPeer()
        peer.setWritable(false)
        peer.connection.send(self.text("a"))
        peer.connection.send(self.text("b"))
        peer.connection.flush()
        #expect(try peer.sent().isEmpty)
        #expect(peer.connection.queuedBytes == 6)
        peer.setWritable(true)
        #expect(try peer.sent() == ["text a", "text b"])
        #expect(peer.connection.queuedBytes == 0)
        #expect(peer.session.events == ["opened", "drained"])
        _ = try peer.channel.finish()
    }

    @Test func aSlowReaderIsClosedButNotFromInsideSend() throws {
        let peer = try EmbeddedPeer { $0.maxQueuedBytes = 10 }
        peer.setWritable(false)
        peer.connection.send(self.text("12345678"))
        peer.connection.send(self.text("9"))
        #expect(!peer.connection.isOpen)
        #expect(peer.session.events == ["opened"])
        peer.channel.embeddedEventLoop.run()
        #expect(peer.session.events == ["opened", "closed local 4000"])
        #expect(try peer.sent() == ["close 4000"])
        #expect(peer.channel.isActive)
        peer.advance(seconds: 5)
        #expect(!peer.channel.isActive)
        #expect(peer.session.events.count == 2)
    }

    @Test func aStalledReaderIsClosed() throws {
        let peer = try EmbeddedPeer { $0.stallTimeout = .seconds(30) }
        peer.setWritable(false)
        peer.advance(seconds: 29)
        #expect(peer.connection.isOpen)
        peer.advance(seconds: 1)
        #expect(peer.session.events == ["opened", "closed local 4000"])
        _ = try peer.channel.finish()
    }

    @Test func aSilentPeerIsPingedAndClosed() throws {
        let peer = try EmbeddedPeer { $0.pingInterval = .seconds(25) }
        peer.advance(seconds: 25)
        #expect(try peer.sent() == ["ping"])
        peer.advance(seconds: 1)
        try peer.send(.pong, "")
        peer.advance(seconds: 24)
        #expect(try peer.sent() == ["ping"])
        peer.advance(seconds: 19)
        #expect(peer.connection.isOpen)
        peer.advance(seconds: 1)
        #expect(try peer.sent() == ["close 4002"])
        #expect(peer.session.events == ["opened", "closed local 4002"])
        peer.advance(seconds: 5)
        #expect(!peer.channel.isActive)
    }

    @Test func ourCloseEndsWithThePeers() throws {
        let peer = try EmbeddedPeer()
        peer.connection.close(code: 1001, reason: "draining")
        #expect(try peer.sent() == ["close 1001"])
        #expect(peer.channel.isActive)
        try peer.send(.text, "late")
        try peer.send(.connectionClose, "")
        #expect(!peer.channel.isActive)
        peer.channel.embeddedEventLoop.run()
        #expect(peer.session.events == ["opened", "closed local 1001"])
    }

    @Test func whatWasQueuedLeavesBeforeOurClose() throws {
        let peer = try EmbeddedPeer()
        peer.setWritable(false)
        peer.connection.send(self.text("a"))
        peer.connection.send(self.text("b"))
        peer.connection.close(code: 1001, reason: "")
        #expect(try peer.sent() == ["text a", "text b", "close 1001"])
        _ = try peer.channel.finish()
    }

    @Test func thePeersCloseIsEchoedAndTCPClosed() throws {
        let peer = try EmbeddedPeer()
        try peer.send(.connectionClose, "\u{0F}\u{21}bye")
        #expect(try peer.sent() == ["close 3873"])
        #expect(!peer.channel.isActive)
        #expect(peer.session.events == ["opened", "closed peer 3873"])
    }

    @Test(
        arguments: [
            ([0x81, 0xFF, 0, 0, 0, 0, 0, 1, 0, 1], "close 1009"),
            ([0x81, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0], "close 1009"),
            ([0x89, 0xFE, 0, 126, 0, 0, 0, 0], "close 1002"),
            ([0x09, 0x80, 0, 0, 0, 0], "close 1002"),
            ([0x81, 0x01, 0x61], "close 1002"),
            ([0xC1, 0x80, 0, 0, 0, 0], "close 1002"),
            ([0x81, 0x81, 0, 0, 0, 0, 0xFF], "close 1007"),
        ] as [([UInt8], String)]
    )
    func brokenBytesAreAnsweredAndTheRestIsThrownAway(bytes: [UInt8], expected: String) throws {
        let peer = try EmbeddedPeer()
        // The header alone condemns a frame that is too long.
        try? peer.send(bytes: bytes)
        #expect(try peer.sent() == [expected])
        #expect(peer.session.events == ["opened", "closed local \(expected.dropFirst(6))"])
        #expect(peer.wire.hasShutDownOutput)
        try? peer.send(bytes: bytes + bytes)
        #expect(try peer.sent().isEmpty)
        #expect(peer.session.events.count == 2)
        #expect(peer.channel.isActive)
        peer.advance(seconds: 5)
        #expect(!peer.channel.isActive)
    }

    @Test func aLostChannelIsReportedOnce() throws {
        let peer = try EmbeddedPeer { $0.pingInterval = .seconds(25) }
        _ = try peer.channel.finish()
        #expect(peer.session.events == ["opened", "closed transport 1006"])
        peer.connection.send(self.text("a"))
        peer.connection.flush()
        peer.connection.close(code: 1000, reason: "")
        peer.advance(seconds: 100)
        #expect(peer.session.events.count == 2)
        #expect(!peer.connection.isOpen)
    }

    @Test func halfClosureEndsTheConnection() throws {
        let peer = try EmbeddedPeer()
        peer.channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        #expect(!peer.channel.isActive)
        #expect(peer.session.events == ["opened", "closed transport 1006"])
    }

    @Test func errorsOfTheChannelCloseIt() throws {
        let peer = try EmbeddedPeer()
        peer.channel.pipeline.fireErrorCaught(ChannelError.inputClosed)
        #expect(!peer.channel.isActive)
        #expect(peer.session.events == ["opened", "closed transport 1006"])
    }

    @Test func shutdownIsTheSessionsDecision() throws {
        let peer = try EmbeddedPeer()
        peer.session.onDraining = { $0.close(code: 1001, reason: "") }
        peer.channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        peer.channel.embeddedEventLoop.run()
        #expect(try peer.sent() == ["close 1001"])
        #expect(peer.session.events == ["opened", "draining", "closed local 1001"])
        peer.channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        #expect(peer.session.events.count == 3)
        _ = try peer.channel.finish()
    }

    @Test func aChannelThatNeverOpensIsReportedToo() throws {
        let peer = try EmbeddedPeer(connect: false)
        #expect(peer.session.events.isEmpty)
        _ = try peer.channel.finish()
        #expect(peer.session.events == ["closed transport 1006"])
    }
}
