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
    private static let authenticationTime = TimeAmount.seconds(10)
    /// Past `exp`, until the connection is closed.
    private static let expiryGrace: Double = 25
    /// How long the database may be away before clients are told to try elsewhere.
    private static let databaseGrace = Duration.seconds(60)

    private let context: SessionContext
    private let shard: Shard
    private let eventLoop: any EventLoop
    private let name: String
    private var connection: WebSocketConnection?
    private var identity: Identity?
    private var isVerifying = false
    private var waiting: Deque<Command> = []
    private var subscriptions: [String: Subscription] = [:]
    private var loads = LoadQueue()
    private var outbox = Outbox()
    private var errors = 0
    private var openedAt: NIODeadline
    private var lastSent: NIODeadline
    private var isDraining = false

    /// - Parameter identity: from the upgrade request; `nil`: the first frame has to authenticate.
    init(identity: Identity?, context: SessionContext, shard: Shard, eventLoop: any EventLoop) {
        self.identity = identity
        self.context = context
        self.shard = shard
        self.eventLoop = eventLoop
        self.name = "c_" + String(UInt64.random(in: .min ... .max), radix: 36)
        self.openedAt = eventLoop.now
        self.lastSent = eventLoop.now
    }

    // MARK: WebSocketSession

    func opened(_ connection: WebSocketConnection) {
        self.connection = connection
        self.openedAt = self.eventLoop.now
        self.shard.add(self)
        self.context.logger.debug("Connected", metadata: self.metadata)
        if self.identity != nil { self.welcome() }
    }

    func received(text: ByteBuffer) {
        do {
            self.handle(try Command.parse(Array(text.readableBytesView)))
        } catch {
            if error.isProtocolError {
                self.answer(MessageWriter.error(id: error.id, code: error.code, message: error.message))
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

    func draining() {
        guard !self.isDraining else { return }
        self.isDraining = true
        // Spread, so that a node's clients do not arrive elsewhere all at once.
        let delay = TimeAmount.milliseconds(.random(in: 0...1000))
        self.eventLoop.assumeIsolated().scheduleTask(in: delay) { self.close(.goingAway) }
    }

    func drained() {
        guard let connection = self.connection else { return }
        self.outbox.drain(to: connection)
        connection.flush()
    }

    func closed(_ reason: CloseReason) {
        self.context.logger.debug("Disconnected", metadata: self.metadata.merging(["reason": "\(reason)"]) { $1 })
        for subscription in Array(self.subscriptions.values) { self.end(subscription) }
        self.waiting.removeAll()
        self.outbox = Outbox()
        self.connection = nil
        self.shard.remove(self)
    }

    private var metadata: Logger.Metadata {
        ["connection": "\(self.name)", "user": "\(self.identity?.user ?? "-")"]
    }

    // MARK: Commands

    private func handle(_ command: Command) {
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
        case .ping(let id): self.answer(MessageWriter.pong(id: id))
        case .authenticate(let id, let token): self.authenticate(id: id, token: token)
        case .subscribe(let request): self.subscribe(request)
        case .unsubscribe(let id):
            guard let subscription = self.subscriptions[id] else {
                return self.refuse(id: id, .unknownID, "no subscription \"\(id)\" is open on this connection")
            }
            self.end(subscription)
            self.answer(MessageWriter.unsubscribed(id: id))
        }
    }

    private func refuse(id: String?, _ code: ErrorCode, _ message: String) {
        self.answer(MessageWriter.error(id: id, code: code, message: message))
        self.errors += 1
        if self.errors > self.context.limits.errors { self.close(.protocolError, detail: "too many errors") }
    }

    // MARK: Authentication

    private func authenticate(id: String, token: String) {
        self.isVerifying = true
        let authenticator = self.context.authenticator
        let verified = self.eventLoop.makeFutureWithTask { () -> Swift.Result<Identity, AuthenticationError> in
            do throws(AuthenticationError) {
                return .success(try await authenticator.verify(token))
            } catch {
                return .failure(error)
            }
        }
        verified.assumeIsolated().whenSuccess { result in
            self.isVerifying = false
            guard self.connection != nil else { return }
            self.authenticated(id: id, result)
            while !self.isVerifying, let command = self.waiting.popFirst() { self.handle(command) }
            self.connection?.flush()
        }
    }

    private func authenticated(id: String, _ result: Swift.Result<Identity, AuthenticationError>) {
        switch (result, self.identity) {
        case (.failure(let error), nil):
            self.answer(MessageWriter.error(id: id, code: .invalidToken, message: error.message))
            self.close(.unauthenticated)
        case (.failure(let error), _?):
            // The old token is still good until it expires.
            self.refuse(id: id, .invalidToken, error.message)
        case (.success(let identity), nil):
            self.identity = identity
            self.welcome()
        case (.success(let new), let old?):
            guard new.user == old.user, new.access == old.access else {
                self.answer(
                    MessageWriter.error(
                        id: id,
                        code: .forbidden,
                        message: "this connection belongs to another user or access; open a new one for this token"
                    )
                )
                return self.close(.forbidden)
            }
            self.identity = new
            self.answer(MessageWriter.authenticated(id: id, expiresAt: new.expiresAtText))
        }
    }

    private func welcome() {
        guard let identity = self.identity else { return }
        self.answer(
            MessageWriter.welcome(
                connection: self.name,
                node: self.context.node,
                user: identity.user,
                access: identity.access.rawValue,
                expiresAt: identity.expiresAtText,
                heartbeatSeconds: Int(self.context.heartbeat.components.seconds),
                subscriptions: self.context.limits.subscriptions,
                messageBytes: self.context.limits.messageBytes
            )
        )
        self.connection?.flush()
    }

    // MARK: Subscriptions

    private func subscribe(_ request: Subscribe) {
        guard let identity = self.identity else { return }
        guard self.subscriptions[request.id] == nil else {
            return self.refuse(
                id: request.id,
                .duplicateID,
                "\"\(request.id)\" is open already; unsubscribe it or use another id"
            )
        }
        guard self.subscriptions.count < self.context.limits.subscriptions else {
            return self.refuse(
                id: request.id,
                .tooManySubscriptions,
                "this connection has \(self.context.limits.subscriptions) subscriptions open, which is the limit"
            )
        }
        do throws(SubscribeError) {
            let plan = try SubscriptionPlan(request, identity: identity, catalog: self.shard.catalog)
            let subscription = Subscription(
                request: request,
                channel: plan.channel,
                view: plan.view,
                session: self
            )
            self.subscriptions[request.id] = subscription
            self.begin(subscription, resume: request.resume, isReset: false)
        } catch {
            // Perhaps it was attached a moment ago.
            if error.code == .unknownFeed { self.context.reader.poke() }
            self.refuse(id: request.id, error.code, error.message)
        }
    }

    private func begin(_ subscription: Subscription, resume: String?, isReset: Bool) {
        // Before the snapshot is taken, so that no batch after it lacks what the filter needs.
        self.context.interest.add(subscription.view.filter.columns, feed: subscription.view.feed.name)
        self.shard.open(subscription)
        self.enqueueLoad(subscription, resume: resume, isReset: isReset)
    }

    /// Ends a subscription without an answer.
    private func end(_ subscription: Subscription) {
        self.subscriptions[subscription.id] = nil
        self.context.interest.remove(subscription.view.filter.columns, feed: subscription.view.feed.name)
        self.shard.close(subscription)
    }

    /// Reads the views of these feeds anew; a view that does not fit its feed any more ends with an error.
    func reset(_ feeds: [String: ResetReason]) {
        guard let identity = self.identity else { return }
        for subscription in Array(self.subscriptions.values) {
            guard let reason = feeds[subscription.view.feed.name] else { continue }
            do throws(SubscribeError) {
                let plan = try SubscriptionPlan(subscription.request, identity: identity, catalog: self.shard.catalog)
                self.context.interest.remove(subscription.view.filter.columns, feed: subscription.view.feed.name)
                self.context.interest.add(plan.view.filter.columns, feed: plan.view.feed.name)
                self.shard.restart(subscription, with: plan.view)
                let isReset = subscription.isAnswered
                if isReset { self.answer(MessageWriter.reset(id: subscription.id, reason: reason.rawValue)) }
                self.enqueueLoad(subscription, resume: isReset ? nil : subscription.request.resume, isReset: isReset)
            } catch {
                self.end(subscription)
                self.refuse(id: subscription.id, error.code, error.message)
            }
        }
        self.connection?.flush()
    }

    // MARK: Loading, one subscription after the other

    private func enqueueLoad(_ subscription: Subscription, resume: String?, isReset: Bool) {
        self.loads.append(.init(subscription: subscription, resume: resume, isReset: isReset))
        self.loadNext()
    }

    private func loadNext() {
        guard self.connection != nil, let load = self.loads.startNext() else { return }
        let loader = SnapshotLoader(request: load.request)
        let pool = self.context.pool
        let loaded = self.eventLoop.makeFutureWithTask {
            try await pool.withConnection { try loader.load($0) }
        }
        loaded.assumeIsolated().whenComplete { result in
            self.loads.finished()
            self.loaded(load, result)
            self.loadNext()
        }
    }

    private func loaded(_ load: LoadQueue.Load, _ result: Swift.Result<SnapshotLoader.Loaded, any Error>) {
        let subscription = load.subscription
        guard self.connection != nil, load.isCurrent else { return }
        switch result {
        case .success(let loaded):
            if let position = self.shard.position, position.cursor.epoch != loaded.cursor.epoch {
                return self.retry(load)
            }
            subscription.counts = loaded.counts
            subscription.isAnswered = true
            self.deliverInBulk(loaded.frames)
            self.answer(MessageWriter.live(id: subscription.id, cursor: loaded.cursor.encoded()))
            self.shard.settle(subscription, at: loaded.cursor.snapshot)
        case .failure(SnapshotLoader.Failure.definitionChanged):
            self.context.reader.poke()
            self.retry(load)
        case .failure(let error):
            self.context.logger.warning(
                "Cannot read a snapshot",
                metadata: self.metadata.merging(["error": "\(error)"]) { $1 }
            )
            self.end(subscription)
            let message = SubscribeError.unavailable(error)
            self.answer(MessageWriter.error(id: subscription.id, code: .unavailable, message: message))
            self.connection?.flush()
        }
    }

    /// The node and the database do not agree yet; the reader is about to find out.
    private func retry(_ load: LoadQueue.Load) {
        self.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(50)) {
            guard load.isCurrent, self.connection != nil else { return }
            self.enqueueLoad(load.subscription, resume: load.resume, isReset: load.isReset)
        }
    }

    // MARK: Sending

    /// Frames of live changes; flushed by the shard when its batch is done.
    func deliver(_ frames: [OutboundFrame]) {
        guard let connection = self.connection else { return }
        self.lastSent = self.eventLoop.now
        for frame in frames { self.outbox.send(frame, inBulk: false, to: connection) }
        if self.outbox.liveBytes > self.context.limits.queuedBytes { self.tooSlow() }
    }

    func flush() { self.connection?.flush() }

    /// Frames of a snapshot or a replay, sent as the socket takes them.
    private func deliverInBulk(_ frames: [OutboundFrame]) {
        guard let connection = self.connection else { return }
        self.lastSent = self.eventLoop.now
        for frame in frames { self.outbox.send(frame, inBulk: true, to: connection) }
    }

    private func answer(_ json: [UInt8]) {
        self.deliver([FrameEncoder.frame(json)])
    }

    func tooSlow() { self.close(.slowConsumer) }

    func close(_ code: CloseCode, detail: String? = nil) {
        self.connection?.close(code: code.rawValue, reason: detail.map { "\(code.reason): \($0)" } ?? code.reason)
    }

    // MARK: Clocks

    func tick(now: NIODeadline, wallClockSeconds: Double) {
        guard let identity = self.identity else {
            if now - self.openedAt > Self.authenticationTime, !self.isVerifying { self.close(.authenticationTimeout) }
            return
        }
        if wallClockSeconds > identity.expiresAt + Self.expiryGrace { return self.close(.tokenExpired) }
        if let since = self.context.health.status.lostSince, .now - since > Self.databaseGrace {
            return self.close(.feedUnavailable)
        }
        if now - self.lastSent >= .nanoseconds(Int64(self.context.heartbeat / .nanoseconds(1))) {
            self.heartbeat(identity, wallClockSeconds)
        }
    }

    private func heartbeat(_ identity: Identity, _ wallClockSeconds: Double) {
        guard self.outbox.isEmpty, let position = self.shard.position else { return }
        let isComplete = self.subscriptions.values.allSatisfy { subscription in
            if case .live(let group) = subscription.state { return group.coalescer?.isEmpty ?? true }
            return false
        }
        let cursor = isComplete && !self.subscriptions.isEmpty ? position.text : nil
        self.answer(
            MessageWriter.heartbeat(
                asOf: Timestamp.iso8601(micros: position.readAt),
                tokenExpiresIn: max(0, Int(identity.expiresAt - wallClockSeconds)),
                cursor: cursor
            )
        )
        self.connection?.flush()
    }
}

@available(*, unavailable)
extension Session: Sendable {}
