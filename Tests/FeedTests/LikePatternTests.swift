import Testing

@testable import Feed

@Suite struct LikePatternTests {
    @Test(arguments: [
        ("abc", "abc", true), ("abc", "abcd", false), ("abc", "ab", false), ("", "", true), ("", "a", false),
        ("%", "", true), ("%", "anything\nat all", true), ("a%", "a", true), ("%a", "ba", true), ("%b%", "abc", true),
        ("a%c", "abbbc", true), ("a%c", "abbb", false), ("%ab%ab%", "abab", true), ("%ab%ab%", "aab", false),
        ("_", "", false), ("_", "é", true), ("_", "💥", true), ("__", "a", false), ("a_c", "abc", true),
        ("_%_", "ab", true),
        (#"100\%"#, "100%", true), (#"100\%"#, "1000", false), (#"a\_c"#, "a_c", true), (#"a\_c"#, "abc", false),
        (#"\\"#, #"\"#, true), (#"\a"#, "a", true), ("A", "a", false), ("%%%", "x", true), ("%_%_%", "x", false),
    ])
    func matchesAsSQLDoes(pattern: String, text: String, matches: Bool) {
        #expect(LikePattern(pattern, ignoringCase: false).matches(text) == matches)
    }

    @Test(arguments: [("A%c", "aXC", true), ("É", "é", true), ("a", "b", false), ("_B", "ab", true)])
    func ilikeIgnoresCase(pattern: String, text: String, matches: Bool) {
        #expect(LikePattern(pattern, ignoringCase: true).matches(text) == matches)
    }

    /// The definition, by trying everything.
    private static func matches(_ pattern: ArraySlice<Character>, _ text: ArraySlice<Character>) -> Bool {
        guard let first = pattern.first else { return text.isEmpty }
        switch first {
        case "%": return (0...text.count).contains { Self.matches(pattern.dropFirst(), text.dropFirst($0)) }
        case "_": return !text.isEmpty && Self.matches(pattern.dropFirst(), text.dropFirst())
        default: return text.first == first && Self.matches(pattern.dropFirst(), text.dropFirst())
        }
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func agreesWithItsDefinition(seed: UInt64) {
        var random = SplitMix(seed: seed)
        func word(_ letters: String, _ length: Int) -> String {
            String(
                (0..<Int.random(in: 0...length, using: &random)).map { _ in letters.randomElement(using: &random) ?? "a"
                }
            )
        }
        var matched = 0
        for _ in 0..<4000 {
            let (pattern, text) = (word("ab%%_", 6), word("aab", 8))
            let expected = Self.matches(Array(pattern)[...], Array(text)[...])
            matched += expected ? 1 : 0
            #expect(LikePattern(pattern, ignoringCase: false).matches(text) == expected, "\(pattern) ~ \(text)")
        }
        #expect(matched > 400)
    }

    /// A naive matcher would take longer than the universe has.
    @Test func pathologicalPatternsStayCheap() {
        let text = String(repeating: "a", count: 2000)
        let pattern = String(repeating: "a%", count: 60) + "b"
        #expect(!LikePattern(pattern, ignoringCase: false).matches(text))
        #expect(!LikePattern(String(repeating: "%a_", count: 60) + "%b", ignoringCase: true).matches(text))
        #expect(LikePattern(String(repeating: "%", count: 10_000), ignoringCase: false).matches(text))
    }
}
