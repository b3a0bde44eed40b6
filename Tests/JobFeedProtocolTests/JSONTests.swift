import JobFeedProtocol
import Testing

@Suite struct JSONTests {
    @Test(arguments: [
        "null", "true", "[]", "{}", "\"\"", "0", "-0", "1e5", "-12.50E-3", "9007199254740993", "0.10",
        #"{"a":[1,{"b":null}],"c":"é😀"}"#, #""\"\\\n\r\t\u0000\u001f""#,
    ])
    func survivesReadingAndWriting(text: String) throws {
        #expect(try JSONValue(parsing: text).encoded() == text)
    }

    @Test(arguments: [
        (#""\u0041\u00e9\ud83d\ude00\/\b\f""#, "A\u{E9}😀/\u{8}\u{C}"),
        (" \r\n\t\"x\" ", "x"),
    ])
    func escapes(text: String, expected: String) throws {
        #expect(try JSONValue(parsing: text) == .string(expected))
    }

    @Test(arguments: [
        "", " ", "nul", "truex", "01", "1.", ".5", "+1", "-", "1e", "1e+", "NaN", "Infinity", "0x10", "'a'", "\"a",
        "\"\\", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"",
        "\"\\ud800\\ud800\"", "\"a\u{1}b\"", "\"a\nb\"", "[1,]", "[,1]", "[1 2]", "[1", "{\"a\"}", "{\"a\":}",
        "{\"a\":1,}", "{a:1}", "{\"a\":1", "{} {}", "\u{FEFF}{}", "/**/1", "[1]]",
    ])
    func refused(text: String) {
        #expect(throws: JSONError.self) { try JSONValue(parsing: text) }
    }

    @Test(
        arguments: [
            [0xFF], [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xE2, 0x82], [0x80],
        ] as [[UInt8]]
    )
    func refusesInvalidUTF8(bytes: [UInt8]) {
        #expect(throws: JSONError.self) { try JSONValue(parsing: [0x22] + bytes + [0x22]) }
    }

    @Test func nestsSixtyFourLevelsAndNoMore() throws {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        _ = try JSONValue(parsing: nested(64))
        #expect(throws: JSONError("nested deeper than 64 levels", at: 64)) { try JSONValue(parsing: nested(65)) }
        #expect(throws: JSONError.self) { try JSONValue(parsing: String(repeating: "{\"a\":", count: 100_000)) }
    }

    @Test func theLastOfDuplicateKeysWins() throws {
        let object = try #require(try JSONValue(parsing: #"{"a":1,"b":2,"a":3}"#).objectValue)
        #expect(object["a"] == 3)
        #expect(object.keys == ["a", "b"])
        #expect(object == ["b": 2, "a": 3])
    }

    @Test(arguments: [("5", 5), ("5.0", 5), ("1e3", 1000), ("5.5", nil), ("1e400", nil), ("9e99", nil), ("-3", -3)])
    func integers(text: String, expected: Int?) throws {
        #expect(try JSONValue(parsing: text).intValue == expected)
    }

    @Test func assigns() {
        var row: JSONObject = ["id": 1, "progress": 5]
        row.assign(["progress": .null, "status": "success"])
        #expect(row == ["id": 1, "progress": .null, "status": "success"])
    }
}
