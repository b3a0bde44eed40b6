import DequeModule
import NIOCore
import NIOWebSocket

/// Decides everything a connection does; its handler executes the actions and knows nothing.
struct ConnectionStateMachine: ~Copyable {
    private enum State: ~Copyable {
        /// Both sides talk. To `closing` by either side's Close, a violation or a timeout; to `closed` when TCP ends.
        case open(Open)
        /// Our Close is written. To `closed` when TCP ends; nothing but the peer's Close is looked at.
        case closing(Closing)
        case closed
    }

    private struct Open {
        var assembler: MessageAssembler
        var isWritable = true
        var queue = Deque<OutboundFrame>()
        var queuedBytes = 0
        /// RFC 6455 section 5.5.3: only the most recent ping needs an answer, so unanswered ones take no room.
        var owedPong: ByteBuffer?
        var isReadingPaused = false
        var stallDeadline: NIODeadline?
        var pingDeadline: NIODeadline?
        var pongDeadline: NIODeadline?
        var idleDeadline: NIODeadline?

        var isClear: Bool { self.isWritable && self.queue.isEmpty && self.owedPong == nil }

        var nextDeadline: NIODeadline? {
            [self.stallDeadline, self.pingDeadline, self.pongDeadline, self.idleDeadline].compactMap(\.self).min()
        }
    }

    private struct Closing {
        /// `nil` once it has passed: what disconnecting takes from there on (TLS waits for its peer) is not ours.
        var deadline: NIODeadline?
    }

    /// What follows a written Close frame.
    enum AfterClose: Equatable {
        case awaitPeer
        case disconnect
        /// Closing a socket with unread bytes resets it, and the peer may lose the Close frame: say FIN and keep reading.
        case shutdownOutput
    }

    struct Close {
        /// Frames accepted before the close, to be written whether or not the socket takes more.
        var pending = Deque<OutboundFrame>()
        let frame: CloseFrame?
        let after: AfterClose
        let reason: CloseReason
    }

    enum SendAction {
        case write(OutboundFrame)
        case queued
        case drop
        case close(Close)
    }

    enum DrainAction {
        case write(OutboundFrame)
        case sendPong(ByteBuffer)
        case notifyDrained
        case wait
    }

    enum FrameAction {
        case none
        case deliver(ByteBuffer)
        case deliverBinary(ByteBuffer)
        case sendPong(ByteBuffer)
        case close(Close)
        case disconnect
    }

    enum TickAction {
        case none
        case sendPing
        case close(Close)
        case disconnect
    }

    private let isServer: Bool
    private let shared: Shared<WebSocketConnection.Configuration>
    private var state: State

    private var configuration: WebSocketConnection.Configuration { self.shared.value }

    init(configuration: Shared<WebSocketConnection.Configuration>, isServer: Bool, now: NIODeadline) {
        self.isServer = isServer
        self.shared = configuration
        let configuration = configuration.value
        let assembler = MessageAssembler(
            isServer: isServer,
            maxMessageBytes: configuration.maxMessageBytes,
            keepsBinary: configuration.keepsBinary,
            inflates: configuration.deflate != nil
        )
        var open = Open(assembler: assembler)
        open.pingDeadline = configuration.pingInterval.map { now + TimeAmount($0) }
        open.idleDeadline = configuration.idleTimeout.map { now + TimeAmount($0) }
        self.state = .open(open)
    }

    var isOpen: Bool {
        switch self.state {
        case .open: true
        case .closing: false
        case .closed: false
        }
    }

    /// Whether ``send(_:now:)`` would let a frame through as it is.
    var isClear: Bool {
        switch self.state {
        case .open(let open): open.isClear
        case .closing: false
        case .closed: false
        }
    }

    var queuedBytes: Int {
        switch self.state {
        case .open(let open): open.queuedBytes
        case .closing: 0
        case .closed: 0
        }
    }

    var isCongested: Bool {
        switch self.state {
        case .open(let open): !open.isClear
        case .closing: false
        case .closed: false
        }
    }

    var nextDeadline: NIODeadline? {
        switch self.state {
        case .open(let open): open.nextDeadline
        case .closing(let closing): closing.deadline
        case .closed: nil
        }
    }

    mutating func send(_ frame: OutboundFrame, now: NIODeadline) -> SendAction {
        switch self.takeState() {
        case .open(var open):
            if open.isClear {
                self.state = .open(open)
                return .write(frame)
            }
            let bytes = frame.bytes.readableBytes
            if open.queuedBytes + bytes > self.configuration.maxQueuedBytes {
                return .close(self.startClosing(with: self.configuration.slowConsumer, now: now))
            }
            open.queue.append(frame)
            open.queuedBytes += bytes
            self.state = .open(open)
            return .queued
        case .closing(let closing):
            self.state = .closing(closing)
            return .drop
        case .closed:
            return .drop
        }
    }

    /// `true`: call ``nextQueued()`` until it has nothing more to write.
    mutating func writabilityChanged(to isWritable: Bool, now: NIODeadline) -> Bool {
        switch self.takeState() {
        case .open(var open):
            if open.isWritable != isWritable {
                open.isWritable = isWritable
                open.stallDeadline = isWritable ? nil : now + TimeAmount(self.configuration.stallTimeout)
            }
            self.state = .open(open)
            return isWritable
        case .closing(let closing):
            self.state = .closing(closing)
            return false
        case .closed:
            return false
        }
    }

