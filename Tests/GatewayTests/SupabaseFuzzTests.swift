import Feed
import JobFeedProtocol
import NIOCore
import Testing
import WebSocketTransport

@testable import Gateway

/// Whatever a peer sends, and whatever the session answers to it: nothing crashes, and nothing grows beyond its limit.
@Suite struct SupabaseFuzzTests {
    private static let limit = 5

    @Test(arguments: [PhoenixSerializer.objects, .arrays])
    func anything(serializer: PhoenixSerializer) {
        var random = Numbers(state: serializer == .arrays ? 1 : 2)
        for _ in 0..<200 {
            var conversation = SupabaseConversation(serializer: serializer, apiKey: "K", limit: Self.limit)
            var asked: [Command] = []
            for _ in 0..<60 {
                let effects: [SupabaseConversation.Effect]
                if random.below(3) == 0 {
                    effects = conversation.answered(Self.answer(asked, &random), [:])
                } else {
                    var text = Array(Self.value(&random, 0, serializer).encoded().utf8)
                    if random.below(4) == 0, !text.isEmpty { text[random.below(text.count)] = UInt8(random.below(256)) }
                    if random.below(6) == 0 { text.removeLast(random.below(text.count + 1)) }
                    _ = PhoenixBroadcastPush(ByteBuffer(bytes: text))
                    guard let message = serializer.message(in: text) else { continue }
                    effects = conversation.received(message, Self.feeds)
                }
                for effect in effects {
                    switch effect {
                    case .ask(let command): asked.append(command)
                    case .send(let message), .refuse(_, let message?):
                        let frame = serializer.frame(message)
                        #expect(frame.bytes.readableBytes > 0)
                    case .refuse(_, nil): break
                    }
                }
                #expect(conversation.channels.count <= Self.limit)
                #expect(conversation.streams.count <= Self.limit * Self.limit)
                _ = conversation.tick()
            }
        }
    }

    private static let feeds = [
        "jobs": FeedDefinition(
            name: "jobs",
            schema: "public",
            table: "job",
            columns: [],
            key: ["id"],
            status: "status",
            hops: [],
            ownerColumn: nil,
            ownerTypeName: nil,
            hidden: [],
            quiet: [],
            gauges: [],
            orderColumn: nil,
            since: 1,
            revision: "1"
        )
    ]

    private static func answer(_ asked: [Command], _ random: inout Numbers) -> Answer {
        let id = asked.isEmpty ? "1.0" : asked[random.below(asked.count)].id
        switch random.below(8) {
        case 0: return .authenticated(id: id, expiresAt: "")
        case 1: return .accepted(id: id)
        case 2: return .subscribed(id: id, recovered: false, reason: "no_cursor")
        case 3: return .live(id: id, cursor: "c")
        case 4: return .reset(id: id, .truncate)
        case 5: return .unsubscribed(id: id)
        case 6: return .error(id: id, .allCases[random.below(ErrorCode.allCases.count)], "x")
        default: return .heartbeat(asOf: "", tokenExpiresIn: 1, cursor: nil)
        }
    }

    private static let words = [
        "realtime:a", "realtime:b", "realtime:", "phoenix", "phx_join", "phx_join", "phx_leave", "heartbeat",
        "access_token", "broadcast", "presence", "*", "public", "job", "INSERT", "id=eq.1", "sb_x", "T", "1", "",
    ]
    private static let names = [
        "topic", "event", "payload", "ref", "join_ref", "config", "access_token", "postgres_changes", "jobfeed",
        "broadcast", "schema", "table", "filter", "select", "snapshot", "resume", "leave", "limit",
    ]

    /// Often a message that is nearly right.
    private static func value(_ random: inout Numbers, _ depth: Int, _ serializer: PhoenixSerializer) -> JSONValue {
        if depth == 0, random.below(5) != 0 {
            let binding: JSONValue = ["event": .string(random.one(of: words)), "schema": "public", "table": "job"]
            let payload: JSONValue =
                random.below(2) == 0
                ? [
                    "config": ["postgres_changes": [binding], "jobfeed": Self.value(&random, 3, serializer)],
                    "access_token": "T",
                ]
                : Self.value(&random, 1, serializer)
            let parts: [JSONValue] = [
                .string(random.one(of: words)), .string(random.one(of: words)), .string(random.one(of: words)),
                .string(random.one(of: words)), payload,
            ]
            guard serializer == .objects else { return .array(parts) }
            return .object(JSONObject(zip(["join_ref", "ref", "topic", "event", "payload"], parts)))
        }
        switch random.below(depth > 4 ? 4 : 6) {
        case 0: return .null
        case 1: return .bool(random.below(2) == 0)
        case 2: return .number(String(random.below(100_000)))
        case 3: return .string(random.one(of: words))
        case 4:
            return .array((0..<random.below(5)).map { _ in Self.value(&random, depth + 1, serializer) })
        default:
            return .object(
                JSONObject(
                    (0..<random.below(6)).map { _ in (random.one(of: names), Self.value(&random, depth + 1, serializer))
                    }
                )
            )
        }
    }

    /// The same numbers in every run.
    private struct Numbers {
        var state: UInt64

        mutating func below(_ bound: Int) -> Int {
            // Knuth's MMIX generator; the upper bits are the better ones.
            self.state = self.state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(self.state >> 33) % bound
        }

        mutating func one(of list: [String]) -> String { list[self.below(list.count)] }
    }
}
