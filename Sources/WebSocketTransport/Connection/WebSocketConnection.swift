import DequeModule
package import NIOCore
package import NIOWebSocket

/// The one handler of an upgraded channel; everything about it happens on the channel's event loop.
package final class WebSocketConnection: ChannelInboundHandler, NIOScheduledCallbackHandler {
    package typealias InboundIn = WebSocketFrame
    package typealias OutboundOut = ByteBuffer

    private let isServer: Bool
    private let isDeflating: Bool
    private let shared: Shared<Configuration>
    private var machine: ConnectionStateMachine
    private var session: (any WebSocketSession)?
    private var context: ChannelHandlerContext?
    private var hasOpened = false
    private var direct = DirectSend(descriptor: nil)
    /// Something was written to NIO and not flushed.
    private var needsFlush = false
    /// How many calls of the session are on the stack.
    private var callDepth = 0
    private var timer: (callback: NIOScheduledCallback, deadline: NIODeadline)?

    package let eventLoop: any EventLoop

    var configuration: Configuration { self.shared.value }

    package convenience init(
        configuration: Configuration,
        session: any WebSocketSession,
        isServer: Bool = true,
        eventLoop: any EventLoop
    ) {
        self.init(configuration: Shared(configuration), session: session, isServer: isServer, eventLoop: eventLoop)
    }

    package init(
        configuration: Shared<Configuration>,
        session: any WebSocketSession,
        isServer: Bool = true,
        eventLoop: any EventLoop
    ) {
        self.isServer = isServer
        self.isDeflating = configuration.value.deflate != nil
        self.shared = configuration
        self.session = session
        self.eventLoop = eventLoop
        self.machine = ConnectionStateMachine(configuration: configuration, isServer: isServer, now: eventLoop.now)
    }

    /// Bytes that wait for the socket to take more.
    package var queuedBytes: Int { self.machine.queuedBytes }

    /// Whether the socket takes no more for now.
    package var isCongested: Bool { self.machine.isCongested }

    package var isOpen: Bool { self.context != nil && self.machine.isOpen }

    /// Writes or queues; nothing leaves before ``flush()`` or the end of the current read.
    package func send(_ frame: OutboundFrame) {
        guard let context = self.context else {
            return
        }
        self.callDepth += 1
        defer { self.callDepth -= 1 }
        let frame = self.isDeflating ? self.configuration.deflate.map(frame.deflated) ?? frame : frame
        if self.machine.isClear {
            return self.write(frame, context)
        }
        switch self.machine.send(frame, now: self.eventLoop.now) {
        case .write(let frame): self.write(frame, context)
        case .queued, .drop: break
        case .close(let close): self.run(close, context)
        }
    }

    /// Sends one frame past NIO and past this connection's own queue, for a fan-out that has no more for it.
    ///
    /// - Returns: `false`, with nothing done, when something waits before it or it cannot go this way.
    package func sendNow(_ frame: OutboundFrame) -> Bool {
        guard let context = self.context, !self.isDeflating, !self.needsFlush, self.direct.isEmpty,
            self.machine.isClear,
            context.channel.isActive, self.direct.append(frame.bytes)
        else {
            return false
        }
        if !self.direct.flush() {
            self.callDepth += 1
            defer { self.callDepth -= 1 }
            self.writeWhatWaits(context)
            self.flushIfNeeded(context)
        }
        return true
    }

    /// The same with a message of this connection alone, which a client masks.
    func send(text: ByteBuffer) {
        guard !self.isServer else {
            return self.send(.text(text))
        }
        var deflated: ByteBuffer?
        if let deflate = self.configuration.deflate, text.readableBytes >= deflate.thresholdBytes {
            deflated = DeflateCodec.current.deflate(text, windowBits: deflate.windowBits)
        }
        self.send(.encode(.text, deflated ?? text, maskingKey: .random(), isDeflated: deflated != nil))
    }

    package func flush() {
        guard let context = self.context else {
            return
        }
        self.callDepth += 1
        defer { self.callDepth -= 1 }
        self.flushIfNeeded(context)
    }

    /// Sends what is queued and a Close frame; the peer has `closeTimeout` to answer it.
    package func close(code: UInt16, reason: String) {
        guard let context = self.context else {
            return
        }
        self.callDepth += 1
        defer { self.callDepth -= 1 }
        let frame = CloseFrame(code: code, reason: reason)
        if let close = self.machine.closeRequested(frame, now: self.eventLoop.now) {
            self.run(close, context)
        }
    }

    /// Switches reading off and on; while it is off, silence of the peer is not held against it.
    func setReading(_ isReading: Bool) {
        guard let context = self.context else {
            return
        }
        self.machine.readingPaused(!isReading, now: self.eventLoop.now)
        self.rearmTimer()
        context.channel.setOption(.autoRead, value: isReading).whenComplete { _ in }
    }

    // MARK: Events of the channel

    package func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        self.eventLoop.preconditionInEventLoop()
        if context.channel.isActive {
            self.open(context)
        }
    }

    package func handlerRemoved(context: ChannelHandlerContext) {
        self.channelClosed()
        self.context = nil
    }

    package func channelActive(context: ChannelHandlerContext) {
        self.open(context)
        context.fireChannelActive()
    }

    package func channelInactive(context: ChannelHandlerContext) {
        self.channelClosed()
        context.fireChannelInactive()
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.machine.frameReceived(self.unwrapInboundIn(data), now: self.eventLoop.now) {
        case .none: break
        case .deliver(let text): self.session?.received(text: text)
        case .deliverBinary(let bytes): self.session?.received(binary: bytes)
        case .sendPong(let payload): self.write(self.encode(.pong, payload), context)
        case .close(let close): self.run(close, context)
        case .disconnect: context.close(promise: nil)
        }
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        self.flushIfNeeded(context)
        context.fireChannelReadComplete()
    }

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        if self.machine.writabilityChanged(to: context.channel.isWritable, now: self.eventLoop.now) {
            self.drain(context)
        }
        self.rearmTimer()
        context.fireChannelWritabilityChanged()
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent:
            if self.machine.isOpen {
                self.session?.draining()
                self.flushIfNeeded(context)
            }
        case ChannelEvent.inputClosed:
            context.close(promise: nil)
        default:
            break
        }
        context.fireUserInboundEventTriggered(event)
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case ByteToMessageDecoderError.dataReceivedInErrorState:
            // The decoder failed before and that was answered: the rest of the input is thrown away until the deadline.
            break
        case let error as NIOWebSocketError:
            let violation = ProtocolViolation(error, limit: self.configuration.maxMessageBytes)
            if let close = self.machine.decodingFailed(violation, now: self.eventLoop.now) {
                self.run(close, context)
            }
        default:
            context.close(promise: nil)
        }
    }

    package func handleScheduledCallback(eventLoop: some EventLoop) {
        self.timer = nil
        guard let context = self.context else {
            return
        }
        switch self.machine.tick(now: eventLoop.now) {
        case .none: break
        case .sendPing:
            self.write(self.encode(.ping, ByteBuffer()), context)
            self.flushIfNeeded(context)
        case .close(let close): self.run(close, context)
        case .disconnect: context.close(promise: nil)
        }
        self.rearmTimer()
    }

    // MARK: Actions

    private func open(_ context: ChannelHandlerContext) {
        guard !self.hasOpened else {
            return
        }
        self.hasOpened = true
        self.direct = DirectSend(descriptor: DirectSend.descriptor(of: context.channel))
        self.reopenDirect(context)
        _ = self.machine.writabilityChanged(to: context.channel.isWritable, now: self.eventLoop.now)
        self.rearmTimer()
        self.session?.opened(self)
        self.flushIfNeeded(context)
    }

    private func channelClosed() {
        self.timer?.callback.cancel()
        self.timer = nil
        if let reason = self.machine.channelClosed() {
            self.reportClosed(reason)
        }
    }

    private func write(_ frame: OutboundFrame, _ context: ChannelHandlerContext) {
        if self.direct.append(frame.bytes) {
            return
        }
        self.writeWhatWaits(context)
        self.needsFlush = true
        context.write(self.wrapOutboundOut(frame.bytes), promise: nil)
    }

    /// Gives to NIO what was meant to be sent directly.
    private func writeWhatWaits(_ context: ChannelHandlerContext) {
        while let bytes = self.direct.takeForNIO() {
            self.needsFlush = true
            context.write(self.wrapOutboundOut(bytes), promise: nil)
        }
    }

    private func flushIfNeeded(_ context: ChannelHandlerContext) {
        if !self.direct.isEmpty {
            if context.channel.isActive, self.direct.flush() {
                return
            }
            self.writeWhatWaits(context)
        }
        guard self.needsFlush else {
            return
        }
        self.needsFlush = false
        context.flush()
        self.reopenDirect(context)
    }

    private func reopenDirect(_ context: ChannelHandlerContext) {
        if let bytes = try? context.channel.syncOptions?.getOption(.bufferedWritableBytes) {
            self.direct.reopen(bytesInNIO: bytes)
        }
    }

    private func drain(_ context: ChannelHandlerContext) {
        while true {
            // A write can make the channel unwritable again, which is seen by the machine before the next turn.
            switch self.machine.nextQueued() {
            case .write(let frame):
                self.write(frame, context)
            case .sendPong(let payload):
                self.write(self.encode(.pong, payload), context)
            case .notifyDrained:
                self.flushIfNeeded(context)
                self.notify { $0.drained() }
                return
            case .wait:
                self.flushIfNeeded(context)
                return
            }
        }
    }

    private func run(_ close: ConnectionStateMachine.Close, _ context: ChannelHandlerContext) {
        self.writeWhatWaits(context)
        for frame in close.pending {
            self.write(frame, context)
        }
        let frame = self.encode(.connectionClose, close.frame?.payload ?? ByteBuffer())
        self.needsFlush = false
        switch close.after {
        case .awaitPeer:
            context.writeAndFlush(self.wrapOutboundOut(frame.bytes), promise: nil)
        case .disconnect, .shutdownOutput:
            // Only once the kernel has the bytes: closing throws away what is still waiting in the channel.
            let mode: CloseMode = close.after == .disconnect ? .all : .output
            context.writeAndFlush(self.wrapOutboundOut(frame.bytes)).assumeIsolated().whenComplete { _ in
                context.close(mode: mode, promise: nil)
            }
        }
        self.rearmTimer()
        self.reportClosed(close.reason)
    }

    private func reportClosed(_ reason: CloseReason) {
        self.notify { session in
            self.session = nil
            session.closed(reason)
        }
    }

    private func notify(_ body: @escaping (any WebSocketSession) -> Void) {
        if self.callDepth == 0 {
            self.session.map(body)
        } else {
            self.eventLoop.assumeIsolated().execute { self.session.map(body) }
        }
    }

    private func encode(_ opcode: WebSocketOpcode, _ payload: ByteBuffer) -> OutboundFrame {
        OutboundFrame.encode(opcode, payload, maskingKey: self.isServer ? nil : .random())
    }

    /// Deadlines mostly move later, so a timer that is early enough stays and is armed anew when it fires.
    private func rearmTimer() {
        guard self.context != nil, let deadline = self.machine.nextDeadline else {
            return
        }
        if let timer = self.timer {
            if timer.deadline <= deadline {
                return
            }
            timer.callback.cancel()
        }
        if let callback = try? self.eventLoop.assumeIsolated().scheduleCallback(at: deadline, handler: self) {
            self.timer = (callback, deadline)
        }
    }
}

@available(*, unavailable)
extension WebSocketConnection: Sendable {}

extension ProtocolViolation {
    fileprivate init(_ error: NIOWebSocketError, limit: Int) {
        switch error {
        case .invalidFrameLength: self = .tooBig(limit: limit)
        case .fragmentedControlFrame: self = .fragmentedControlFrame
        case .multiByteControlFrameLength: self = .longControlFrame
        }
    }
}