    /// The next thing that waited for a writable socket.
    mutating func nextQueued() -> DrainAction {
        switch self.takeState() {
        case .open(var open):
            defer { self.state = .open(open) }
            guard open.isWritable else {
                return .wait
            }
            if let payload = open.owedPong.take() {
                return .sendPong(payload)
            }
            guard let frame = open.queue.popFirst() else {
                return .notifyDrained
            }
            open.queuedBytes -= frame.bytes.readableBytes
            if open.queue.isEmpty {
                // A queue that was once long would otherwise keep its storage for the life of the connection.
                open.queue = Deque()
            }
            return .write(frame)
        case .closing(let closing):
            self.state = .closing(closing)
            return .wait
        case .closed:
            return .wait
        }
    }

    mutating func frameReceived(_ frame: WebSocketFrame, now: NIODeadline) -> FrameAction {
        switch self.takeState() {
        case .open(var open):
            open.pongDeadline = nil
            if !open.isReadingPaused {
                open.idleDeadline = self.configuration.idleTimeout.map { now + TimeAmount($0) }
            }
            do throws(ProtocolViolation) {
                let event = try open.assembler.frameReceived(frame)
                return self.eventReceived(event, open, now: now)
            } catch {
                return .close(self.startClosing(with: error.closeFrame, after: .shutdownOutput, now: now))
            }
        case .closing(let closing):
            self.state = .closing(closing)
            return frame.opcode == .connectionClose && self.isServer ? .disconnect : .none
        case .closed:
            return .none
        }
    }

    private mutating func eventReceived(
        _ event: MessageAssembler.Event,
        _ open: consuming Open,
        now: NIODeadline
    ) -> FrameAction {
        let action: FrameAction
        switch event {
        case .incomplete, .pong:
            action = .none
        case .text(let text):
            action = .deliver(text)
        case .binary(let bytes):
            action = .deliverBinary(bytes)
        case .ping(let payload):
            if open.isClear {
                action = .sendPong(payload)
            } else {
                open.owedPong = ByteBuffer(bytes: payload.readableBytesView)
                action = .none
            }
        case .close(let frame):
            self.state = .closing(Closing(deadline: now + TimeAmount(self.configuration.closeTimeout)))
            // RFC 6455 section 7.1.1: the server closes TCP first, so that TIME_WAIT stays with it.
            let after: AfterClose = self.isServer ? .disconnect : .awaitPeer
            let echo = frame.map { CloseFrame(code: $0.code, reason: "") }
            return .close(Close(pending: [], frame: echo, after: after, reason: .peer(frame)))
        }
        self.state = .open(open)
        return action
    }

    /// The bytes of the peer are no frames; whatever follows them cannot be read.
    mutating func decodingFailed(_ violation: ProtocolViolation, now: NIODeadline) -> Close? {
        switch self.takeState() {
        case .open:
            return self.startClosing(with: violation.closeFrame, after: .shutdownOutput, now: now)
        case .closing(let closing):
            self.state = .closing(closing)
            return nil
        case .closed:
            return nil
        }
    }

    mutating func closeRequested(_ frame: CloseFrame, now: NIODeadline) -> Close? {
        switch self.takeState() {
        case .open(let open):
            var close = self.startClosing(with: frame, now: now)
            close.pending = open.queue
            return close
        case .closing(let closing):
            self.state = .closing(closing)
            return nil
        case .closed:
            return nil
        }
    }

    /// While nothing is read nothing can be heard, so silence is no sign then.
    mutating func readingPaused(_ isPaused: Bool, now: NIODeadline) {
        switch self.takeState() {
        case .open(var open):
            open.isReadingPaused = isPaused
            open.pongDeadline = nil
            open.idleDeadline = isPaused ? nil : self.configuration.idleTimeout.map { now + TimeAmount($0) }
            self.state = .open(open)
        case .closing(let closing):
            self.state = .closing(closing)
        case .closed:
            break
        }
    }

    mutating func tick(now: NIODeadline) -> TickAction {
        switch self.takeState() {
        case .open(var open):
            if let deadline = open.stallDeadline, deadline <= now {
                return .close(self.startClosing(with: self.configuration.slowConsumer, now: now))
            }
            if let deadline = open.pongDeadline, deadline <= now {
                return .close(self.startClosing(with: self.configuration.pongTimedOut, now: now))
            }
            if let deadline = open.idleDeadline, deadline <= now {
                return .close(self.startClosing(with: self.configuration.idleTimedOut, now: now))
            }
            defer { self.state = .open(open) }
            guard let deadline = open.pingDeadline, deadline <= now, let interval = self.configuration.pingInterval
            else {
                return .none
            }
            open.pingDeadline = now + TimeAmount(interval)
            // A socket that takes no more is the stall timer's business: a ping behind its backlog would say nothing new.
            guard open.isClear, !open.isReadingPaused else {
                return .none
            }
            open.pongDeadline = open.pongDeadline ?? now + TimeAmount(self.configuration.pongTimeout)
            return .sendPing
        case .closing(let closing):
            guard let deadline = closing.deadline, deadline <= now else {
                self.state = .closing(closing)
                return .none
            }
            self.state = .closing(Closing(deadline: nil))
            return .disconnect
        case .closed:
            return .none
        }
    }

    /// The reason to report, unless the close that came before was reported already.
    mutating func channelClosed() -> CloseReason? {
        switch self.takeState() {
        case .open:
            return .connectionLost
        case .closing:
            return nil
        case .closed:
            return nil
        }
    }

    /// Leaves `closed` behind, which every input but ``channelClosed()`` replaces by the state it leads to.
    private mutating func takeState() -> State {
        var taken = State.closed
        swap(&taken, &self.state)
        return taken
    }

    private mutating func startClosing(
        with frame: CloseFrame,
        after: AfterClose = .awaitPeer,
        now: NIODeadline
    ) -> Close {
        self.state = .closing(Closing(deadline: now + TimeAmount(self.configuration.closeTimeout)))
        return Close(frame: frame, after: after, reason: .local(frame))
    }
}
