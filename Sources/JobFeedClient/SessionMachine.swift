import JobFeedProtocol

/// Everything the client decides: when to connect, what to ask, whom to tell. Its inputs answer what to do, in order.
struct SessionMachine: Sendable {
    typealias Instant = ContinuousClock.Instant

    enum State: Sendable {
        /// Nobody is subscribed; → connecting.
        case idle
        /// Between two attempts; → connecting.
        case waiting(until: Instant)
        /// A token is fetched and a socket opened; → greeting, waiting, idle.
        case connecting
        /// Waits for `welcome`; → open, closing.
        case greeting(since: Instant)
        /// → closing, waiting, idle.
        case open(Link)
        /// This side asked for the end and waits for it; → waiting, idle.
        case closing(isVoluntary: Bool)
    }

    enum Action: Sendable, Equatable {
        case send(Command)
        case deliver(id: String, SubscriptionMachine.Delivery)
        /// Everything up to the cursor has been delivered before.
        case moveCursor(id: String, to: String)
        /// Nothing more comes for the subscription; without an error, because its consumer left.
        case finish(id: String, JobFeedError?)
        case fetchToken
        /// Close the socket and report this as its end.
        case disconnect(Disconnection)
    }

    enum NextStep: Sendable, Equatable {
        case park
        case wait(until: Instant)
        case connect
        /// A connection is there.
        case stay
    }

    static let greetingTimeout = Duration.seconds(15)
    static let answerTimeout = Duration.seconds(60)
    /// A connection that was live for so long proves that the server is well.
    static let steadyAfter = Duration.seconds(30)

    private(set) var state = State.idle
    private(set) var subscriptions: [String: SubscriptionMachine] = [:]
    private var backoff = Backoff()
    private var liveSince: Instant?
    private var token: String?
    private var lastNumber = 0
    private let maximumStepBytes: Int
    private let random: @Sendable () -> Double

    init(maximumStepBytes: Int, random: @escaping @Sendable () -> Double) {
        self.maximumStepBytes = maximumStepBytes
        self.random = random
    }

    // MARK: The consumer

    mutating func subscribed(_ options: SubscribeOptions, now: Instant) -> (id: String, [Action]) {
        self.lastNumber += 1
        let id = "s\(self.lastNumber)"
        var subscription = SubscriptionMachine(id: id, options: options)
        var actions: [Action] = []
        if case .open = self.state {
            actions.append(.send(subscription.request(now: now)))
        }
        self.subscriptions[id] = subscription
        return (id, actions)
    }

    mutating func unsubscribed(_ id: String) -> [Action] {
        guard let subscription = self.subscriptions.removeValue(forKey: id) else { return [] }
        guard case .open = self.state else { return [] }
        if self.subscriptions.isEmpty {
            return self.leave()
        }
        switch subscription.phase {
        case .requested, .filling, .live: return [.send(.unsubscribe(id: id))]
        case .offline, .postponed: return []
        }
    }

    // MARK: The connection

    mutating func nextStep(now: Instant) -> (NextStep, [Action]) {
        switch self.state {
        case .idle where self.subscriptions.isEmpty: return (.park, [])
        case .waiting where self.subscriptions.isEmpty:
            self.state = .idle
            return (.park, [])
        case .waiting(let until) where until > now: return (.wait(until: until), [])
        case .idle, .waiting:
            self.state = .connecting
            return (.connect, self.tellAll(.connecting(attempt: self.backoff.failures + 1)))
        case .connecting, .greeting, .open, .closing: return (.stay, [])
        }
    }

    mutating func connected(token: String, now: Instant) {
        self.token = token
        self.state = .greeting(since: now)
    }

    mutating func disconnected(_ end: Disconnection, now: Instant) -> [Action] {
        for id in self.subscriptions.keys {
            self.subscriptions[id]?.connectionLost()
        }
        let wasSteady = self.liveSince.map { $0.duration(to: now) >= Self.steadyAfter } ?? false
        self.liveSince = nil
        if case .closing(isVoluntary: true) = self.state {
            self.state = .idle
            return []
        }
        switch end.decision {
        case .stop(let error):
            self.state = .idle
            self.backoff.reset()
            let ids = self.orderedIDs
            self.subscriptions = [:]
            return ids.map { .finish(id: $0, error) }
        case .retry(let reason, let minimum):
            if wasSteady {
                self.backoff.reset()
            }
            let delay = minimum + self.backoff.next(random: self.random())
            self.state = .waiting(until: now + delay)
            return self.tellAll(.reconnecting(after: delay, reason: reason))
        }
    }

