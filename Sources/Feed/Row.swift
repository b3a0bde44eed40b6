/// A row as the log or a snapshot query gave it: raw JSON per column.
package struct Row: Sendable, Equatable {
    package private(set) var values: [String: JSONText]

    package static let empty = Row(values: [:])

    package init(values: [String: JSONText]) {
        self.values = values
    }

    /// `nil` when the bytes are no JSON object.
    package init?(json bytes: [UInt8]) {
        var values: [String: JSONText] = [:]
        guard JSONScanner.forEachMember(of: bytes[...], { values[$0] = $1 }) else { return nil }
        self.values = values
    }

    package init?(json text: String) {
        self.init(json: Array(text.utf8))
    }

    package subscript(_ column: String) -> JSONText? {
        get { self.values[column] }
        set { self.values[column] = newValue }
    }

    /// This row with `other`'s columns put over its own.
    package func overlaid(with other: Row) -> Row {
        Row(values: self.values.merging(other.values) { $1 })
    }

    /// The key text of `columns`: one column's own text, several escaped and joined by `,`;
    /// `nil` when one of them is null or missing. The same form as `jobfeed.key_text` gives.
    package func keyText(_ columns: [String]) -> ByteText? {
        if columns.count == 1 { return self.values[columns[0]]?.scalarText.map { ByteText($0) } }
        var parts: [String] = []
        for column in columns {
            guard let text = self.values[column]?.scalarText else { return nil }
            parts.append(KeyText.escape(text))
        }
        return ByteText(parts.joined(separator: ","))
    }
}

/// The text form of composite keys: `%` and `,` are escaped, `,` separates.
package enum KeyText {
    package static func escape(_ part: String) -> String {
        guard part.utf8.contains(where: { $0 == UInt8(ascii: "%") || $0 == UInt8(ascii: ",") }) else { return part }
        var out = ""
        for character in part.unicodeScalars {
            switch character {
            case "%": out += "%25"
            case ",": out += "%2C"
            default: out.unicodeScalars.append(character)
            }
        }
        return out
    }

    /// The values of a key's `count` columns; `nil` when the text does not have that many.
    package static func split(_ text: String, count: Int) -> [String]? {
        guard count > 1 else { return [text] }
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        guard parts.count == count else { return nil }
        return parts.map { part in
            var out = ""
            var rest = Substring(part)
            while let percent = rest.firstIndex(of: "%") {
                out += rest[..<percent]
                let escape = rest[percent...].prefix(3)
                out += escape == "%2C" ? "," : escape == "%25" ? "%" : String(escape)
                rest = rest[percent...].dropFirst(3)
            }
            return out + rest
        }
    }
}
