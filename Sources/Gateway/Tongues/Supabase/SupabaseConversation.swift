import DequeModule
import Feed
import JobFeedProtocol

/// What one socket of a Supabase client has agreed on: its channels, the subscriptions behind them, and the tokens that
/// are being verified.
///
/// A channel is joined in three stages: its token is verified; each of its streams is accepted; all of them are live.
/// Only then is the join answered, so that nothing committed after the answer is missed.
struct SupabaseConversation {
    enum Effect: Equatable {
        case ask(Command)
        case send(PhoenixMessage)
        /// Also sends the message, if there is one.
        case refuse(ErrorCode, PhoenixMessage?)
    }

    typealias Feeds = [String: FeedDefinition]

    struct Channel {
        enum Stage {
            case verifying
            /// What the client is waiting to be told.
            case opening(SupabaseJoin)
            case joined
        }

        let join: PhoenixMessage
        /// Tells it from earlier ones of the same topic.
        let number: Int
        var stage: Stage
        let options: SupabaseJoin.Options
        var streams: [String: StreamStage] = [:]

        var topic: String { self.join.topic }
        var joinRef: JSONValue { self.join.joinRef == .null ? self.join.ref : self.join.joinRef }
    }

    enum StreamStage {
        case asked, accepted, live
    }

    /// A token on its way through the session, and who waits for the verdict.
    private struct Attempt {
        let id: String
        let token: String
        var joins: [(topic: String, number: Int, SupabaseJoin)] = []
        var refreshes: [(topic: String, number: Int)] = []
    }

    private let serializer: PhoenixSerializer
    /// From the URL: used when a join brings none and no other is known.
    private let fallback: String?
    /// Of channels, and of bindings in each.
    private let limit: Int
    private(set) var channels: [String: Channel] = [:]
    private(set) var streams: [String: SupabaseStream] = [:]
    private var attempts: Deque<Attempt> = []
    /// Whom the session takes the client for.
    private var token: String? = nil
    private var next = 0
    /// Channels that were told to join again, and for how many ticks.
    private var awaited: [String: Int] = [:]
    /// In ticks: ten seconds. Clients join again after one.
    private static let patience = 20

    init(serializer: PhoenixSerializer, apiKey: String?, limit: Int) {
        self.serializer = serializer
        self.fallback = SupabaseJoin.token(apiKey.map { .string($0) })
        self.limit = limit
    }

    private mutating func number() -> Int {
        self.next += 1
        return self.next
    }

    // MARK: From the client

    mutating func received(_ message: PhoenixMessage, _ feeds: Feeds) -> [Effect] {
        if message.topic == "phoenix", message.event == "heartbeat" { return [.send(message.reply("ok", [:]))] }
        if message.event == "phx_join" { return self.join(message, feeds) }
        guard let channel = self.channels[message.topic] else {
            if message.event == "phx_leave" {
                self.awaited[message.topic] = nil
                return [.send(message.reply("ok", [:]))]
            }
            return [Self.refusal(of: message, .unknownID, "unmatched topic")]
        }
        // Something that the client said of a join that it has replaced since.
        let isStale = message.joinRef != .null && message.joinRef != channel.joinRef
        switch message.event {
        case "phx_leave" where isStale: return [.send(message.reply("ok", [:]))]
        case _ where isStale: return []
        case "phx_leave":
            return self.end(channel)
                + [.send(message.reply("ok", [:])), .send(Self.message("phx_close", of: channel))]
        case "access_token": return self.refresh(channel, message.payload["access_token"])
        case "broadcast":
            return [
                .send(
                    message.reply(
                        "error",
                        ["reason": "UnableToHandleBroadcast: this server sends changes of tables; it has no broadcast"]
                    )
                )
            ]
        case "presence":
            return [
                .send(
                    message.reply(
                        "error",
                        ["reason": "UnableToHandlePresence: this server sends changes of tables; it has no presence"]
                    )
                )
            ]
        default:
            let reason = "UnknownEvent: there is no event \"\(message.event.prefix(60))\" here"
            return [Self.refusal(of: message, .unknownType, reason)]
        }
    }

