import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

@testable import WebSocketTransport

/// A server on a free port: `/echo` echoes, `/flood` never stops sending, `/close` closes with 4503, `/unoffered` selects
/// a subprotocol of its own, anything else is refused with 401.
final class TestServer: Sendable {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
    let port: Int
    /// Of every session that ended, in order.
    let closed: AsyncStream<CloseReason>
    private let channel: any Channel

    static let problem = #"{"type":"about:blank","title":"no token","status":401}"#

    init(_ change: (inout WebSocketConnection.Configuration) -> Void = { _ in }) async throws {
        var configuration = WebSocketConnection.Configuration()
        change(&configuration)
        let settings = configuration
        let (closed, continuation) = AsyncStream.makeStream(of: CloseReason.self)
        self.closed = closed
        self.channel = try await ServerBootstrap(group: self.group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.socketOption(.so_sndbuf), value: 65_536)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try Self.install(on: channel, settings) { continuation.yield($0) }
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        self.port = self.channel.localAddress?.port ?? 0
    }

    private static func install(
        on channel: any Channel,
        _ configuration: WebSocketConnection.Configuration,
        closed: @escaping @Sendable (CloseReason) -> Void
    ) throws {
        let upgrader = Upgrader<Void>(
            deflate: configuration.deflate,
            decide: { channel, head in
                let paths = ["/echo", "/flood", "/close", "/unoffered"]
                guard paths.contains(head.uri) else { return channel.eventLoop.makeSucceededFuture(nil) }
                var headers = HTTPHeaders()
                if head.uri == "/unoffered" {
                    headers.add(name: "Sec-WebSocket-Protocol", value: "other.v1")
                } else if head.headers[canonicalForm: "Sec-WebSocket-Protocol"].contains("test.v1") {
                    headers.add(name: "Sec-WebSocket-Protocol", value: "test.v1")
                }
                return channel.eventLoop.makeSucceededFuture(headers)
            },
            install: { channel, head, deflate in
                channel.eventLoop.makeCompletedFuture {
                    let session = TestSession(path: head.uri, closed: closed)
                    var configuration = configuration
                    configuration.deflate = deflate
                    try WebSocketConnection(
                        configuration: configuration,
                        session: session,
                        eventLoop: channel.eventLoop
                    ).install(on: channel)
                }
            }
        )
        var pipeline = NIOUpgradableHTTPServerPipelineConfiguration(
            upgradeConfiguration: .init(
                upgraders: [upgrader],
                notUpgradingCompletionHandler: { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(RefusalHandler())
                    }
                }
            )
        )
        pipeline.enablePipelining = false
        pipeline.enableErrorHandling = false
        _ = try channel.pipeline.syncOperations.configureUpgradableHTTPServerPipeline(configuration: pipeline)
    }

    func stop() async throws {
        try await self.channel.close().get()
        try await self.group.shutdownGracefully()
    }
}

private final class TestSession: WebSocketSession {
    private let path: String
    private let onClosed: (CloseReason) -> Void
    private var connection: WebSocketConnection?

    init(path: String, closed: @escaping (CloseReason) -> Void) {
        self.path = path
        self.onClosed = closed
    }

    func opened(_ connection: WebSocketConnection) {
        self.connection = connection
        switch self.path {
        case "/close": connection.close(code: 4503, reason: "forbidden")
        case "/flood": self.flood()
        default: break
        }
    }

    /// 2 MB/s: more than a reader at rest can be sent, much less than one at work can take.
    private func flood() {
        guard let connection = self.connection, connection.isOpen else { return }
        connection.send(.text(ByteBuffer(repeating: 0x61, count: 4096)))
        connection.flush()
        connection.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(2)) { self.flood() }
    }

    func received(text: ByteBuffer) {
        if text.readableBytesView.elementsEqual("bye".utf8) {
            self.connection?.close(code: 1001, reason: "bye")
        } else {
            self.connection?.send(.text(text))
        }
    }

    func receivedBinary() { self.connection?.close(code: 4500, reason: "protocol_error") }

    func draining() {}

    func closed(_ reason: CloseReason) {
        self.connection = nil
        self.onClosed(reason)
    }
}

private final class RefusalHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .end = self.unwrapInboundIn(data) else { return }
        let body = TestServer.problem
        let headers = HTTPHeaders([
            ("Content-Type", "application/problem+json"), ("Content-Length", "\(body.utf8.count)"),
        ])
        let head = HTTPResponseHead(version: .http1_1, status: .unauthorized, headers: headers)
        context.write(self.wrapOutboundOut(.head(head)), promise: nil)
        context.write(self.wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: body)))), promise: nil)
        context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
    }
}
