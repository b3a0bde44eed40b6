import Testing

@testable import Gateway

struct SQLTextTests {
    /// A quote and a combining accent are one `Character` to Swift, and two to PostgreSQL.
    @Test(arguments: ["", "\u{301}", "\u{FE0F}", "\u{200D}", "\r", "\n"])
    func quotesAreDoubledWhateverFollows(_ next: String) {
        #expect(Array(SQLText.identifier("a\"\(next)b").unicodeScalars) == Array("\"a\"\"\(next)b\"".unicodeScalars))
        #expect(Array(SQLText.literal("a'\(next)b").unicodeScalars) == Array("E'a''\(next)b'".unicodeScalars))
        #expect(Array(SQLText.literal("a\\\(next)b").unicodeScalars) == Array("E'a\\\\\(next)b'".unicodeScalars))
        #expect(Array(SQLText.array(["a\"\(next)"]).unicodeScalars) == Array("{\"a\\\"\(next)\"}".unicodeScalars))
    }
}
