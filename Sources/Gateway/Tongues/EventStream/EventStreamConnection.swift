import JobFeedProtocol
import NIOCore
import NIOHTTP1
import WebSocketTransport

#if canImport(Glibc)
import Glibc
#endif

/// Writes a session's events into the body of a response; sleeps on each HTTP connection until a request asks for it.
///
/// It stands before the handlers of HTTP: they have written the head, and nothing more goes through them.
final class EventStreamConnection: ChannelInboundHandler, ClientConnection {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// As long as a WebSocket may take no more.
    private static let stallTimeout = TimeAmount.seconds(30)
    /// How long the peer may take to take the last event.
    private static let closeTimeout = TimeAmount.seconds(5)

    let seat: ConnectionCensus.Seat
    private var context: ChannelHandlerContext?
    private var stream: (session: Session, tongue: EventStreamTongue)?
    private var stall: Scheduled<Void>?
    private var needsFlush = false
    private var isEnding = false

    init(seat: ConnectionCensus.Seat) {
        self.seat = seat
    }

    func install(on channel: any NIOCore.Channel) throws {
        let handlers = channel.pipeline.syncOperations
        try handlers.addHandler(self, position: .before(handlers.handler(type: HTTPResponseEncoder.self)))
    }

    static func find(on channel: any NIOCore.Channel) throws -> EventStreamConnection {
        try channel.pipeline.syncOperations.handler(type: EventStreamConnection.self)
    }

    /// The head of the response has been written; from now on the connection belongs to the session.
    func begin(_ session: Session, _ tongue: EventStreamTongue) throws {
        guard let context, context.channel.isActive, self.stream == nil else { return }
        if let options = context.channel.syncOptions {
            // Whoever has sent its request and closes is gone.
            try options.setOption(.allowRemoteHalfClosure, value: false)
            try options.setOption(.writeBufferWaterMark, value: .init(low: 32 << 10, high: 128 << 10))
            #if os(Linux)
            // There are no pings: a peer that has vanished is noticed when heartbeats are not acknowledged.
            try? options.setOption(.tcpOption(.init(rawValue: TCP_USER_TIMEOUT)), value: 45_000)
            #endif
        }
        self.stream = (session, tongue)
        // Spread: those who are cut together must not come back together.
        self.send(EventStreamText.retry(milliseconds: .random(in: 1000...3000)))
        session.opened(on: self)
    }

    // MARK: ClientConnection

    var queuedBytes: Int { (try? self.context?.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0 }

    func send(_ frame: OutboundFrame) {
        guard let context, !self.isEnding else { return }
        self.needsFlush = true
        context.write(self.wrapOutboundOut(frame.bytes), promise: nil)
    }

    func sendNow(_ frame: OutboundFrame) -> Bool {
        guard let context, !self.isEnding, !self.needsFlush, self.queuedBytes == 0 else { return false }
        context.writeAndFlush(self.wrapOutboundOut(frame.bytes), promise: nil)
        return true
    }

    func flush() {
        guard let context, !self.isEnding else { return }
        if self.needsFlush {
            self.needsFlush = false
            context.flush()
        }
        guard let (session, tongue) = self.stream, tongue.isOver, !session.isBehind else { return }
        self.end(CloseReason(initiator: .local, code: CloseCode.normal.rawValue, reason: CloseCode.normal.reason))
    }

    func close(code: UInt16, reason: String) {
        guard !self.isEnding else { return }
        self.send(EventStreamTongue.closing(code: code, reason: reason))
        self.end(CloseReason(initiator: .local, code: code, reason: reason))
    }

    private func end(_ reason: CloseReason) {
        guard let context else { return }
        self.isEnding = true
        // Only once the kernel has the bytes: closing throws away what is still waiting in the channel.
        context.writeAndFlush(self.wrapOutboundOut(EventStreamText.lastChunk.bytes)).assumeIsolated().whenComplete {
            _ in
            context.close(promise: nil)
        }
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.closeTimeout) { context.close(promise: nil) }
        self.report(reason)
    }

    /// Never from inside a call of the session.
    private func report(_ reason: CloseReason) {
        guard let (session, _) = self.stream else { return }
        self.stream = nil
        self.stall?.cancel()
        session.eventLoop.assumeIsolated().execute { session.closed(reason) }
    }

    // MARK: Events of the channel

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelInactive(context: ChannelHandlerContext) {
        self.report(CloseReason(initiator: .transport, code: 1006, reason: "connection lost"))
        context.fireChannelInactive()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if self.stream != nil {
            self.stall?.cancel()
            let loop = context.eventLoop.assumeIsolated()
            if context.channel.isWritable {
                loop.execute { self.stream?.session.drained() }
            } else {
                self.stall = loop.scheduleTask(in: Self.stallTimeout) { self.stream?.session.tooSlow() }
            }
        }
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent { self.stream?.session.draining() }
        context.fireUserInboundEventTriggered(event)
    }
}

@available(*, unavailable)
extension EventStreamConnection: Sendable {}