    // MARK: Messages

    mutating func received(_ message: ServerMessage, bytes: Int, now: Moment) -> [Action] {
        switch self.state {
        case .idle, .waiting, .connecting, .closing: return []
        case .greeting:
            // `error` before `welcome` announces the close frame that follows and decides.
            guard case .welcome(let welcome) = message else { return [] }
            guard !self.subscriptions.isEmpty else { return self.leave() }
            let link = Link(heartbeatSeconds: welcome.heartbeatSeconds, expiresAt: welcome.expiresAt, now: now)
            self.state = .open(link)
            return self.orderedIDs.compactMap { id in
                self.subscriptions[id]?.request(now: now.instant)
            }.map(Action.send)
        case .open(var link):
            let isBack = link.heard(now: now)
            self.state = .open(link)
            return (isBack ? self.tellLive(.live) : []) + self.dispatch(message, bytes: bytes, now: now)
        }
    }

    private mutating func dispatch(_ message: ServerMessage, bytes: Int, now: Moment) -> [Action] {
        switch message {
        case .subscribed(let answer):
            self.subscriptions[answer.id]?.subscribed(recovered: answer.recovered, now: now.instant)
            return []
        case .snapshot(let id, let snapshot):
            self.subscriptions[id]?.snapshotReceived(snapshot, bytes: bytes, now: now.instant)
            return self.checkSize(id)
        case .live(let id, let cursor): return self.becameLive(id, cursor: cursor, now: now)
        case .changes(let changes):
            let deliveries = self.subscriptions[changes.id]?.changesReceived(changes, bytes: bytes, now: now.instant)
            return (deliveries ?? []).map { .deliver(id: changes.id, $0) } + self.checkSize(changes.id)
                + self.checkLag(changes.at, now: now)
        case .reset(let id, _):
            self.subscriptions[id]?.resetReceived(now: now.instant)
            return []
        case .heartbeat(let heartbeat): return self.heartbeatReceived(heartbeat, now: now)
        case .error(let refusal): return self.refused(refusal, now: now.instant)
        case .unsubscribed(let id):
            guard self.subscriptions[id] != nil else { return [] }
            return self.postpone(id, reason: "the server ended the subscription", now: now.instant)
        case .authenticated(_, let expiresAt):
            self.withLink { $0.tokenAccepted(expiresAt: expiresAt, now: now) }
            return []
        case .welcome, .pong, .unknown: return []
        }
    }

    private mutating func becameLive(_ id: String, cursor: String?, now: Moment) -> [Action] {
        guard let deliveries = self.subscriptions[id]?.liveReceived(cursor: cursor) else { return [] }
        self.liveSince = self.liveSince ?? now.instant
        let cursorMove = cursor.map { [Action.moveCursor(id: id, to: $0)] } ?? []
        return deliveries.map { .deliver(id: id, $0) } + cursorMove
    }

    private mutating func refused(_ refusal: ServerMessage.Refusal, now: Instant) -> [Action] {
        // A refusal of `authenticate` is followed by 4001 when the old token has run out.
        guard let id = refusal.id, self.subscriptions[id] != nil else { return [] }
        if refusal.retry {
            return self.postpone(id, reason: refusal.message, now: now)
        }
        let error = JobFeedError(code: JobFeedError.Code(rawValue: refusal.code), message: refusal.message)
        return self.finish(id, error)
    }

    private mutating func postpone(_ id: String, reason: String, now: Instant) -> [Action] {
        let random = self.random()
        guard let delay = self.subscriptions[id]?.postponed(random: random, now: now) else { return [] }
        let event = Event.reconnecting(after: delay, reason: reason)
        return [.deliver(id: id, SubscriptionMachine.Delivery(event: event, bytes: 0))]
    }

    private mutating func finish(_ id: String, _ error: JobFeedError) -> [Action] {
        self.subscriptions[id] = nil
        var actions: [Action] = [.finish(id: id, error)]
        if self.subscriptions.isEmpty {
            actions += self.leave()
        }
        return actions
    }

    private mutating func checkSize(_ id: String) -> [Action] {
        guard let bytes = self.subscriptions[id]?.pendingBytes, bytes > self.maximumStepBytes else { return [] }
        let message =
            "one step of the view is larger than \(self.maximumStepBytes) bytes; ask for fewer columns or rows"
        let unsubscribe: [Action] = self.subscriptions.count > 1 ? [.send(.unsubscribe(id: id))] : []
        return unsubscribe + self.finish(id, JobFeedError(code: .stepTooLarge, message: message))
    }

