import Testing

@testable import Feed

@Suite struct PosixPatternTests {
    @Test(arguments: [
        ("", "", true), ("", "x", true), ("a", "xay", true), ("^a", "ba", false), ("a$", "ba", true), ("^$", "", true),
        ("^$", "x", false), ("a|b", "b", true), ("^(a|bc)+$", "abcabc", true), ("^(a|bc)+$", "abcab", false),
        ("^a{2,3}$", "a", false), ("^a{2,3}$", "aaa", true), ("^a{2,3}$", "aaaa", false), ("^a{2}$", "aa", true),
        ("^a{2,}$", "aaaaa", true), ("^a?b*c+$", "cc", true), ("^[a-c]+$", "abc", true), ("^[^a-c]+$", "xyz", true),
        ("^[^a-c]+$", "xaz", false), ("[]x]", "]", true), ("[a-]", "-", true),
        ("^[[:digit:][:upper:]_]+$", "A_9", true),
        (#"^\d+\.\d{2}$"#, "12.50", true), (#"^\d+\.\d{2}$"#, "12x50", false), (#"^\w+\s\S$"#, "ab c", true),
        (#"^[\d.]+$"#, "1.2", true), (#"\Aa\Z"#, "a", true), ("a.c", "a\nc", true), ("é", "é", true),
        (#"\\"#, #"\"#, true),
        ("^(?:ab)*$", "ababab", true), ("x*", "", true), ("a+?b", "aab", true), ("(a*)*b", "aaaa", false),
    ])
    func matches(pattern: String, text: String, isMatch: Bool) throws {
        #expect(try PosixPattern(pattern, ignoringCase: false).matches(text) == isMatch)
    }

    @Test(arguments: [("^ABC$", "abc", true), ("[a-z]x", "QX", true), ("[^a]", "A", false), ("É", "é", true)])
    func ignoringCase(pattern: String, text: String, isMatch: Bool) throws {
        #expect(try PosixPattern(pattern, ignoringCase: true).matches(text) == isMatch)
    }

    @Test(arguments: [
        "(", ")", "a)", "(a", "[", "[a", "[b-a]", "*", "+a", "a**", "a{", "a{2", "a{3,2}", "a{256}", #"\"#, #"(a)\1"#,
        "(?=a)", "(?i)a", #"\bword"#, "[[:nope:]]", "((a{99}){99}){99}", String(repeating: "a", count: 257),
    ])
    func refuses(pattern: String) {
        #expect(throws: FilterError.self) { try PosixPattern(pattern, ignoringCase: false) }
    }

    /// What takes others for ever takes text times pattern steps.
    @Test func doesNotBacktrack() throws {
        let pattern = try PosixPattern("^(a|aa)+$", ignoringCase: false)
        #expect(!pattern.matches(String(repeating: "a", count: 5000) + "b"))
    }
}
