import NIOCore
import NIOPosix
import Testing

@testable import WebSocketTransport

/// Servers that answer a handshake with something else than they should.
@Suite(.timeLimit(.minutes(1))) struct CannedServerTests {
    private final class Canned: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer
        private let answer: String?

        init(_ answer: String?) { self.answer = answer }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            guard let answer = self.answer else { return }
            context.writeAndFlush(self.wrapOutboundOut(ByteBuffer(string: answer))).assumeIsolated().whenComplete { _ in
                context.close(promise: nil)
            }
        }
    }

    private func error(
        answer: String?,
        scheme: String = "ws",
        timeout: Duration = .seconds(10)
    ) async throws -> WebSocketClientError? {
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Canned(answer))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let port = try #require(server.localAddress?.port)
        let error: WebSocketClientError?
        do {
            _ = try await WebSocketClient.connect(
                url: "\(scheme)://127.0.0.1:\(port)/",
                group: MultiThreadedEventLoopGroup.singleton,
                connectTimeout: timeout
            )
            error = nil
        } catch let caught {
            error = caught
        }
        try await server.close().get()
        return error
    }

    @Test(arguments: [
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "",
        "HTTP/1.1 101 Switching",
    ])
    func notAWebSocket(answer: String) async throws {
        let error = try #require(try await self.error(answer: answer))
        guard case .handshakeInvalid = error else {
            Issue.record("\(error)")
            return
        }
    }

    @Test(arguments: [
        ("Retry-After: 7\r\n", 7), ("Retry-After: 70000\r\n", nil), ("Retry-After: -1\r\n", nil),
        ("Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n", nil), ("", nil),
    ])
    func howLongToWait(header: String, seconds: Int?) async throws {
        let answer = "HTTP/1.1 503 Busy\r\n\(header)Content-Length: 0\r\n\r\n"
        guard case .status(503, _, let retryAfter, _) = try await self.error(answer: answer) else {
            Issue.record("not a status")
            return
        }
        #expect(retryAfter == seconds.map { .seconds($0) })
    }

    @Test func bodiesAreCut() async throws {
        let answer = "HTTP/1.1 503 Busy\r\nContent-Length: 100000\r\n\r\n" + String(repeating: "x", count: 100_000)
        guard case .status(let code, _, _, let body) = try await self.error(answer: answer) else {
            Issue.record("not a status")
            return
        }
        #expect(code == 503)
        #expect(body == [UInt8](repeating: 0x78, count: 16 << 10))
    }

    @Test func aBodyWithoutLengthEndsWithTheConnection() async throws {
        let error = try await self.error(answer: "HTTP/1.1 404 Not Found\r\n\r\nno feed here")
        guard case .status(404, _, _, let body) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(body == Array("no feed here".utf8))
    }

    @Test func silenceTimesOut() async throws {
        let error = try await self.error(answer: nil, timeout: .milliseconds(50))
        guard case .timeout(_, _, .milliseconds(50)) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test func aPlainServerIsNoTLSServer() async throws {
        let error = try await self.error(answer: "HTTP/1.1 400 Bad Request\r\n\r\n", scheme: "wss")
        guard case .tls(host: "127.0.0.1", _) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test func nobodyListens() async throws {
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .bind(host: "127.0.0.1", port: 0).get()
        let port = try #require(server.localAddress?.port)
        try await server.close().get()
        await #expect(throws: WebSocketClientError.refused(host: "127.0.0.1", port: port)) {
            _ = try await WebSocketClient.connect(
                url: "ws://127.0.0.1:\(port)",
                group: MultiThreadedEventLoopGroup.singleton
            )
        }
    }

    @Test func unknownNames() async throws {
        // RFC 6761 section 6.4: "invalid" never resolves.
        do {
            _ = try await WebSocketClient.connect(
                url: "ws://feed.invalid",
                group: MultiThreadedEventLoopGroup.singleton
            )
            Issue.record("connected")
        } catch {
            guard case .nameNotResolved(host: "feed.invalid", _) = error else {
                Issue.record("\(error)")
                return
            }
        }
    }
}
