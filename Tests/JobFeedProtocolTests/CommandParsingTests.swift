import JobFeedProtocol
import Testing

@Suite struct CommandParsingTests {
    @Test(arguments: [
        (
            #"{"type":"subscribe","id":"s1","channel":"jobs"}"#,
            Command.subscribe(Subscribe(id: "s1", channel: "jobs"))
        ),
        (
            #"""
            {"type":"subscribe","id":"s1","channel":"jobs:processing","filter":"path=eq./spookify",
             "columns":["status","progress"],"resume":"AbC","snapshot":false,"limit":10,"max_rate":4}
            """#,
            .subscribe(
                Subscribe(
                    id: "s1",
                    channel: "jobs:processing",
                    filter: "path=eq./spookify",
                    columns: ["status", "progress"],
                    resume: "AbC",
                    snapshot: false,
                    limit: 10,
                    maxRate: 4
                )
            )
        ),
        (
            #"{"type":"subscribe","id":"s","channel":"jobs","limit":10000,"filter":null,"columns":null,"resume":null}"#,
            .subscribe(Subscribe(id: "s", channel: "jobs", limit: 10000))
        ),
        (#"{"type":"subscribe","id":"s","channel":"j","limit":1e3}"#, .subscribe(Subscribe(id: "s", channel: "j"))),
        (#"{"type":"unsubscribe","id":"s1"}"#, .unsubscribe(id: "s1")),
        (#"{"type":"authenticate","id":"0","token":"a.b.c"}"#, .authenticate(id: "0", token: "a.b.c")),
        (#"{"type":"ping","id":"p","x":1,"ts":2,"trace":{}}"#, .ping(id: "p")),
    ])
    func understood(text: String, expected: Command) throws {
        #expect(try Command.parse(text.utf8) == expected)
        #expect(try Command.parse(expected.encoded().utf8) == expected)
    }

    @Test(arguments: [
        // not one JSON object
        ("", nil, ErrorCode.invalidJSON, "not JSON"),
        ("ping", nil, .invalidJSON, "not JSON"),
        ("[]", nil, .invalidJSON, "an array"),
        ("42", nil, .invalidJSON, "a number"),
        (#"{"type":"ping","id":"p"} x"#, nil, .invalidJSON, "after the value"),
        // type
        ("{}", nil, .missingField, "\"type\" is missing"),
        (#"{"id":"a"}"#, "a", .missingField, "\"type\" is missing"),
        (#"{"id":"a","tpye":"ping"}"#, "a", .unknownField, "did you mean \"type\""),
        (#"{"id":"a","type":7}"#, "a", .invalidField, "\"type\" is 7"),
        (#"{"id":"a","type":"subscrbe"}"#, "a", .unknownType, "did you mean \"subscribe\""),
        (#"{"id":"a","type":"unsubscibe"}"#, "a", .unknownType, "did you mean \"unsubscribe\""),
        (#"{"id":"a","type":"publish"}"#, "a", .unknownType, "one of \"subscribe\""),
        // id
        (#"{"type":"ping"}"#, nil, .missingField, "\"id\" is missing"),
        (#"{"type":"ping","id":7}"#, nil, .invalidField, "\"id\" is 7; it must be a string of 1 to 64"),
        (#"{"type":"ping","id":""}"#, nil, .invalidField, "1 to 64"),
        (#"{"type":"ping","id":null}"#, nil, .invalidField, "\"id\" is null"),
        (#"{"type":"ping","id":"\#(String(repeating: "x", count: 65))"}"#, nil, .invalidField, "1 to 64"),
        (#"{"type":"ping","ID":"p"}"#, nil, .unknownField, "did you mean \"id\""),
        // channel
        (#"{"type":"subscribe","id":"s"}"#, "s", .missingField, "\"channel\" is missing"),
        (#"{"type":"subscribe","id":"s","chanel":"jobs"}"#, "s", .unknownField, "did you mean \"channel\""),
        (#"{"type":"subscribe","id":"s","channel":["jobs"]}"#, "s", .invalidField, "\"channel\" is an array"),
        (#"{"type":"subscribe","id":"s","channel":"jobs:"}"#, "s", .invalidChannel, "empty status"),
        (#"{"type":"subscribe","id":"s","channel":"jobs#count"}"#, "s", .invalidChannel, "#count"),
        // the rest of subscribe
        (#"{"type":"subscribe","id":"s","channel":"j","limit":0}"#, "s", .invalidField, "from 1 to 10000"),
        (#"{"type":"subscribe","id":"s","channel":"j","limit":10001}"#, "s", .invalidField, "\"limit\" is 10001"),
        (#"{"type":"subscribe","id":"s","channel":"j","limit":1.5}"#, "s", .invalidField, "\"limit\" is 1.5"),
        (#"{"type":"subscribe","id":"s","channel":"j","limit":"5"}"#, "s", .invalidField, "\"limit\" is \"5\""),
        (#"{"type":"subscribe","id":"s","channel":"j","limit":1e400}"#, "s", .invalidField, "\"limit\" is 1e400"),
        (#"{"type":"subscribe","id":"s","channel":"j","limits":5}"#, "s", .unknownField, "did you mean \"limit\""),
        (#"{"type":"subscribe","id":"s","channel":"j","columns":[]}"#, "s", .invalidField, "an empty array"),
        (#"{"type":"subscribe","id":"s","channel":"j","columns":"a,b"}"#, "s", .invalidField, "\"columns\" is \"a,b\""),
        (#"{"type":"subscribe","id":"s","channel":"j","columns":["a",1]}"#, "s", .invalidField, "\"columns\""),
        (#"{"type":"subscribe","id":"s","channel":"j","colums":["a"]}"#, "s", .unknownField, "\"columns\""),
        (#"{"type":"subscribe","id":"s","channel":"j","max_rate":0}"#, "s", .invalidField, "greater than 0"),
        (#"{"type":"subscribe","id":"s","channel":"j","max_rate":-1}"#, "s", .invalidField, "greater than 0"),
        (#"{"type":"subscribe","id":"s","channel":"j","max_rate":1e999}"#, "s", .invalidField, "greater than 0"),
        (#"{"type":"subscribe","id":"s","channel":"j","maxRate":4}"#, "s", .unknownField, "\"max_rate\""),
        (#"{"type":"subscribe","id":"s","channel":"j","snapshot":"no"}"#, "s", .invalidField, "true or false"),
        (#"{"type":"subscribe","id":"s","channel":"j","filter":{}}"#, "s", .invalidField, "\"filter\" is an object"),
        (#"{"type":"subscribe","id":"s","channel":"j","resume":1}"#, "s", .invalidField, "\"resume\" is 1"),
        // authenticate
        (#"{"type":"authenticate","id":"a"}"#, "a", .missingField, "\"token\" is missing"),
        (#"{"type":"authenticate","id":"a","token":""}"#, "a", .invalidField, "\"token\""),
    ])
    func refused(text: String, id: String?, code: ErrorCode, part: String) throws {
        let error = try #require(throws: CommandError.self) { try Command.parse(text.utf8) }
        #expect(error.id == id)
        #expect(error.code == code)
        #expect(error.message.contains(part), "\(error.message)")
        #expect(error.isProtocolError == (code == .invalidJSON))
    }

    @Test func aTokenIsNotRepeatedInAnAnswer() throws {
        let error = try #require(throws: CommandError.self) {
            try Command.parse(#"{"type":"authenticate","id":"a","token":["secret"]}"#.utf8)
        }
        #expect(!error.message.contains("secret"))
    }

    @Test func answersDoNotGrowWithTheCommand() throws {
        let long = String(repeating: "y", count: 50_000)
        for text in [
            #"{"type":"\#(long)","id":"a"}"#, #"{"type":"subscribe","id":"a","channel":":\#(long)"}"#,
            #"{"type":"subscribe","id":"a","channel":"j","limit":1\#(String(repeating: "0", count: 50_000))}"#,
        ] {
            let error = try #require(throws: CommandError.self) { try Command.parse(text.utf8) }
            #expect(error.message.utf8.count < 300)
        }
    }
}