    private static func refusal(of message: PhoenixMessage, _ code: ErrorCode, _ reason: String) -> Effect {
        .refuse(code, message.reply("error", ["reason": .string(reason)]))
    }

    private static func message(_ event: String, of channel: Channel, _ payload: JSONObject = [:]) -> PhoenixMessage {
        // Without a join_ref of its own, version 1 says here which join is meant.
        PhoenixMessage(
            joinRef: channel.joinRef,
            ref: channel.joinRef,
            topic: channel.topic,
            event: event,
            payload: payload
        )
    }

    // MARK: Joining

    private mutating func join(_ message: PhoenixMessage, _ feeds: Feeds) -> [Effect] {
        guard message.topic.hasPrefix("realtime:") else {
            return [Self.refusal(of: message, .unknownID, "unmatched topic")]
        }
        var effects: [Effect] = []
        self.awaited[message.topic] = nil
        if let old = self.channels[message.topic] {
            effects += self.end(old)
            // Clients of version 1 would take it for the end of the new one.
            if self.serializer == .arrays { effects.append(.send(Self.message("phx_close", of: old))) }
        }
        do throws(SupabaseRefusal) {
            guard message.topic != "realtime:" else {
                throw SupabaseRefusal(.invalidField, "TopicNameRequired", "the channel needs a name")
            }
            guard self.channels.count < self.limit else {
                throw SupabaseRefusal(.tooManySubscriptions, "this connection has \(self.limit) channels, the limit")
            }
            let join = try SupabaseJoin(message.payload, limit: self.limit)
            var head = message
            head.payload = [:]
            let channel = Channel(join: head, number: self.number(), stage: .verifying, options: join.options)
            self.channels[channel.topic] = channel
            return effects + self.verify(join, channel, feeds)
        } catch {
            return effects + [Self.refusal(of: message, error.code, error.reason)]
        }
    }

    private mutating func verify(_ join: SupabaseJoin, _ channel: Channel, _ feeds: Feeds) -> [Effect] {
        if let token = self.token, join.token == nil || join.token == token { return self.open(join, channel, feeds) }
        guard let token = join.token ?? self.attempts.last?.token ?? self.fallback else {
            let refusal = SupabaseRefusal(
                .unauthenticated,
                "the join has no access_token, and rows are for known users only; sign in and join again"
            )
            return self.fail(channel, refusal)
        }
        return self.attempt(token) { $0.joins.append((channel.topic, channel.number, join)) }
    }

    private mutating func attempt(_ token: String, _ wait: (inout Attempt) -> Void) -> [Effect] {
        if let last = self.attempts.indices.last, self.attempts[last].token == token {
            wait(&self.attempts[last])
            return []
        }
        var attempt = Attempt(id: "token.\(self.number())", token: token)
        wait(&attempt)
        self.attempts.append(attempt)
        return [.ask(.authenticate(id: attempt.id, token: token))]
    }

    private mutating func refresh(_ channel: Channel, _ value: JSONValue?) -> [Effect] {
        guard let token = SupabaseJoin.token(value) else { return [] }
        if token == self.token, self.attempts.isEmpty { return [] }
        return self.attempt(token) { $0.refreshes.append((channel.topic, channel.number)) }
    }

    private mutating func open(_ join: SupabaseJoin, _ channel: Channel, _ feeds: Feeds) -> [Effect] {
        var channel = channel
        let streams: [SupabaseStream]
        do throws(SupabaseRefusal) {
            streams = try self.streams(of: join, channel, feeds)
        } catch {
            return self.fail(channel, error)
        }
        channel.stage = .opening(join)
        for stream in streams {
            self.streams[stream.id] = stream
            channel.streams[stream.id] = .asked
        }
        self.channels[channel.topic] = channel
        guard !streams.isEmpty else { return self.advance(channel) }
        return streams.map { .ask($0.command(channel.options)) }
    }

