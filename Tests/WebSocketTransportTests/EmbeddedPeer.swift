import NIOCore
import NIOEmbedded
import NIOWebSocket
import Testing

@testable import WebSocketTransport

/// A server connection in an `EmbeddedChannel`, fed with bytes and read frame by frame.
final class EmbeddedPeer {
    /// Counts flushes, since each is a system call, and stands in for the half closure that `EmbeddedChannel` lacks.
    final class Wire: ChannelOutboundHandler {
        typealias OutboundIn = ByteBuffer
        var flushes = 0
        var hasShutDownOutput = false

        func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
            if mode == .output {
                self.hasShutDownOutput = true
                promise?.succeed()
            } else {
                context.close(mode: mode, promise: promise)
            }
        }

        func flush(context: ChannelHandlerContext) {
            self.flushes += 1
            context.flush()
        }
    }

    let channel = EmbeddedChannel()
    let session = RecordingSession()
    let wire = Wire()
    let connection: WebSocketConnection

    init(connect: Bool = true, _ change: (inout WebSocketConnection.Configuration) -> Void = { _ in }) throws {
        var configuration = WebSocketConnection.Configuration()
        configuration.pingInterval = nil
        change(&configuration)
        self.connection = WebSocketConnection(
            configuration: configuration,
            session: self.session,
            eventLoop: self.channel.eventLoop
        )
        try self.channel.pipeline.syncOperations.addHandler(self.wire)
        try self.connection.install(on: self.channel)
        if connect {
            try self.channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        }
    }

    deinit {
        // A closed pipeline takes itself apart on the next turn of its loop.
        self.channel.embeddedEventLoop.run()
    }

    func send(_ opcode: WebSocketOpcode, _ text: String) throws {
        try self.send(frames: [(opcode, text)])
    }

    /// All in one read.
    func send(frames: [(WebSocketOpcode, String)]) throws {
        var bytes = ByteBuffer()
        for (opcode, text) in frames {
            bytes.writeImmutableBuffer(
                OutboundFrame.encode(opcode, ByteBuffer(string: text), maskingKey: [1, 2, 3, 4]).bytes
            )
        }
        try self.send(bytes: Array(bytes.readableBytesView))
    }

    func send(bytes: [UInt8]) throws {
        try self.channel.writeInbound(ByteBuffer(bytes: bytes))
    }

    func setWritable(_ isWritable: Bool) {
        self.channel.isWritable = isWritable
        self.channel.pipeline.fireChannelWritabilityChanged()
    }

    /// What left since the last call: opcode and payload of each frame, close codes in decimal.
    func sent() throws -> [String] {
        var frames: [String] = []
        while let bytes = try self.channel.readOutbound(as: ByteBuffer.self) {
            var bytes = bytes
            let first = bytes.readInteger(as: UInt8.self) ?? 0
            switch bytes.readInteger(as: UInt8.self) {
            case 126: bytes.moveReaderIndex(forwardBy: 2)
            case 127: bytes.moveReaderIndex(forwardBy: 8)
            default: break
            }
            switch first & 0x0F {
            case 1 where first & 0x40 != 0:
                let text = try DeflateCodec.current.inflate(bytes, limit: 1 << 20)
                frames.append("deflated text \(String(buffer: text))")
            case 1: frames.append("text \(String(buffer: bytes))")
            case 8: frames.append("close \(bytes.readInteger(as: UInt16.self) ?? 0)")
            case 9: frames.append("ping")
            case 10: frames.append("pong \(String(buffer: bytes))")
            default: frames.append("opcode \(first & 0x0F)")
            }
        }
        return frames
    }

    func advance(seconds: Int64) {
        self.channel.embeddedEventLoop.advanceTime(by: .seconds(seconds))
    }
}
