import DequeModule
import Feed
import Foundation
import JobFeedProtocol
import LibPQ
import Logging
import NIOCore
import WebSocketTransport

/// One client's conversation: who it is, what it asked for, what waits to be sent. Lives on its connection's event loop.
final class Session: WebSocketSession {
    private let sharedContext: Shared<SessionContext>
    let shard: Shard
    let eventLoop: any EventLoop
    let tongue: any Tongue
    private let number = UInt64.random(in: .min ... .max)
    let seat: ConnectionCensus.Seat
    var connection: (any ClientConnection)?
    var identity: Identity?
    var isVerifying = false
    /// The version of the revocations that this identity was compared with.
    var revocationsSeen: UInt64? = nil
    var waiting: Deque<Command> = []
    var subscriptions = SubscriptionList()
    /// Ids of subscriptions to a feed that nobody knows yet, each with a number of its own.
    var postponed: [String: UInt64] = [:]
    var loads = LoadQueue()
    /// Loads that need nothing from the database, of one turn of the loop.
    var starting: [LoadQueue.Load] = []
    var outbox = Outbox()
    var errors = 0
    private var budget: CommandBudget
    var openedAt: NIODeadline
    var lastSent: NIODeadline
    var isDraining = false
    /// The shard will flush.
    var isDirty = false
    /// Gauges of some subscription are held back, because the socket is behind.
    var isLagging = false

    /// - Parameter identity: from the upgrade request; `nil`: the first frame has to authenticate.
    init(
        tongue: any Tongue,
        identity: Identity?,
        seat: ConnectionCensus.Seat,
        context: Shared<SessionContext>,
        shard: Shard,
        eventLoop: any EventLoop
    ) {
        self.tongue = tongue
        self.seat = seat
        self.identity = identity
        self.sharedContext = context
        self.shard = shard
        self.eventLoop = eventLoop
        self.budget = CommandBudget(perSecond: context.value.limits.commandsPerSecond, now: eventLoop.now)
        self.openedAt = eventLoop.now
        self.lastSent = eventLoop.now
    }

    var context: SessionContext { self.sharedContext.value }

    var name: String { "c_" + String(self.number, radix: 36) }

    // MARK: WebSocketSession

    func opened(_ connection: WebSocketConnection) { self.opened(on: connection) }

    func opened(on connection: any ClientConnection) {
        self.connection = connection
        self.openedAt = self.eventLoop.now
        self.shard.add(self)
        self.context.metrics.connectionOpened()
        self.context.logger.debug("Connected", metadata: self.metadata)
        if self.identity != nil { self.welcome() }
    }

    func received(text: ByteBuffer) {
        guard self.budget.take(bytes: text.readableBytes, now: self.eventLoop.now) else {
            return self.close(.rateLimited, detail: self.budget.rule)
        }
        do {
            self.take(try self.tongue.turns(after: text))
        } catch {
            if error.isProtocolError {
                self.answer(.error(id: error.id, error.code, error.message))
                self.close(.protocolError)
                return
            }
            self.refuse(id: error.id, error.code, error.message)
        }
        self.connection?.flush()
    }

    func receivedBinary() {
        self.close(.protocolError, detail: "binary frames are not part of jobfeed.v1")
    }

    func received(binary: ByteBuffer) {
        guard self.budget.take(bytes: binary.readableBytes, now: self.eventLoop.now) else {
            return self.close(.rateLimited, detail: self.budget.rule)
        }
        guard let turns = self.tongue.turns(afterBinary: binary) else { return self.receivedBinary() }
        self.take(turns)
        self.connection?.flush()
    }

    func draining() {
        guard !self.isDraining else { return }
        self.isDraining = true
        // Spread, so that a node's clients do not arrive elsewhere all at once.
        let delay = TimeAmount.milliseconds(.random(in: 0...1000))
        self.eventLoop.assumeIsolated().scheduleTask(in: delay) { self.close(self.tongue.farewell) }
    }

    func drained() {
        guard let connection = self.connection else { return }
        self.outbox.drain(to: connection)
        connection.flush()
        if self.isLagging, !self.isBehind { self.shard.caughtUp(self) }
        self.loadNext()
    }

