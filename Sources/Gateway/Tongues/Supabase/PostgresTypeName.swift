/// A type's own name in `pg_type`, from how `format_type` writes it.
enum PostgresTypeName {
    private static let names = [
        "bigint": "int8", "integer": "int4", "smallint": "int2", "boolean": "bool", "double precision": "float8",
        "real": "float4", "character varying": "varchar", "character": "bpchar", "bit varying": "varbit",
        "timestamp with time zone": "timestamptz", "timestamp without time zone": "timestamp",
        "time with time zone": "timetz", "time without time zone": "time",
    ]

    static func name(of formatted: String) -> String {
        if formatted.hasSuffix("[]") { return "_" + self.name(of: String(formatted.dropLast(2))) }
        return self.names[formatted] ?? self.unqualified(formatted)
    }

    /// What follows the schema, without quotes.
    private static func unqualified(_ name: String) -> String {
        guard name.hasSuffix("\"") else {
            return name.lastIndex(of: ".").map { String(name[name.index(after: $0)...]) } ?? name
        }
        // A doubled quote stands for one.
        var plain: [Character] = []
        var rest = Array(name.dropLast())
        while let character = rest.popLast() {
            if character == "\"" {
                guard rest.last == "\"" else { break }
                rest.removeLast()
            }
            plain.append(character)
        }
        return String(plain.reversed())
    }
}