    /// One for each feed, filter and choice of columns, whatever the number of bindings that ask for it.
    private mutating func streams(
        of join: SupabaseJoin,
        _ channel: Channel,
        _ feeds: Feeds
    ) throws(SupabaseRefusal) -> [SupabaseStream] {
        var streams: [SupabaseStream] = []
        for (place, binding) in join.bindings.enumerated() {
            let fitting = feeds.values.filter { binding.fits(schema: $0.schema, table: $0.table) }
            guard !fitting.isEmpty else { throw Self.noFeed(binding, feeds) }
            for feed in fitting.map(\.name).sorted() {
                if let known = streams.firstIndex(where: { $0.serves(feed, binding) }) {
                    streams[known].add(binding, place + 1)
                    continue
                }
                guard streams.count < self.limit else {
                    throw SupabaseRefusal(.tooManySubscriptions, "a channel follows at most \(self.limit) tables here")
                }
                streams.append(
                    SupabaseStream(
                        id: "\(channel.number).\(streams.count)",
                        feed: feed,
                        binding: binding,
                        number: place + 1,
                        of: channel.topic,
                        joinRef: channel.joinRef,
                        channel.options
                    )
                )
            }
        }
        return streams
    }

    private static func noFeed(_ binding: SupabaseBinding, _ feeds: Feeds) -> SupabaseRefusal {
        if binding.isWildcard {
            return .configuration(
                "no table of \(binding.schema).\(binding.table) is a feed; an operator attaches tables with jobfeed.attach"
            )
        }
        let name = String("\(binding.schema).\(binding.table)".prefix(200))
        let tables = feeds.values.map { "\($0.schema).\($0.table)" }.sorted()
        return .configuration(
            "table \"\(name)\" is no feed\(Spelling.suggestion(for: name, among: tables)); an operator can make it one: "
                + "SELECT jobfeed.attach('NAME', '\(name)', status => 'COLUMN', owner => 'COLUMN')"
        )
    }

    /// Answers the join as soon as it can be.
    private mutating func advance(_ channel: Channel) -> [Effect] {
        guard case .opening(let join) = channel.stage else { return [] }
        // Whoever gets rows first may be answered before: nothing is missed.
        let isReady = channel.streams.values.allSatisfy { stage in
            channel.options.isInformed ? stage != .asked : stage == .live
        }
        guard isReady else { return [] }
        self.channels[channel.topic]?.stage = .joined
        let echo = join.bindings.enumerated().map { JSONValue.object($1.echo(id: $0 + 1)) }
        var effects: [Effect] = [.send(channel.join.reply("ok", ["postgres_changes": .array(echo)]))]
        if !join.bindings.isEmpty {
            effects.append(.send(Self.system("ok", "Subscribed to PostgreSQL", of: channel)))
        }
        return effects
    }

    private static func system(_ status: String, _ message: String, of channel: Channel) -> PhoenixMessage {
        PhoenixMessage(
            joinRef: channel.joinRef,
            topic: channel.topic,
            event: "system",
            payload: [
                "extension": "postgres_changes", "status": .string(status), "message": .string(message),
                "channel": .string(String(channel.topic.dropFirst("realtime:".count))),
            ]
        )
    }

    // MARK: Ending

    private mutating func end(_ channel: Channel) -> [Effect] {
        self.channels[channel.topic] = nil
        var effects: [Effect] = []
        for (id, stage) in channel.streams.sorted(by: { $0.key < $1.key }) {
            self.streams[id] = nil
            // What is not accepted yet may never be.
            if stage != .asked { effects.append(.ask(.unsubscribe(id: id))) }
        }
        return effects
    }

    /// Refuses a join that was not answered, or makes the client join again.
    private mutating func fail(_ channel: Channel, _ refusal: SupabaseRefusal) -> [Effect] {
        let effects = self.end(channel)
        if case .joined = channel.stage {
            self.awaited[channel.topic] = 0
            return effects + [.send(Self.message("phx_error", of: channel, ["reason": .string(refusal.reason)]))]
        }
        return effects + [.send(channel.join.reply("error", ["reason": .string(refusal.reason)]))]
    }

