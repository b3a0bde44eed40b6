import Testing

@testable import Feed

@Suite struct JSONTextTests {
    @Test(arguments: [
        (#"{}"#, [:]),
        (#"{"a": 1}"#, ["a": "1"]),
        (#"{"a":1,"b":null}"#, ["a": "1", "b": "null"]),
        (#"  {  "a" : -1.5e3 }"#.replacing(" }", with: "}"), ["a": "-1.5e3"]),
        (#"{"a": {"b": [1, {"c": "}]"}]}, "d": []}"#, ["a": #"{"b": [1, {"c": "}]"}]}"#, "d": "[]"]),
        (#"{"a\"b": "x\\", "c": "\"}"}"#, ["a\"b": #""x\\""#, "c": #""\"}""#]),
        (#"{"é💥": "a,b:{"}"#, ["é💥": #""a,b:{""#]),
        (#"{"\u0041": true}"#, ["A": "true"]),
        (#"{"": ""}"#, ["": #""""#]),
    ])
    func aRowKeepsItsValuesAsTheyAreWritten(json: String, values: [String: String]) throws {
        let row = try #require(Row(json: json))
        #expect(row.values.mapValues { String(decoding: $0.bytes, as: UTF8.self) } == values)
    }

    @Test(arguments: [
        "", " ", "null", "[]", "1", "{", "{\"", #"{"a"#, #"{"a""#, #"{"a":"#, #"{"a":1"#, #"{"a":1,"#, #"{"a":1,}"#,
        #"{"a":}"#, #"{a:1}"#, #"{"a" 1}"#, #"{"a":"}"#, #"{"a":"\"#, #"{"a":"\"}"#, #"{"a":{}"#, #"{"a":[}"#, "{,}",
    ])
    func whatIsNoObjectIsNoRow(json: String) {
        #expect(Row(json: json) == nil)
    }

    @Test(arguments: [
        (#""plain""#, "plain"), (#""""#, ""), (#""a\"b\\c\/d""#, #"a"b\c/d"#), (#""\b\f\n\r\t""#, "\u{8}\u{c}\n\r\t"),
        (#""\u00e9\u20AC""#, "é€"), (#""\ud83d\ude00""#, "😀"), (#""x\ud83d\ude00y""#, "x😀y"), (#""\u0001""#, "\u{1}"),
        (#""\ud83d""#, "\u{fffd}"), (#""\ud83dx""#, "\u{fffd}x"), (#""\ude00""#, "\u{fffd}"),
        (#""\ud83d\u0041""#, "\u{fffd}A"), ("\"é💥\"", "é💥"),
        ("12.50", "12.50"), ("-0", "-0"), ("true", "true"), (#"{"a": 1}"#, #"{"a": 1}"#), ("[1, 2]", "[1, 2]"),
    ])
    func scalarTextIsWhatTheArrowGives(json: String, text: String) {
        #expect(JSONText(json).scalarText == text)
    }

    @Test func nullHasNoText() {
        #expect(JSONText("null").scalarText == nil)
        #expect(JSONText("\"null\"").scalarText == "null")
    }

    @Test(arguments: [
        (#"{"a": {"b": 1}}"#, "a", #"{"b": 1}"#), (#"{"a": "x"}"#, "a", #""x""#), (#"{"a": 1}"#, "b", nil),
        (#"[1]"#, "a", nil), ("1", "a", nil), ("null", "a", nil), (#"{"a": 1, "a": 2}"#, "a", "2"),
    ])
    func memberIsWhatTheObjectHas(json: String, key: String, member: String?) {
        #expect(JSONText(json).member(key) == member.map { JSONText($0) })
    }

    @Test func equalityIsOfBytesWhereverTheyLie() {
        let bytes = Array(#"{"a": 12}"#.utf8)
        #expect(JSONText(bytes[6..<8]) == "12")
        #expect(JSONText(bytes[6..<8]).hashValue == JSONText("12").hashValue)
        #expect(JSONText("1") != "1.0")
    }

    @Test func overlaidTakesTheOthersValues() {
        let row = Row(#"{"a": 1, "b": 2}"#).overlaid(with: Row(#"{"b": 3, "c": null}"#))
        #expect(row == Row(#"{"a": 1, "b": 3, "c": null}"#))
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func neverTraps(seed: UInt64) {
        var random = SplitMix(seed: seed)
        let example = Array(#"{"a": "\ud83d\ude00\"x", "b": [1, {"c": null}], "d": -1.5e3, "é": {}}"#.utf8)
        var read = 0
        for _ in 0..<4000 {
            var bytes = example
            for _ in 0..<Int.random(in: 0...4, using: &random) where !bytes.isEmpty {
                let index = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: index)
                case 2: bytes.insert(contentsOf: bytes[index...].prefix(9), at: index)
                default: bytes.removeSubrange(index...)
                }
            }
            for value in Row(json: bytes)?.values.values ?? [:].values {
                read += 1
                _ = value.scalarText
                _ = value.member("c")
            }
            _ = JSONText(bytes[...]).scalarText
            _ = JSONText(bytes[...]).member("a")
        }
        #expect(read > 1000, "seed \(seed)")
    }
}
