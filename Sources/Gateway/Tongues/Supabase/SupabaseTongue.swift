import Feed
import JobFeedProtocol
import NIOCore
import WebSocketTransport

/// Supabase Realtime's protocol for `postgres_changes`, so that its clients connect as they are; see `docs/supabase.md`.
final class SupabaseTongue: Tongue {
    private let serializer: PhoenixSerializer
    private var conversation: SupabaseConversation
    /// Those that are attached now.
    private let feeds: () -> [String: FeedDefinition]

    init(_ upgrade: SupabaseUpgrade, limit: Int, feeds: @escaping () -> [String: FeedDefinition]) {
        self.serializer = upgrade.serializer
        self.conversation = SupabaseConversation(serializer: upgrade.serializer, apiKey: upgrade.apiKey, limit: limit)
        self.feeds = feeds
    }

    func turns(after text: ByteBuffer) throws(CommandError) -> [Turn] {
        guard let message = self.serializer.message(in: text.readableBytesView) else {
            // As on Supabase, it costs the message and not the connection.
            return [.refuse(.invalidJSON, [])]
        }
        return self.turns(self.conversation.received(message, self.feeds()))
    }

    func turns(afterBinary bytes: ByteBuffer) -> [Turn]? {
        guard self.serializer == .arrays, let push = PhoenixBroadcastPush(bytes) else {
            return [.refuse(.invalidJSON, [])]
        }
        let message = PhoenixMessage(joinRef: push.joinRef, ref: push.ref, topic: push.topic, event: "broadcast")
        return self.turns(self.conversation.received(message, self.feeds()))
    }

    func turns(after answer: Answer) -> [Turn] {
        self.turns(self.conversation.answered(answer, self.feeds()))
    }

    private func turns(_ effects: [SupabaseConversation.Effect]) -> [Turn] {
        effects.map { effect in
            switch effect {
            case .ask(let command): .ask(command)
            case .send(let message): .tell(self.serializer.frame(message))
            case .refuse(let code, let message): .refuse(code, message.map { [self.serializer.frame($0)] } ?? [])
            }
        }
    }

    func encoding(of request: Subscribe) -> any RowEncoding {
        guard let stream = self.conversation.streams[request.id] else { return NativeEncoding() }
        return SupabaseEncoding(self.serializer, stream)
    }

    var grammar: FilterParser.Grammar { .realtime }

    /// A client that is not signed in sends a key that names nobody, and its user's token later.
    var staysAfterRefusedToken: Bool { true }

    /// After 1001 some clients think that they closed the connection themselves.
    var farewell: CloseCode { .serviceRestart }

    func tick() -> CloseCode? { self.conversation.tick() ? .serviceRestart : nil }
}

@available(*, unavailable)
extension SupabaseTongue: Sendable {}
