import NIOCore
import NIOPosix
import NIOSSL
import Testing

@testable import WebSocketTransport

#if os(Linux)
import Glibc

/// A server connection on a real socket without a handshake, and the bare socket of its peer.
private final class RealPeer {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let channel: any Channel
    let connection: NIOLoopBound<WebSocketConnection>
    let session: NIOLoopBound<RecordingSession>
    private let peer: CInt

    init(_ change: (inout WebSocketConnection.Configuration) -> Void = { _ in }) async throws {
        var ends: [CInt] = [-1, -1]
        let kind = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        #expect(socketpair(AF_UNIX, kind, 0, &ends) == 0)
        self.peer = ends[1]
        var configuration = WebSocketConnection.Configuration()
        configuration.pingInterval = nil
        change(&configuration)
        let settings = configuration
        let channel = try await ClientBootstrap(group: self.group).withConnectedSocket(ends[0]).get()
        let loop = channel.eventLoop
        (self.connection, self.session) = try await loop.submit {
            let session = RecordingSession()
            let connection = WebSocketConnection(configuration: settings, session: session, eventLoop: loop)
            try connection.install(on: channel)
            return (NIOLoopBound(connection, eventLoop: loop), NIOLoopBound(session, eventLoop: loop))
        }.get()
        self.channel = channel
    }

    deinit { close(self.peer) }

    func onLoop<Value: Sendable>(
        _ body: @escaping @Sendable (WebSocketConnection, RecordingSession) throws -> Value
    ) async throws -> Value {
        let (connection, session) = (self.connection, self.session)
        return try await self.channel.eventLoop.submit { try body(connection.value, session.value) }.get()
    }

    /// What is there by now.
    func receive() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        let count = recv(self.peer, &bytes, bytes.count, 0)
        return Array(bytes.prefix(max(0, count)))
    }

    /// Reads until the predicate holds.
    func receive(until isDone: ([UInt8]) -> Bool) async throws -> [UInt8] {
        var all: [UInt8] = []
        while !isDone(all) {
            all += self.receive()
            try await Task.sleep(for: .milliseconds(1))
        }
        return all
    }

    func shutdownPeer() { shutdown(self.peer, CInt(SHUT_RDWR)) }

    func stop() async throws {
        try? await self.channel.close().get()
        try await self.group.shutdownGracefully()
    }
}

extension [UInt8] {
    /// The payloads of whole unmasked frames, control frames by name.
    fileprivate var payloads: [String] {
        var payloads: [String] = []
        var bytes = ByteBuffer(bytes: self)
        while let opcode = bytes.readInteger(as: UInt8.self), let short = bytes.readInteger(as: UInt8.self) {
            var length = Int(short)
            if length == 126 { length = Int(bytes.readInteger(as: UInt16.self) ?? 0) }
            if length == 127 { length = Int(bytes.readInteger(as: UInt64.self) ?? 0) }
            guard let payload = bytes.readString(length: length) else { break }
            switch opcode & 0x0F {
            case 1: payloads.append(String(payload.prefix(8)))
            case 8: payloads.append("close")
            case 9: payloads.append("ping")
            default: payloads.append("opcode \(opcode & 0x0F)")
            }
        }
        return payloads
    }
}

