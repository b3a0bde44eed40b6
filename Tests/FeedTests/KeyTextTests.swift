import Feed
import Testing

@Suite struct KeyTextTests {
    /// What `jobfeed.key_text` gives: `replace(replace(part, '%', '%25'), ',', '%2C')`, joined by `,`.
    @Test(
        arguments: [
            (#"{"shard":"a,b","id":7}"#, "a%2Cb,7"), (#"{"shard":"100%","id":7}"#, "100%25,7"),
            (#"{"shard":"%2C","id":-1}"#, "%252C,-1"), (#"{"shard":"","id":0}"#, ",0"),
            (#"{"shard":"é,💥","id":true}"#, "é%2C💥,true"), (#"{"shard":"a\"\\b","id":1.50}"#, #"a"\b,1.50"#),
        ] as [(String, ByteText)]
    )
    func compositeKeysAreEscapedAndJoined(row: String, key: ByteText) {
        #expect(Row(row).keyText(["shard", "id"]) == key)
    }

    @Test(arguments: [("a,b%", "\"a,b%\""), ("7", "7"), ("", "\"\""), ("t", "\"t\"")] as [(ByteText, String)])
    func oneColumnIsItsOwnText(key: ByteText, json: String) {
        #expect(Row(values: ["id": JSONText(json)]).keyText(["id"]) == key)
    }

    @Test(arguments: [#"{"shard":null,"id":7}"#, #"{"id":7}"#, "{}"])
    func noKeyWithoutAllItsColumns(row: String) {
        #expect(Row(row).keyText(["shard", "id"]) == nil)
        #expect(Row(row).keyText(["shard"]) == nil)
    }

    @Test(arguments: [1] as [UInt64])
    func splitTakesApartWhatWasJoined(seed: UInt64) {
        var random = SplitMix(seed: seed)
        for _ in 0..<2000 {
            let parts = (0..<Int.random(in: 2...4, using: &random)).map { _ in
                String(
                    (0..<Int.random(in: 0...5, using: &random)).map { _ in
                        "%,2C5aé\u{301}".randomElement(using: &random) ?? "a"
                    }
                )
            }
            let text = parts.map(KeyText.escape).joined(separator: ",")
            #expect(KeyText.split(text, count: parts.count) == parts, "seed \(seed): \(text)")
            #expect(KeyText.split(text, count: parts.count + 1) == nil)
        }
    }

    @Test(arguments: [("%", ["%"]), ("a,b", ["a,b"]), ("", [""])])
    func aSingleColumnIsNotSplit(text: String, parts: [String]) {
        #expect(KeyText.split(text, count: 1) == parts)
    }

    @Test(arguments: ["%,x", "%2,x", "%zz,%", "%2c,%25%", ",%"])
    func unknownEscapesAreKept(text: String) {
        #expect(KeyText.split(text, count: 2)?.count == 2)
    }
}