    /// - Returns: whether a channel did not join again in time. Clients of before 2025 do not know `phx_error`; with a new
    ///   connection they join all of their channels.
    mutating func tick() -> Bool {
        guard !self.awaited.isEmpty else { return false }
        self.awaited = self.awaited.mapValues { $0 + 1 }
        return self.awaited.values.contains { $0 > Self.patience }
    }

    // MARK: From the session

    mutating func answered(_ answer: Answer, _ feeds: Feeds) -> [Effect] {
        switch answer {
        case .welcome, .authenticated: return self.verified(feeds)
        case .accepted(let id):
            guard self.streams[id] != nil else { return [.ask(.unsubscribe(id: id))] }
            return self.moved(id, to: .accepted)
        case .subscribed(let id, let isRecovered, let reason):
            guard let stream = self.streams[id], let channel = self.channel(of: stream), channel.options.isInformed
            else {
                return []
            }
            let why = reason.map { JSONValue.string($0) } ?? .null
            return [.send(stream.note("subscribed", ["recovered": .bool(isRecovered), "reason": why]))]
        case .live(let id, let cursor):
            guard let stream = self.streams[id], let channel = self.channel(of: stream) else { return [] }
            let effects = self.moved(id, to: .live)
            guard channel.options.isInformed else { return effects }
            return effects + [.send(stream.note("live", ["cursor": .string(cursor)]))]
        case .reset(let id, let reason):
            guard let stream = self.streams[id], let channel = self.channel(of: stream) else { return [] }
            if channel.options.snapshot {
                return [.send(stream.note("reset", ["reason": .string(reason.rawValue)]))]
            }
            let message = "the rows have to be read again (\(reason.rawValue)); join again"
            return self.fail(channel, SupabaseRefusal(.unavailable, "ReconnectSubscribeToPostgres", message))
        case .error(let id?, let code, let message): return self.failed(id, SupabaseRefusal(code, message), feeds)
        case .error(nil, _, _), .unsubscribed, .pong, .heartbeat: return []
        }
    }

    private func channel(of stream: SupabaseStream) -> Channel? { self.channels[stream.topic] }

    private mutating func moved(_ id: String, to stage: StreamStage) -> [Effect] {
        guard let stream = self.streams[id], var channel = self.channel(of: stream) else { return [] }
        channel.streams[id] = stage
        self.channels[channel.topic] = channel
        return self.advance(channel)
    }

    private mutating func failed(_ id: String, _ refusal: SupabaseRefusal, _ feeds: Feeds) -> [Effect] {
        if self.attempts.first?.id == id { return self.rejected(refusal) }
        guard let stream = self.streams.removeValue(forKey: id), var channel = self.channel(of: stream) else {
            return []
        }
        let stage = channel.streams.removeValue(forKey: id)
        self.channels[channel.topic] = channel
        // A wildcard means the tables that this user may see and that can be followed.
        let isLeftOut = refusal.code == .forbidden || refusal.code == .unavailable
        if stream.isOptional, stage == .asked, isLeftOut, !channel.streams.isEmpty { return self.advance(channel) }
        return self.fail(channel, refusal)
    }

    private mutating func verified(_ feeds: Feeds) -> [Effect] {
        guard let attempt = self.attempts.popFirst() else { return [] }
        self.token = attempt.token
        var effects: [Effect] = []
        for (topic, number, join) in attempt.joins {
            guard let channel = self.channels[topic], channel.number == number else { continue }
            effects += self.open(join, channel, feeds)
        }
        return effects
    }

    /// The session goes on with the token before, if there was one; the client has none that is good, and so has to join
    /// again with a better one.
    private mutating func rejected(_ refusal: SupabaseRefusal) -> [Effect] {
        guard let attempt = self.attempts.popFirst() else { return [] }
        var effects: [Effect] = []
        for (topic, number) in attempt.joins.map({ ($0.topic, $0.number) }) + attempt.refreshes {
            guard let channel = self.channels[topic], channel.number == number else { continue }
            effects += self.fail(channel, refusal)
        }
        return effects
    }
}