@Suite(.serialized, .timeLimit(.minutes(1))) struct DirectConnectionTests {
    private static func numbered(_ number: Int, bytes: Int) -> OutboundFrame {
        let text = String(number)
        let padded = String(repeating: "0", count: 8 - text.count) + text
        return .text(ByteBuffer(string: padded + String(repeating: "x", count: bytes - 8)))
    }

    @Test func framesLeaveDuringTheFlushAndNotBefore() async throws {
        let peer = try await RealPeer()
        try await peer.onLoop { connection, _ in
            connection.send(Self.numbered(1, bytes: 10))
            connection.send(Self.numbered(2, bytes: 10))
        }
        #expect(peer.receive().isEmpty)
        try await peer.onLoop { connection, _ in connection.flush() }
        #expect(peer.receive().payloads == ["00000001", "00000002"])
        try await peer.stop()
    }

    @Test func aFrameIsSentNowOnlyWhenNothingWaitsBeforeIt() async throws {
        let peer = try await RealPeer { $0.maxQueuedBytes = .max }
        let isTaken = try await peer.onLoop { connection, _ in
            connection.send(Self.numbered(0, bytes: 10))
            let first = connection.sendNow(Self.numbered(1, bytes: 10))
            connection.flush()
            return [first, connection.sendNow(Self.numbered(1, bytes: 10))]
        }
        #expect(isTaken == [false, true])
        #expect(peer.receive().payloads == ["00000000", "00000001"])
        // Until the socket is full, and on.
        let count = 1000
        let refused = try await peer.onLoop { connection, _ in
            defer { connection.flush() }
            return (0..<count).filter { number in
                let frame = Self.numbered(number, bytes: 3000)
                let isTaken = connection.sendNow(frame)
                if !isTaken { connection.send(frame) }
                return !isTaken
            }.count
        }
        #expect(refused > 0 && refused < count)
        let total = count * Self.numbered(0, bytes: 3000).bytes.readableBytes
        let received = try await peer.receive { $0.count == total }
        #expect(received.payloads == (0..<count).map { String(String($0 + 100_000_000).dropFirst()) })
        try await peer.stop()
    }

    @Test(arguments: [200, 3000, 70_000])
    func orderIsKeptWhileASocketFillsAndDrains(bytes: Int) async throws {
        let peer = try await RealPeer { $0.maxQueuedBytes = .max }
        let count = 2_000_000 / bytes
        let last = count + 100
        let (hasQueued, total) = try await peer.onLoop { connection, _ in
            for number in 0..<count {
                connection.send(Self.numbered(number, bytes: bytes))
                if number % 3 == 0 { connection.flush() }
            }
            connection.flush()
            let frames = (0..<last).map { Self.numbered($0, bytes: $0 < count ? bytes : 100).bytes.readableBytes }
            return (connection.queuedBytes > 0, frames.reduce(0, +))
        }
        #expect(hasQueued)
        // More comes while NIO holds something, and some of it afterwards.
        var received: [UInt8] = []
        for number in count..<last {
            let isEarly = number < count + 50
            received += try await peer.receive { isEarly ? !$0.isEmpty : true }
            if number == count + 50 {
                let early = total - 50 * Self.numbered(0, bytes: 100).bytes.readableBytes - received.count
                received += try await peer.receive { $0.count == early }
            }
            try await peer.onLoop { connection, _ in
                connection.send(Self.numbered(number, bytes: 100))
                connection.flush()
            }
        }
        let left = total - received.count
        received += try await peer.receive { $0.count == left }
        #expect(received.payloads.compactMap { Int($0) } == Array(0..<last))
        #expect(try await peer.onLoop { connection, _ in connection.queuedBytes } == 0)
        #expect(try await peer.onLoop { _, session in Set(session.events) } == ["opened", "drained"])
        try await peer.stop()
    }

    @Test func aCloseComesAfterWhatWaits() async throws {
        let peer = try await RealPeer()
        try await peer.onLoop { connection, _ in
            connection.send(Self.numbered(1, bytes: 10))
            connection.flush()
            connection.send(Self.numbered(2, bytes: 10))
            connection.close(code: 1001, reason: "")
        }
        let received = try await peer.receive { $0.payloads.count == 3 }
        #expect(received.payloads == ["00000001", "00000002", "close"])
        try await peer.stop()
    }

    @Test func aReaderThatStopsIsClosedByTheStallTimer() async throws {
        let peer = try await RealPeer {
            $0.stallTimeout = .milliseconds(50)
            $0.closeTimeout = .milliseconds(50)
            $0.maxQueuedBytes = .max
        }
        try await peer.onLoop { connection, _ in
            for number in 0..<100 {
                connection.send(Self.numbered(number, bytes: 10_000))
                connection.flush()
            }
        }
        try await peer.channel.closeFuture.get()
        #expect(try await peer.onLoop { _, session in session.events } == ["opened", "closed local 4000"])
        try await peer.stop()
    }

    @Test func aLostPeerIsMetByTheNextSend() async throws {
        let peer = try await RealPeer()
        peer.shutdownPeer()
        try await peer.onLoop { connection, _ in
            connection.send(Self.numbered(1, bytes: 10))
            connection.flush()
        }
        try await peer.channel.closeFuture.get()
        #expect(try await peer.onLoop { _, session in session.events } == ["opened", "closed transport 1006"])
        try await peer.stop()
    }

    /// The kernel gives the number of a closed descriptor to whoever asks next.
    @Test func nothingIsSentToTheSocketThatGetsTheNumberNext() async throws {
        let peer = try await RealPeer()
        let channel = peer.channel
        let received: Int? = try await peer.onLoop { connection, session in
            connection.send(Self.numbered(1, bytes: 10))
            let descriptor = try #require(DirectSend.descriptor(of: channel))
            var received: Int?
            session.onClosed = {
                var ends: [CInt] = [-1, -1]
                guard socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &ends) == 0 else { return }
                // The number is free, unless another thread was faster.
                if !ends.contains(descriptor) { dup2(ends[0], descriptor) }
                connection.flush()
                var byte: UInt8 = 0
                received = recv(ends[ends[1] == descriptor ? 0 : 1], &byte, 1, CInt(MSG_DONTWAIT))
                for end in ends { close(end) }
            }
            channel.close(promise: nil)
            return received
        }
        #expect(received == -1)
        try await peer.stop()
    }

    @Test func withTLSEverythingGoesThroughIt() async throws {
        let peer = try await RealPeer()
        let context = try NIOSSLContext(configuration: .makeClientConfiguration())
        let channel = peer.channel
        let (before, after) = try await peer.onLoop { _, _ in
            let before = DirectSend.descriptor(of: channel)
            let handler = try NIOSSLClientHandler(context: context, serverHostname: nil)
            try channel.pipeline.syncOperations.addHandler(handler, position: .first)
            return (before, DirectSend.descriptor(of: channel))
        }
        #expect(before != nil)
        #expect(after == nil)
        try await peer.stop()
    }
}
#endif
