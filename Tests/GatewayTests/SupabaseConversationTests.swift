import Feed
import JobFeedProtocol
import Testing

@testable import Gateway

@Suite final class SupabaseConversationTests {
    typealias Effect = SupabaseConversation.Effect

    private static func feed(_ name: String, _ table: String) -> FeedDefinition {
        FeedDefinition(
            name: name,
            schema: "public",
            table: table,
            columns: [.init(name: "id", typeName: "bigint", type: .number)],
            key: ["id"],
            status: "id",
            hops: [],
            ownerColumn: "id",
            ownerTypeName: "bigint",
            hidden: [],
            quiet: [],
            gauges: [],
            orderColumn: nil,
            since: 1,
            revision: "1"
        )
    }

    private static let feeds = ["jobs": feed("jobs", "job"), "prints": feed("prints", "print")]
    private static let welcome = Answer.authenticated(id: "", expiresAt: "")

    private var conversation = SupabaseConversation(serializer: .arrays, apiKey: nil, limit: 4)

    private func join(
        _ topic: String = "realtime:a",
        ref: String = "1",
        token: JSONValue = "T",
        bindings: JSONValue = [["event": "*", "schema": "public", "table": "job"]],
        more: JSONObject = [:]
    ) -> [Effect] {
        var config: JSONObject = ["postgres_changes": bindings]
        config.assign(more)
        let message = PhoenixMessage(
            joinRef: .string(ref),
            ref: .string(ref),
            topic: topic,
            event: "phx_join",
            payload: ["config": .object(config), "access_token": token]
        )
        return self.conversation.received(message, Self.feeds)
    }

    private func tick() -> Bool { self.conversation.tick() }

    private func said(_ answer: Answer) -> [Effect] { self.conversation.answered(answer, Self.feeds) }

    private static func subscriptions(in effects: [Effect]) -> [String] {
        effects.compactMap { effect in
            if case .ask(.subscribe(let request)) = effect { "\(request.id) \(request.channel)" } else { nil }
        }
    }

    private static func events(in effects: [Effect]) -> [String] {
        effects.map { effect in
            switch effect {
            case .ask(let command): "ask \(command.id)"
            case .send(let message): Self.name(message)
            case .refuse(_, let message): "refuse " + (message.map(Self.name) ?? "")
            }
        }
    }

    private static func name(_ message: PhoenixMessage) -> String {
        message.payload["status"].map { "\(message.event) \($0.stringValue ?? "")" } ?? message.event
    }

    @Test func answersAJoinWhenAllIsLive() {
        #expect(Self.events(in: self.join()) == ["ask token.2"])
        #expect(Self.subscriptions(in: self.said(Self.welcome)) == ["1.0 jobs"])
        #expect(self.said(.accepted(id: "1.0")).isEmpty)
        #expect(self.said(.subscribed(id: "1.0", recovered: false, reason: "no_cursor")).isEmpty)
        #expect(Self.events(in: self.said(.live(id: "1.0", cursor: "c"))) == ["phx_reply ok", "system ok"])
    }

    @Test func answersAJoinWithRowsWhenAllIsAccepted() {
        let bindings: JSONValue = [["event": "*", "schema": "public"]]
        _ = self.join(bindings: bindings, more: ["jobfeed": ["snapshot": true]])
        #expect(Self.subscriptions(in: self.said(Self.welcome)) == ["1.0 jobs", "1.1 prints"])
        #expect(self.said(.accepted(id: "1.0")).isEmpty)
        #expect(Self.events(in: self.said(.accepted(id: "1.1"))) == ["phx_reply ok", "system ok"])
        #expect(Self.events(in: self.said(.live(id: "1.1", cursor: "c"))) == ["broadcast"])
    }

    @Test func verifiesATokenOnce() {
        #expect(Self.events(in: self.join("realtime:a")) == ["ask token.2"])
        #expect(self.join("realtime:b").isEmpty)
        #expect(self.join("realtime:c", token: .null).isEmpty)
        #expect(Self.subscriptions(in: self.said(Self.welcome)) == ["1.0 jobs", "3.0 jobs", "4.0 jobs"])
        #expect(Self.subscriptions(in: self.join("realtime:d")) == ["5.0 jobs"])
        #expect(Self.events(in: self.join("realtime:e")) == ["refuse phx_reply error"])
    }

    @Test func refusesAJoinWhoseTokenIsNoGood() {
        _ = self.join()
        #expect(Self.events(in: self.said(.error(id: "token.2", .invalidToken, "no"))) == ["phx_reply error"])
        #expect(self.conversation.channels.isEmpty)
        #expect(Self.events(in: self.join(token: .null)) == ["phx_reply error"])
    }

    @Test func endsWhatARefusedJoinHasOpened() {
        let filters = ["a", "b", "c"].map { name -> JSONValue in
            ["event": "*", "schema": "public", "table": "job", "filter": .string("id=eq.\(name)")]
        }
        _ = self.join(bindings: .array(filters))
        #expect(self.said(Self.welcome).count == 3)
        #expect(self.said(.accepted(id: "1.0")).isEmpty)
        let refused = self.said(.error(id: "1.1", .invalidFilter, "no"))
        #expect(Self.events(in: refused) == ["ask 1.0", "phx_reply error"])
        // The session was on its way to the third.
        #expect(self.said(.accepted(id: "1.2")) == [.ask(.unsubscribe(id: "1.2"))])
        #expect(self.conversation.streams.isEmpty)
    }

    @Test func leavesOutOfAWildcardWhatTheUserMayNotSee() {
        _ = self.join(bindings: [["event": "*", "schema": "public"]])
        _ = self.said(Self.welcome)
        _ = self.said(.accepted(id: "1.0"))
        #expect(self.said(.error(id: "1.1", .forbidden, "no")).isEmpty)
        #expect(Self.events(in: self.said(.live(id: "1.0", cursor: "c"))) == ["phx_reply ok", "system ok"])
        _ = self.join("realtime:b", ref: "2", bindings: [["event": "*", "schema": "public"]])
        #expect(self.said(.error(id: "3.0", .forbidden, "no")).isEmpty)
        #expect(Self.events(in: self.said(.error(id: "3.1", .forbidden, "no"))) == ["phx_reply error"])
    }

    @Test func asksForANewConnectionWhenAClientDoesNotJoinAgain() {
        _ = self.join()
        _ = self.said(Self.welcome)
        _ = self.said(.accepted(id: "1.0"))
        _ = self.said(.live(id: "1.0", cursor: "c"))
        #expect(Self.events(in: self.said(.reset(id: "1.0", .truncate))) == ["ask 1.0", "phx_error"])
        #expect((0..<20).allSatisfy { _ in !self.tick() })
        let before = self.conversation
        #expect(self.tick())
        self.conversation = before
        _ = self.join(ref: "2")
        #expect(!self.tick())
    }

    @Test func sharesOneStreamAmongBindingsForTheSameRows() throws {
        let events = ["INSERT", "UPDATE", "*"].map { event -> JSONValue in
            ["event": .string(event), "schema": "public", "table": "job"]
        }
        _ = self.join(bindings: .array(events))
        #expect(Self.subscriptions(in: self.said(Self.welcome)) == ["1.0 jobs"])
        let stream = try #require(self.conversation.streams["1.0"])
        #expect(stream.ids == [.insert: [1, 3], .update: [2, 3], .delete: [3]])
        #expect(stream.name == "1/jobs")
    }
}
