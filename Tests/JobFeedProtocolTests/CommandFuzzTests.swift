import Fuzz
import Testing

@testable import JobFeedProtocol

/// What a client may send as text, and what it may name in it.
@Suite struct CommandFuzzTests {
    private static let commands = [
        #"{"type":"subscribe","id":"s1","channel":"jobs:a,b","columns":["x"],"limit":10,"max_rate":4,"snapshot":false}"#,
        #"{"type":"subscribe","id":"s1","channel":"jobs/42","filter":"path=eq./x&retries=gt.2","resume":"AbC","limit":null}"#,
        #"{"type":"authenticate","id":"0","token":"\ud83d\ude00.a.b"}"#,
        #"{"type":"unsubscribe","id":"é"}"#, #"{"type":"ping","id":"p9","later":{"a":[1,-0.5e+3,true,null]}}"#,
    ].map { Array($0.utf8) }

    private static let words = [
        "\"", "\\", "\\u", "\\ud800", "\\udc00", "\\u0000", "{", "}", "[", "]", ",", ":", "null", "1e999999999", "-",
        "0.1",
        "\"id\":\"other\",", "\"type\":\"ping\",", "\"limit\":9223372036854775808,", "\"limit\":1e4,",
        "\"max_rate\":1e-400,",
        "\"chanel\":1,", "\u{301}", "\u{feff}", String(repeating: "[", count: 10_000),
        String(repeating: "{\"a\":", count: 65),
        String(repeating: "9", count: 5000), String(repeating: "a", count: 5000),
    ]

    @Test func commands() async {
        var understood = 0
        let failure = await Fuzz.failure(of: "commands", iterations: 4000) { random in
            let bytes = random.mutated(random.pick(Self.commands), words: Self.words)
            do throws(CommandError) {
                let command = try Command.parse(bytes)
                understood += 1
                guard try Command.parse(command.encoded().utf8) == command else {
                    throw CommandError(id: nil, code: .internalError, message: "\(command) is read back as another one")
                }
            } catch {
                // An answer repeats little of what was asked.
                if error.code == .internalError || error.message.utf8.count > 1500 { throw error }
                if let id = error.id, !Subscribe.idLengths.contains(id.unicodeScalars.count) { throw error }
            }
        }
        #expect(failure == nil)
        #expect(understood > 0)
    }

    @Test func channels() async {
        var understood = 0
        let failure = await Fuzz.failure(of: "channels", iterations: 4000) { random in
            let text =
                (random.chance(70) ? "jobs" + random.pick([":", "/", "#", "#counts", ""]) : "")
                + random.text(random.below(9))
            do {
                let channel = try Channel(parsing: text)
                understood += 1
                guard channel.description.utf8.elementsEqual(text.utf8),
                    try Channel(parsing: channel.description) == channel
                else { throw Fuzz.Mistake("\(channel) is not \(text)") }
            } catch let error as ChannelError {
                guard error.description.utf8.count < 1000 else { throw error }
            }
        }
        #expect(failure == nil)
        #expect(understood > 0)
    }

    // MARK: JSON

    private static func value(_ random: inout FuzzRandom, depth: Int) -> JSONValue {
        switch random.below(depth > 0 ? 8 : 5) {
        case 0: .string(random.text(random.below(12)))
        case 1:
            .number(
                random.pick([
                    "0", "-0", "1.50", "1e400", "-9223372036854775809", "0.1E-7", String(repeating: "7", count: 400),
                ])
            )
        case 2: .bool(random.chance(50))
        case 3: .null
        case 4: .string("")
        case 5: .array((0..<random.below(4)).map { _ in Self.value(&random, depth: depth - 1) })
        default:
            .object(
                JSONObject(
                    (0..<random.below(4)).map { _ in
                        (random.text(random.below(3)), Self.value(&random, depth: depth - 1))
                    }
                )
            )
        }
    }

    @Test func whatIsWrittenIsReadBack() async {
        let failure = await Fuzz.failure(of: "json", iterations: 4000) { random in
            let value = Self.value(&random, depth: 5)
            let text = value.encoded()
            let back = try JSONValue(parsing: text)
            guard back == value, back.encoded() == text else { throw Fuzz.Mistake("\(text) is read as \(back)") }
            let mutant = random.mutated(Array(text.utf8), words: Self.words)
            guard let read = try? JSONValue(parsing: mutant) else { return }
            guard String(validating: mutant, as: UTF8.self) != nil else {
                throw Fuzz.Mistake("took invalid UTF-8: \(mutant)")
            }
            guard try JSONValue(parsing: read.encoded()) == read else {
                throw Fuzz.Mistake("\(read) is read back as another one")
            }
        }
        #expect(failure == nil)
    }

    @Test(arguments: [("[", "]"), (#"{"a":"#, "}")])
    func depthHasOneLimit(open: String, close: String) throws {
        func nested(_ depth: Int) -> String {
            String(repeating: open, count: depth) + "1" + String(repeating: close, count: depth)
        }
        _ = try JSONValue(parsing: nested(64))
        for depth in [65, 10_000, 1_000_000] {
            #expect(throws: JSONError.self) { try JSONValue(parsing: nested(depth)) }
            #expect(throws: JSONError.self) { try JSONValue(parsing: String(repeating: open, count: depth)) }
        }
    }

    @Test func aMemberThatComesTwiceHasItsLastValue() throws {
        let text = "{" + (0..<5000).map { #""id":"\#($0)","# }.joined() + #""type":"ping"}"#
        #expect(try Command.parse(text.utf8) == .ping(id: "4999"))
    }

    @Test func serverMessages() async {
        let messages = [
            #"{"type":"changes","id":"s","cursor":"c","changes":[{"op":"update","key":"1","set":{"p":[1,2.5e3]}}]}"#,
            #"{"type":"snapshot","id":"s","rows":[{"id":42}],"keys":["42"],"truncated":false}"#,
            #"{"type":"welcome","connection":"c","node":"n","user":"u","access":"account","heartbeat_seconds":25}"#,
        ].map { Array($0.utf8) }
        let failure = await Fuzz.failure(of: "server messages", iterations: 4000) { random in
            _ = try? ServerMessage(decoding: random.mutated(random.pick(messages), words: Self.words))
        }
        #expect(failure == nil)
    }
}