    // MARK: Time

    private mutating func heartbeatReceived(_ heartbeat: ServerMessage.Heartbeat, now: Moment) -> [Action] {
        var actions: [Action] = []
        if let cursor = heartbeat.cursor {
            for id in self.orderedIDs where self.subscriptions[id]?.heartbeatReceived(cursor: cursor) == true {
                actions.append(.moveCursor(id: id, to: cursor))
            }
        }
        var lag = Link.Lag.unchanged
        self.withLink {
            lag = $0.completeUpTo(heartbeat.asOf, tokenExpiresIn: heartbeat.tokenExpiresIn, now: now)
        }
        return actions + self.tell(lag)
    }

    private mutating func checkLag(_ timestamp: String?, now: Moment) -> [Action] {
        guard case .open(let link) = self.state, link.health == .lagging else { return [] }
        var lag = Link.Lag.unchanged
        self.withLink { lag = $0.completeUpTo(timestamp, tokenExpiresIn: nil, now: now) }
        return self.tell(lag)
    }

    /// To be called a few times a second while a socket is open; `isReading` is false while consumers hold it up.
    mutating func ticked(isReading: Bool, now: Moment) -> [Action] {
        switch self.state {
        case .idle, .waiting, .connecting, .closing: return []
        case .greeting(let since):
            guard since.duration(to: now.instant) >= Self.greetingTimeout else { return [] }
            return self.drop("the server did not greet within \(Self.greetingTimeout)")
        case .open(var link):
            guard isReading else {
                _ = link.heard(now: now)
                self.state = .open(link)
                return []
            }
            let isRefreshDue = link.isRefreshDue(now: now)
            let pulse = link.pulse(now: now)
            self.state = .open(link)
            var actions: [Action] = isRefreshDue ? [.fetchToken] : []
            switch pulse {
            case .steady: break
            case .ask(let since): actions += [.send(.ping(id: "p"))] + self.tellLive(.behind(since: since))
            case .dead(let silence): return self.drop("nothing was heard for \(silence.components.seconds) s")
            }
            return actions + self.checkSubscriptions(now: now.instant)
        }
    }

    private mutating func checkSubscriptions(now: Instant) -> [Action] {
        var actions: [Action] = []
        for id in self.orderedIDs {
            switch self.subscriptions[id]?.phase {
            case .postponed(let until)? where until <= now:
                if let command = self.subscriptions[id]?.request(now: now) {
                    actions.append(.send(command))
                }
            case .requested(let since)? where since.duration(to: now) >= Self.answerTimeout,
                .filling(let since)? where since.duration(to: now) >= Self.answerTimeout:
                return self.drop("a subscription got no answer within \(Self.answerTimeout)")
            case .offline, .requested, .filling, .live, .postponed, nil: break
            }
        }
        return actions
    }

    // MARK: Token

    mutating func tokenFetched(_ token: String?, now: Moment) -> [Action] {
        self.withLink { $0.retryRefresh(now: now) }
        // The same token again would only be accepted until the same second.
        guard case .open = self.state, let token, token != self.token else { return [] }
        self.token = token
        return [.send(.authenticate(id: "a", token: token))]
    }

    // MARK: Helpers

    private var orderedIDs: [String] {
        self.subscriptions.keys.sorted { ($0.utf8.count, $0) < ($1.utf8.count, $1) }
    }

    private mutating func withLink(_ change: (inout Link) -> Void) {
        guard case .open(var link) = self.state else { return }
        change(&link)
        self.state = .open(link)
    }

    private mutating func leave() -> [Action] {
        self.state = .closing(isVoluntary: true)
        return [.disconnect(.lost("nobody is subscribed"))]
    }

    private mutating func drop(_ reason: String) -> [Action] {
        self.state = .closing(isVoluntary: false)
        return [.disconnect(.lost(reason))]
    }

    private func tell(_ lag: Link.Lag) -> [Action] {
        switch lag {
        case .unchanged: []
        case .behind(let since): self.tellLive(.behind(since: since))
        case .caughtUp: self.tellLive(.live)
        }
    }

    private func tellLive(_ event: Event) -> [Action] {
        self.orderedIDs.filter { self.subscriptions[$0]?.phase == .live }.map {
            .deliver(id: $0, SubscriptionMachine.Delivery(event: event, bytes: 0))
        }
    }

    private func tellAll(_ event: Event) -> [Action] {
        self.orderedIDs.map { .deliver(id: $0, SubscriptionMachine.Delivery(event: event, bytes: 0)) }
    }
}
