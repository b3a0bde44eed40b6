import Feed

/// Pieces of SQL made from names and values.
enum SQLText {
    static func identifier(_ name: String) -> String {
        "\"" + self.doubling(["\""], in: name) + "\""
    }

    static func table(_ schema: String, _ table: String) -> String {
        "\(self.identifier(schema)).\(self.identifier(table))"
    }

    /// A string constant, whatever `standard_conforming_strings` says.
    static func literal(_ text: String) -> String {
        "E'" + self.doubling(["'", "\\"], in: text) + "'"
    }

    /// By scalars: a quote with an accent after it is one `Character`, and that is no quote.
    private static func doubling(_ marks: Set<Unicode.Scalar>, in text: String) -> String {
        var doubled = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            if marks.contains(scalar) { doubled.append(scalar) }
            doubled.append(scalar)
        }
        return String(doubled)
    }

    /// The text form of an array parameter (PostgreSQL manual, "Array Input and Output Syntax").
    static func array(_ values: some Sequence<String>) -> String {
        let items = values.map { value in
            var item = "\""
            for character in value.unicodeScalars {
                if character == "\"" || character == "\\" { item.unicodeScalars.append("\\") }
                item.unicodeScalars.append(character)
            }
            return item + "\""
        }
        return "{" + items.joined(separator: ",") + "}"
    }

    /// A type to cast to; `character` without a length would cut values to one character.
    static func castable(_ typeName: String) -> String {
        typeName == "character" ? "bpchar" : typeName
    }

    /// `alias.a, alias.b`
    static func list(_ columns: some Sequence<String>, of alias: String) -> String {
        columns.map { "\(alias).\(self.identifier($0))" }.joined(separator: ", ")
    }

    /// A table of keys made of one array parameter per column, and the condition that joins `alias` to it.
    ///
    /// - Parameter asText: compares texts: slow, but no value can fail to be cast.
    static func keys(
        _ keys: some Collection<ByteText>,
        columns: [String],
        types: [String],
        of alias: String,
        asText: Bool
    ) -> (from: String, on: String, parameters: [String]) {
        let split = keys.compactMap { KeyText.split($0.string, count: columns.count) }
        var arrays: [String] = []
        var conditions: [String] = []
        var parameters: [String] = []
        for (index, column) in columns.enumerated() {
            let type = asText ? "text" : index < types.count ? self.castable(types[index]) : "text"
            arrays.append("$\(index + 1)::\(type)[]")
            conditions.append("\(alias).\(self.identifier(column))\(asText ? "::text" : "") = k.c\(index)")
            parameters.append(self.array(split.map { $0[index] }))
        }
        let names = columns.indices.map { "c\($0)" }.joined(separator: ", ")
        return (
            "unnest(\(arrays.joined(separator: ", "))) AS k (\(names))", conditions.joined(separator: " AND "),
            parameters
        )
    }
}
