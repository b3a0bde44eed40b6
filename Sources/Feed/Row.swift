/// A row as the log or a snapshot query gave it: raw JSON per column.
///
/// Columns are few: looking through them takes less time than hashing a name does, and an array is made faster.
package struct Row: Sendable {
    package struct Column: Sendable {
        package let name: String
        package fileprivate(set) var value: JSONText
    }

    /// In no particular order.
    package private(set) var columns: [Column]

    package static let empty = Row(values: [:])

    package init(values: [String: JSONText]) {
        self.columns = values.map { Column(name: $0, value: $1) }
    }

    /// `nil` when the bytes are no JSON object.
    package init?(json bytes: [UInt8]) {
        var columns: [Column] = []
        columns.reserveCapacity(16)
        guard JSONScanner.forEachMember(of: bytes[...], { columns.append(Column(name: $0, value: $1)) }) else {
            return nil
        }
        self.columns = columns
    }

    package init?(json text: String) {
        self.init(json: Array(text.utf8))
    }

    package var values: [String: JSONText] {
        Dictionary(self.columns.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 })
    }

    package var isEmpty: Bool { self.columns.isEmpty }

    /// As in JSON, the last one of a name counts.
    private func place(_ column: String) -> Int? {
        var place = self.columns.count
        while place > 0 {
            place -= 1
            if self.columns[place].name == column { return place }
        }
        return nil
    }

    package subscript(_ column: String) -> JSONText? {
        get { self.place(column).map { self.columns[$0].value } }
        set {
            if let newValue { self.set(column, newValue) } else { self.columns.removeAll { $0.name == column } }
        }
    }

    package mutating func set(_ column: String, _ value: JSONText) {
        if let place = self.place(column) {
            self.columns[place].value = value
        } else {
            self.columns.append(Column(name: column, value: value))
        }
    }

    /// This row with columns that it does not have.
    func adding(_ names: [Lifecycle.Column], _ value: (Lifecycle.Column) -> JSONText) -> Row {
        var row = Row.empty
        row.columns.reserveCapacity(self.columns.count + names.count)
        row.columns += self.columns
        for column in names { row.columns.append(Column(name: column.name, value: value(column))) }
        return row
    }

    /// This row with `other`'s columns put over its own.
    package func overlaid(with other: Row) -> Row {
        if self.columns.isEmpty { return other }
        var row = self
        for column in other.columns { row.set(column.name, column.value) }
        return row
    }

    /// The key text of `columns`: one column's own text, several escaped and joined by `,`;
    /// `nil` when one of them is null or missing. The same form as `jobfeed.key_text` gives.
    package func keyText(_ columns: [String]) -> ByteText? {
        if columns.count == 1 { return self[columns[0]]?.scalarText.map { ByteText($0) } }
        var parts: [String] = []
        for column in columns {
            guard let text = self[column]?.scalarText else { return nil }
            parts.append(KeyText.escape(text))
        }
        return ByteText(parts.joined(separator: ","))
    }
}

extension Row: Equatable {
    package static func == (left: Self, right: Self) -> Bool { left.values == right.values }
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
