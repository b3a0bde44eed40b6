import NIOCore
import NIOHTTP1
import NIOPosix
import WebSocketTransport

#if canImport(Glibc)
import Glibc
#else
import Darwin
#endif

/// Sends every message back: the peer that the conformance tests of `WebSocketTransport` talk to. Prints its port.
@main
struct EchoServer {
    /// The largest case of the test suite sends 16 MiB in one message.
    private static let limitBytes = 64 << 20

    static func main() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let server = try await ServerBootstrap(group: group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try Self.install(on: channel) }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        print(server.localAddress?.port ?? 0)
        // A pipe gets nothing before its buffer is full.
        fflush(nil)
        // Whoever started this closes its input to end it.
        while readLine() != nil {}
    }

    private static func install(on channel: any Channel) throws {
        let upgrader = Upgrader<Void>(
            // As many of the test cases as possible get a compressed answer.
            deflate: PerMessageDeflate(thresholdBytes: 1),
            decide: { channel, _ in channel.eventLoop.makeSucceededFuture(HTTPHeaders()) },
            install: { channel, _, deflate in
                channel.eventLoop.makeCompletedFuture {
                    var configuration = WebSocketConnection.Configuration()
                    configuration.maxMessageBytes = Self.limitBytes
                    configuration.maxQueuedBytes = Self.limitBytes
                    configuration.keepsBinary = true
                    configuration.deflate = deflate
                    try WebSocketConnection(
                        configuration: configuration,
                        session: EchoSession(),
                        eventLoop: channel.eventLoop
                    ).install(on: channel)
                }
            }
        )
        var pipeline = NIOUpgradableHTTPServerPipelineConfiguration(
            upgradeConfiguration: .init(
                upgraders: [upgrader],
                notUpgradingCompletionHandler: { $0.close() }
            )
        )
        pipeline.enablePipelining = false
        _ = try channel.pipeline.syncOperations.configureUpgradableHTTPServerPipeline(configuration: pipeline)
    }
}

private final class EchoSession: WebSocketSession {
    private var connection: WebSocketConnection?

    func opened(_ connection: WebSocketConnection) { self.connection = connection }
    func received(text: ByteBuffer) { self.connection?.send(.text(text)) }
    func received(binary: ByteBuffer) { self.connection?.send(.binary(binary)) }
    func receivedBinary() {}
    func draining() {}
    func closed(_ reason: CloseReason) { self.connection = nil }
}
