import JobFeedProtocol
import Testing

/// What is written can be read by a strict reader, and says the same.
@Suite struct MessageWriterTests {
    private static let texts = [
        "", "plain", "\"quoted\"", #"back\slash"#, "\u{0}\u{1}\u{8}\t\n\u{b}\u{c}\r\u{1f}\u{7f}", "é💥\u{2028}\u{fffd}",
        "</script>", String((0..<0x80).map { Character(Unicode.Scalar(UInt8($0))) }),
    ]

    private static func read(_ bytes: [UInt8]) throws -> JSONValue { try JSONValue(parsing: bytes) }

    @Test(arguments: texts)
    func textsSurvive(text: String) throws {
        let message = try Self.read(MessageWriter.error(id: text, code: .invalidFilter, message: text))
        let expected: JSONValue = [
            "type": "error", "id": .string(text), "code": "invalid_filter", "message": .string(text), "retry": false,
        ]
        #expect(message == expected)
        var writer = MessageWriter()
        writer.beginObject()
        writer.member(text, text)
        writer.endObject()
        #expect(try Self.read(writer.bytes) == .object([text: .string(text)]))
    }

    @Test func messagesHaveTheirShape() throws {
        let welcome = MessageWriter.welcome(
            connection: "c_1",
            node: "gw",
            user: "alice",
            access: "account",
            expiresAt: "2026-01-01T00:00:00Z",
            heartbeatSeconds: 25,
            subscriptions: 128,
            messageBytes: 65536
        )
        #expect(
            try Self.read(welcome) == [
                "type": "welcome", "connection": "c_1", "node": "gw", "user": "alice", "access": "account",
                "expires_at": "2026-01-01T00:00:00Z", "heartbeat_seconds": 25,
                "limits": ["subscriptions": 128, "message_bytes": 65536],
            ]
        )
        #expect(
            try Self.read(MessageWriter.subscribed(id: "s", recovered: true, reason: nil))
                == ["type": "subscribed", "id": "s", "recovered": true]
        )
        #expect(
            try Self.read(MessageWriter.subscribed(id: "s", recovered: false, reason: "epoch"))
                == ["type": "subscribed", "id": "s", "recovered": false, "reason": "epoch"]
        )
        #expect(try Self.read(MessageWriter.live(id: "s", cursor: "c")) == ["type": "live", "id": "s", "cursor": "c"])
        #expect(
            try Self.read(MessageWriter.reset(id: "s", reason: "retention")) == [
                "type": "reset", "id": "s", "reason": "retention",
            ]
        )
        #expect(try Self.read(MessageWriter.unsubscribed(id: "s")) == ["type": "unsubscribed", "id": "s"])
        #expect(try Self.read(MessageWriter.pong(id: "p")) == ["type": "pong", "id": "p"])
    }

    @Test func structureNests() throws {
        var writer = MessageWriter()
        writer.beginObject()
        writer.beginArray("empty")
        writer.endArray()
        writer.beginArray("list")
        writer.element(json: Array("1".utf8))
        writer.element(json: Array(#"{"a":[]}"#.utf8))
        writer.endArray()
        writer.beginObject("object")
        writer.member("int", Int.min)
        writer.member("yes", true)
        writer.member("json", json: Array("0.10".utf8)[...])
        writer.endObject()
        writer.member("last", "x")
        writer.endObject()
        #expect(
            String(decoding: writer.bytes, as: UTF8.self)
                == #"{"empty":[],"list":[1,{"a":[]}],"object":{"int":-9223372036854775808,"yes":true,"json":0.10},"last":"x"}"#
        )
        #expect(writer.count == writer.bytes.count)
    }
}
