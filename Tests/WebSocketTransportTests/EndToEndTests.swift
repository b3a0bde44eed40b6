import NIOCore
import NIOHTTP1
import NIOPosix
import NIOWebSocket
import Synchronization
import Testing

@testable import WebSocketTransport

@Suite(.serialized, .timeLimit(.minutes(1))) struct EndToEndTests {
    private func connect(
        _ server: TestServer,
        _ path: String,
        _ change: (inout WebSocketClient.Configuration) -> Void = { _ in }
    ) async throws -> ClientWebSocket {
        var configuration = WebSocketClient.Configuration()
        change(&configuration)
        return try await WebSocketClient.connect(
            url: "http://127.0.0.1:\(server.port)",
            path: path,
            headers: [("Authorization", "Bearer x")],
            subprotocols: ["test.v1", "bearer.x"],
            configuration: configuration,
            group: server.group
        )
    }

    @Test func echo() async throws {
        let server = try await TestServer { $0.maxMessageBytes = 1 << 20 }
        let socket = try await self.connect(server, "/echo")
        #expect(socket.subprotocol == "test.v1")
        var messages = socket.messages.makeAsyncIterator()
        // Each length of header, both ways.
        for length in [0, 1, 125, 126, 65_535, 65_536, 300_000] {
            let text = String(repeating: "é", count: length / 2) + String(repeating: "x", count: length % 2)
            try await socket.send(text: text)
            let answer = await messages.next()
            #expect(answer?.bytes.count == length)
            #expect(answer?.text == text)
        }
        await socket.close(code: 4999, reason: "done")
        #expect(await messages.next() == nil)
        #expect(socket.closeReason == CloseReason(initiator: .local, code: 4999, reason: "done"))
        var closed = server.closed.makeAsyncIterator()
        #expect(await closed.next() == CloseReason(initiator: .peer, code: 4999, reason: "done"))
        await #expect(throws: WebSocketClientError.self) { try await socket.send(text: "late") }
        try await server.stop()
    }

    @Test(arguments: [true, false], [true, false])
    func compressionIsAgreedOn(byServer: Bool, byClient: Bool) async throws {
        let counts = Mutex<[Int]>([])
        let server = try await TestServer {
            $0.maxMessageBytes = 1 << 20
            $0.deflate =
                byServer
                ? PerMessageDeflate(thresholdBytes: 100) { plain, _ in counts.withLock { $0.append(plain) } } : nil
        }
        let socket = try await self.connect(server, "/echo") {
            $0.deflate = byClient ? PerMessageDeflate(thresholdBytes: 100) : nil
        }
        var messages = socket.messages.makeAsyncIterator()
        for length in [0, 99, 100, 65_536, 500_000] {
            let text = String(repeating: "é", count: length / 2) + String(repeating: "x", count: length % 2)
            try await socket.send(text: text)
            #expect(await messages.next()?.text == text)
        }
        #expect(counts.withLock { $0 } == (byServer && byClient ? [102, 65_546, 500_010] : []))
        await socket.close()
        try await server.stop()
    }

    @Test func manyMessagesPassAConsumerThatLags() async throws {
        let server = try await TestServer()
        let socket = try await self.connect(server, "/echo") { $0.bufferedMessages = 2 }
        let sender = Task {
            for number in 0..<1000 { try await socket.send(text: "\(number)") }
        }
        var expected = 0
        for await message in socket.messages {
            #expect(message.text == "\(expected)")
            expected += 1
            if expected == 1000 { break }
        }
        #expect(expected == 1000)
        try await sender.value
        await socket.close()
        try await server.stop()
    }

    @Test(arguments: [("/close", 4503, "forbidden"), ("/echo", 1001, "bye")])
    func theServersCloseReachesTheClient(path: String, code: Int, reason: String) async throws {
        let server = try await TestServer()
        let socket = try await self.connect(server, path)
        try? await socket.send(text: "bye")
        for await _ in socket.messages {}
        #expect(socket.closeReason == CloseReason(initiator: .peer, code: UInt16(code), reason: reason))
        try await server.stop()
    }

    @Test func tooBigIsClosedWith1009() async throws {
        let server = try await TestServer { $0.maxMessageBytes = 1000 }
        let socket = try await self.connect(server, "/echo")
        // Far more than the server takes in: the Close frame must survive what stays unread.
        try? await socket.send(text: String(repeating: "x", count: 500_000))
        for await _ in socket.messages {}
        #expect(socket.closeReason?.initiator == .peer)
        #expect(socket.closeReason?.code == 1009)
        try await server.stop()
    }

    @Test func aSlowReaderIsClosedWhileOthersGoOn() async throws {
        let server = try await TestServer {
            $0.maxQueuedBytes = 256 << 10
            $0.closeTimeout = .seconds(1)
        }
        let slow = try await self.connect(server, "/flood") { $0.bufferedMessages = 1 }
        let other = try await self.connect(server, "/flood")
        let reader = Task { () -> Int in
            var count = 0
            for await _ in other.messages { count += 1 }
            return count
        }
        var closed = server.closed.makeAsyncIterator()
        #expect(await closed.next() == CloseReason(initiator: .local, code: 4000, reason: "slow_consumer"))
        #expect(other.closeReason == nil)
        await other.close()
        #expect(await reader.value > 100)
        #expect(other.closeReason?.initiator == .local)
        await slow.close()
        try await server.stop()
    }

    @Test func aRefusalCarriesItsBody() async throws {
        let server = try await TestServer()
        let expected = WebSocketClientError.status(
            code: 401,
            phrase: "Unauthorized",
            retryAfter: nil,
            body: Array(TestServer.problem.utf8)
        )
        await #expect(throws: expected) { _ = try await self.connect(server, "/refused") }
        try await server.stop()
    }

    @Test func anUnofferedSubprotocolIsRefused() async throws {
        let server = try await TestServer()
        await #expect(throws: WebSocketClientError.self) { _ = try await self.connect(server, "/unoffered") }
        do {
            _ = try await self.connect(server, "/unoffered")
        } catch {
            #expect("\(error)".contains("other.v1"))
        }
        try await server.stop()
    }

    @Test func headersCannotSmuggleOthers() async throws {
        await #expect(throws: WebSocketClientError.invalidHeader(name: "Authorization")) {
            _ = try await WebSocketClient.connect(
                url: "ws://127.0.0.1:1",
                headers: [("Authorization", "Bearer x\r\nX: y")],
                group: MultiThreadedEventLoopGroup.singleton
            )
        }
    }
}
