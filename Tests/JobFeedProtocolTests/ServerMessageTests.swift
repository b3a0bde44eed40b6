import Testing

@testable import JobFeedProtocol

@Suite struct ServerMessageTests {
    @Test(arguments: [
        (
            #"{"type":"subscribed","id":"s1","recovered":false,"reason":"no_cursor","new":[]}"#,
            ServerMessage.subscribed(.init(id: "s1", recovered: false, reason: "no_cursor"))
        ),
        (
            #"{"type":"snapshot","id":"s1","rows":[{"id":42,"status":"x"}],"truncated":true}"#,
            .snapshot(id: "s1", .rows([.init(key: "42", columns: ["id": 42, "status": "x"])], truncated: true))
        ),
        (
            #"{"type":"snapshot","id":"s1","rows":[{"uuid":"a"}],"keys":["a"]}"#,
            .snapshot(id: "s1", .rows([.init(key: "a", columns: ["uuid": "a"])], truncated: false))
        ),
        (#"{"type":"snapshot","id":"c","counts":{"pending":3}}"#, .snapshot(id: "c", .counts(["pending": 3]))),
        (#"{"type":"live","id":"s1","cursor":"AbC"}"#, .live(id: "s1", cursor: "AbC")),
        (
            #"""
            {"type":"changes","id":"s1","cursor":"AbD","at":"2026-11-21T09:00:00.123456Z","changes":[
             {"op":"enter","key":"43","reason":"created","row":{"id":43}},
             {"op":"update","key":"42","set":{"progress":null}},
             {"op":"later","key":"42"},
             {"op":"leave","key":"41","reason":"filter","set":{"status":"success"}}]}
            """#,
            .changes(
                .init(
                    id: "s1",
                    cursor: "AbD",
                    at: "2026-11-21T09:00:00.123456Z",
                    body: .changes([
                        .enter(key: "43", reason: "created", row: ["id": 43]),
                        .update(key: "42", set: ["progress": .null]),
                        .leave(key: "41", reason: "filter", set: ["status": "success"]),
                    ])
                )
            )
        ),
        (
            #"{"type":"changes","id":"c","cursor":"x","counts":{"a":2}}"#,
            .changes(.init(id: "c", cursor: "x", at: nil, body: .counts(["a": 2])))
        ),
        (#"{"type":"reset","id":"s1","reason":"retention"}"#, .reset(id: "s1", reason: "retention")),
        (#"{"type":"unsubscribed","id":"s1"}"#, .unsubscribed(id: "s1")),
        (#"{"type":"pong","id":"p"}"#, .pong(id: "p")),
        (
            #"{"type":"heartbeat","as_of":"t","token_expires_in":1500,"cursor":"z"}"#,
            .heartbeat(.init(asOf: "t", tokenExpiresIn: 1500, cursor: "z"))
        ),
        (
            #"{"type":"error","id":"s1","code":"invalid_filter","message":"m","retry":false}"#,
            .error(.init(id: "s1", code: "invalid_filter", message: "m", retry: false))
        ),
        (#"{"type":"fireworks","id":7}"#, .unknown(type: "fireworks")),
    ])
    func understood(text: String, expected: ServerMessage) throws {
        #expect(try ServerMessage(decoding: text) == expected)
    }

    @Test(arguments: [
        "x", "[]", "{}", #"{"type":"live"}"#, #"{"type":"snapshot","id":"s"}"#,
        #"{"type":"snapshot","id":"s","rows":[{"uuid":"a"}]}"#, #"{"type":"snapshot","id":"s","rows":[1]}"#,
        #"{"type":"snapshot","id":"s","rows":[{"id":1}],"keys":[]}"#, #"{"type":"changes","id":"s"}"#,
        #"{"type":"changes","id":"s","changes":[{"op":"enter","key":"1"}]}"#,
        #"{"type":"changes","id":"s","changes":[{"op":"update","set":{}}]}"#,
    ])
    func refused(text: String) {
        #expect(throws: MessageError.self) { try ServerMessage(decoding: text) }
    }

    @Test(
        arguments: [
            (1000, true), (1001, true), (1005, true), (1006, true), (1011, true), (1012, true), (1013, true),
            (1002, false), (1008, false), (1009, false), (4000, true), (4003, true), (4499, true), (4500, false),
            (4501, false), (4509, false), (4999, false),
        ] as [(UInt16, Bool)]
    )
    func reconnects(code: UInt16, expected: Bool) {
        #expect(CloseCode.mayReconnect(code) == expected)
    }
}
