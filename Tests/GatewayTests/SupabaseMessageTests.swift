import JobFeedProtocol
import NIOCore
import Testing
import WebSocketTransport

@testable import Gateway

@Suite struct SupabaseMessageTests {
    @Test(
        arguments: [
            (nil, PhoenixSerializer.objects), ("1.0.0", .objects), ("1.0.9", .objects), ("2.0.0", .arrays), ("", nil),
            ("1", nil), ("2.0", nil), ("3.0.0", nil), ("2.1.0", nil), ("2.0.x", nil), ("2.0.0.0", nil), ("2.0.-1", nil),
        ] as [(String?, PhoenixSerializer?)]
    )
    func versions(text: String?, serializer: PhoenixSerializer?) {
        #expect(PhoenixSerializer(version: text) == serializer)
    }

    private static let message = PhoenixMessage(
        joinRef: "1",
        ref: .null,
        topic: "realtime:é\"",
        event: "x",
        payload: ["a": [1, .null]]
    )

    @Test func writesWhatItReads() throws {
        let object = Self.text(PhoenixSerializer.objects.frame(Self.message).bytes)
        #expect(object == #"{"ref":null,"topic":"realtime:é\"","event":"x","payload":{"a":[1,null]}}"#)
        let array = Self.text(PhoenixSerializer.arrays.frame(Self.message).bytes)
        #expect(array == #"["1",null,"realtime:é\"","x",{"a":[1,null]}]"#)
        #expect(PhoenixSerializer.arrays.message(in: array.utf8) == Self.message)
        #expect(PhoenixSerializer.objects.message(in: array.utf8) == nil)
        #expect(PhoenixSerializer.arrays.message(in: object.utf8) == nil)
    }

    /// Without the WebSocket frame's head.
    static func text(_ bytes: ByteBuffer) -> String {
        let view = bytes.readableBytesView
        return String(decoding: view.drop { $0 != UInt8(ascii: "{") && $0 != UInt8(ascii: "[") }, as: UTF8.self)
    }

    @Test(arguments: [
        "", "x", "{}", "[]", "[1,2,3,4]", #"[null,null,"t","e",[]]"#, #"[null,null,"t",5,{}]"#,
        #"[{},null,"t","e",{}]"#,
        #"[null,true,"t","e",{}]"#, #"[null,null,"t","e",{},1]"#,
        "[null,\"\(String(repeating: "r", count: 65))\",\"t\",\"e\",{}]",
        "[null,null,\"\(String(repeating: "t", count: 1025))\",\"e\",{}]",
    ])
    func refusesWhatIsNone(text: String) {
        #expect(PhoenixSerializer.arrays.message(in: text.utf8) == nil)
        #expect(PhoenixSerializer.objects.message(in: text.utf8) == nil)
    }

    @Test func headsOfBinaryPushes() throws {
        let head: [UInt8] = [3, 1, 2, 1, 1, 0, 1]
        let push = try #require(PhoenixBroadcastPush(ByteBuffer(bytes: head + Array("123te{}".utf8))))
        #expect(push.joinRef == "1" && push.ref == "23" && push.topic == "t")
        for count in 0..<11 {
            #expect(PhoenixBroadcastPush(ByteBuffer(bytes: (head + Array("123t".utf8)).prefix(count))) == nil)
        }
        #expect(PhoenixBroadcastPush(ByteBuffer(bytes: [4] + head.dropFirst() + Array("123te{}".utf8))) == nil)
    }

    @Test(arguments: [
        ("bigint", "int8"), ("timestamp with time zone", "timestamptz"), ("character varying", "varchar"),
        ("text[]", "_text"), ("integer[]", "_int4"), ("public.mood", "mood"), ("public.\"My \"\"Mood\"", "My \"Mood"),
        ("\"char\"", "char"), ("\"a.b\".\"c.d\"[]", "_c.d"), ("jsonb", "jsonb"), ("", ""), ("\"", ""),
    ])
    func typeNames(formatted: String, name: String) {
        #expect(PostgresTypeName.name(of: formatted) == name)
    }
}