    func closed(_ reason: CloseReason) {
        self.context.logger.debug("Disconnected", metadata: self.metadata.merging(["reason": "\(reason)"]) { $1 })
        self.endAll()
        self.context.metrics.connectionClosed(reason)
        self.waiting.removeAll()
        self.outbox = Outbox()
        self.connection = nil
        self.shard.remove(self)
    }

    var metadata: Logger.Metadata {
        ["connection": "\(self.name)", "user": "\(self.identity?.user ?? "-")"]
    }

    // MARK: Commands

    private func take(_ turns: [Turn]) {
        for turn in turns {
            switch turn {
            case .ask(let command): self.handle(command)
            case .tell(let frame): self.deliver([frame])
            case .refuse(let code, let frames):
                self.deliver(frames)
                self.count(code)
            }
        }
    }

    func handle(_ command: Command) {
        if self.isVerifying {
            guard self.waiting.count < self.context.limits.waitingCommands else {
                return self.close(.protocolError, detail: "too many commands before the authentication was answered")
            }
            self.waiting.append(command)
            return
        }
        if self.identity == nil {
            guard case .authenticate(let id, let token) = command else {
                self.refuse(
                    id: command.id,
                    .unauthenticated,
                    "authenticate first: send {\"type\":\"authenticate\",\"id\":\"…\",\"token\":\"…\"}"
                )
                return
            }
            return self.authenticate(id: id, token: token)
        }
        switch command {
        case .ping(let id): self.answer(.pong(id: id))
        case .authenticate(let id, let token): self.authenticate(id: id, token: token)
        case .subscribe(let request): self.subscribe(request)
        case .unsubscribe(let id):
            if self.postponed.removeValue(forKey: id) != nil {
                return self.answer(.unsubscribed(id: id))
            }
            guard let subscription = self.subscriptions[id] else {
                return self.refuse(id: id, .unknownID, "no subscription \"\(id)\" is open on this connection")
            }
            self.end(subscription)
            self.answer(.unsubscribed(id: id))
        }
    }

    func refuse(id: String?, _ code: ErrorCode, _ message: String) {
        self.answer(.error(id: id, code, message))
        self.count(code)
    }

    private func count(_ code: ErrorCode) {
        self.errors += 1
        self.context.metrics.commandErrors.increment(code)
        if self.errors > self.context.limits.errors { self.close(.protocolError, detail: "too many errors") }
    }

    // MARK: Sending

    /// Whether the socket has not taken yet what it was sent.
    var isBehind: Bool { !self.outbox.isEmpty }

    /// Frames of live changes; flushed by the shard when its batch is done.
    func deliver(_ frames: [OutboundFrame]) {
        guard let connection = self.connection else { return }
        let now = self.eventLoop.now
        self.lastSent = now
        for frame in frames { self.outbox.send(frame, inBulk: false, to: connection, now: now) }
        self.closeIfTooSlow(now: now)
    }

    /// The same with one frame that nothing else will follow soon, flushed as well.
    ///
    /// - Returns: `false`, with nothing done, when something waits before it.
    func deliverNow(_ frame: OutboundFrame, now: NIODeadline) -> Bool {
        guard self.outbox.isEmpty, let connection = self.connection, connection.sendNow(frame) else { return false }
        self.lastSent = now
        return true
    }

    func flush() { self.connection?.flush() }

    /// Frames of a snapshot or a replay, sent as the socket takes them.
    func deliverInBulk(_ frames: [OutboundFrame]) {
        guard let connection = self.connection else { return }
        let now = self.eventLoop.now
        self.lastSent = now
        for frame in frames { self.outbox.send(frame, inBulk: true, to: connection, now: now) }
    }

    func answer(_ answer: Answer) {
        self.take(self.tongue.turns(after: answer))
    }

    func tooSlow() { self.close(.slowConsumer) }

    func closeIfTooSlow(now: NIODeadline) {
        if self.outbox.isTooSlow(limit: self.context.limits.queuedBytes, now: now) { self.tooSlow() }
    }

    func close(_ code: CloseCode, detail: String? = nil) {
        self.connection?.close(code: code.rawValue, reason: detail.map { "\(code.reason): \($0)" } ?? code.reason)
    }

}

@available(*, unavailable)
extension Session: Sendable {}
