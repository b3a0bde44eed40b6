/// One JSON value exactly as Postgres wrote it; never re-encoded on its way to the client.
package struct JSONText: Hashable, Sendable {
    package let bytes: ArraySlice<UInt8>

    package init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
    }

    package init(_ text: String) {
        self.bytes = ArraySlice(text.utf8)
    }

    package static func == (left: Self, right: Self) -> Bool {
        left.bytes.elementsEqual(right.bytes)
    }

    package func hash(into hasher: inout Hasher) {
        for byte in self.bytes { hasher.combine(byte) }
    }

    package var isNull: Bool { self.bytes.first == UInt8(ascii: "n") }
    package var isString: Bool { self.bytes.first == UInt8(ascii: "\"") }
    package var isNumber: Bool {
        self.bytes.first.map { $0 == UInt8(ascii: "-") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
            ?? false
    }

    /// What `->>` gives: `nil` for null, a string's contents, any other value's text.
    package var scalarText: String? {
        if self.isNull { return nil }
        guard self.isString else { return String(decoding: self.bytes, as: UTF8.self) }
        return JSONScanner.unescape(self.bytes.dropFirst().dropLast())
    }

    /// The value under `key`, when this is an object that has it (`->`).
    package func member(_ key: String) -> JSONText? {
        guard self.bytes.first == UInt8(ascii: "{") else { return nil }
        var found: JSONText? = nil
        _ = JSONScanner.forEachMember(of: self.bytes) { name, value in
            if name.utf8.elementsEqual(key.utf8) { found = value }
        }
        return found
    }
}

/// Finds the members of an object without building values: Postgres has already checked the text.
enum JSONScanner {
    /// Calls `body` for each member of the top-level object. `false` when the text is not one.
    static func forEachMember(of bytes: ArraySlice<UInt8>, _ body: (String, JSONText) -> Void) -> Bool {
        var index = bytes.startIndex
        let end = bytes.endIndex
        func skipSpace() {
            while index < end, bytes[index] == 0x20 || (0x09...0x0d).contains(bytes[index]) { index += 1 }
        }
        /// Moves behind the string that starts here and returns its contents.
        func string() -> ArraySlice<UInt8>? {
            guard index < end, bytes[index] == UInt8(ascii: "\"") else { return nil }
            index += 1
            let start = index
            while index < end {
                switch bytes[index] {
                case UInt8(ascii: "\\"): index += 2
                case UInt8(ascii: "\""):
                    index += 1
                    return bytes[start..<(index - 1)]
                default: index += 1
                }
            }
            return nil
        }
        func value() -> JSONText? {
            let start = index
            var depth = 0
            while index < end {
                switch bytes[index] {
                case UInt8(ascii: "\""):
                    guard string() != nil else { return nil }
                    continue
                case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
                case UInt8(ascii: "}"), UInt8(ascii: "]"):
                    if depth == 0 { return index > start ? JSONText(bytes[start..<index]) : nil }
                    depth -= 1
                case UInt8(ascii: ","):
                    if depth == 0 { return index > start ? JSONText(bytes[start..<index]) : nil }
                default: break
                }
                index += 1
            }
            return nil
        }
        skipSpace()
        guard index < end, bytes[index] == UInt8(ascii: "{") else { return false }
        index += 1
        skipSpace()
        if index < end, bytes[index] == UInt8(ascii: "}") { return true }
        while true {
            skipSpace()
            guard let name = string() else { return false }
            skipSpace()
            guard index < end, bytes[index] == UInt8(ascii: ":") else { return false }
            index += 1
            skipSpace()
            guard let value = value() else { return false }
            body(Self.unescape(name), value)
            guard index < end else { return false }
            if bytes[index] == UInt8(ascii: "}") { return true }
            index += 1
        }
    }

    /// The contents of a JSON string, given what stands between its quotes.
    static func unescape(_ bytes: ArraySlice<UInt8>) -> String {
        guard bytes.contains(UInt8(ascii: "\\")) else { return String(decoding: bytes, as: UTF8.self) }
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count)
        var index = bytes.startIndex
        func hex4(at start: Int) -> UInt32? {
            guard start + 4 <= bytes.endIndex else { return nil }
            return UInt32(String(decoding: bytes[start..<(start + 4)], as: UTF8.self), radix: 16)
        }
        while index < bytes.endIndex {
            let byte = bytes[index]
            index += 1
            guard byte == UInt8(ascii: "\\"), index < bytes.endIndex else {
                out.append(byte)
                continue
            }
            let escape = bytes[index]
            index += 1
            switch escape {
            case UInt8(ascii: "n"): out.append(0x0a)
            case UInt8(ascii: "t"): out.append(0x09)
            case UInt8(ascii: "r"): out.append(0x0d)
            case UInt8(ascii: "b"): out.append(0x08)
            case UInt8(ascii: "f"): out.append(0x0c)
            case UInt8(ascii: "u"):
                guard var code = hex4(at: index) else { continue }
                index += 4
                if (0xd800..<0xdc00).contains(code), index + 6 <= bytes.endIndex, bytes[index] == UInt8(ascii: "\\"),
                    let low = hex4(at: index + 2), (0xdc00..<0xe000).contains(low)
                {
                    code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
                    index += 6
                }
                out.append(contentsOf: String(Unicode.Scalar(code).map(Character.init) ?? "\u{fffd}").utf8)
            default: out.append(escape)
            }
        }
        return String(decoding: out, as: UTF8.self)
    }
}
