/// SurrealDB's record ids as its tokens spell them: `user:alice`, ``user:`a-b` ``, and `user:⟨a-b⟩` before its version 3.
enum RecordID {
    /// The key of a record of this table, if it is a text; `nil` for other tables and other keys.
    ///
    /// No two records have one key: `user:7` is a number's record, and `user:⟨7⟩`, the text's, has none here.
    static func key(of id: String, in table: String) -> String? {
        // By scalars: to a Character, a quote and a combining mark after it are one, and no quote.
        let prefix = "\(table):".unicodeScalars
        guard id.unicodeScalars.starts(with: prefix) else { return nil }
        let rest = id.unicodeScalars.dropFirst(prefix.count)
        let isPlain = !rest.isEmpty && rest.allSatisfy(Self.isPlain)
        if isPlain { return String(String.UnicodeScalarView(rest)) }
        guard rest.count > 2, let quote = rest.first, rest.last == (quote == "⟨" ? "⟩" : "`"),
            quote == "⟨" || quote == "`"
        else { return nil }
        let key = rest.dropFirst().dropLast()
        // Versions differ in what a backslash means.
        guard !key.contains(where: { $0 == "\\" || $0 == "`" || $0 == "⟨" || $0 == "⟩" }) else { return nil }
        // Quoted because it would be a number otherwise.
        guard !key.allSatisfy({ "0"..."9" ~= $0 || $0 == "_" }) else { return nil }
        return String(String.UnicodeScalarView(key))
    }

    private static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "a"..."z", "A"..."Z", "0"..."9", "_": true
        default: false
        }
    }
}
