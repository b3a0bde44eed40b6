/// A strict RFC 8259 reader: whole input, valid UTF-8, paired surrogates, bounded depth.
struct JSONParser {
    static let maximumDepth = 64

    private let bytes: [UInt8]
    private var index = 0
    private var depth = 0

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    mutating func parseDocument() throws(JSONError) -> JSONValue {
        let value = try self.parseValue()
        self.skipWhitespace()
        guard self.index == self.bytes.count else {
            throw JSONError("unexpected \(self.describeNext()) after the value", at: self.index)
        }
        return value
    }

    private mutating func parseValue() throws(JSONError) -> JSONValue {
        self.skipWhitespace()
        switch self.peek() {
        case UInt8(ascii: "{"): return try self.parseObject()
        case UInt8(ascii: "["): return try self.parseArray()
        case UInt8(ascii: "\""): return .string(try self.parseString())
        case UInt8(ascii: "t"): return try self.parseWord("true", .bool(true))
        case UInt8(ascii: "f"): return try self.parseWord("false", .bool(false))
        case UInt8(ascii: "n"): return try self.parseWord("null", .null)
        case .some(UInt8(ascii: "-")), .some(UInt8(ascii: "0")...UInt8(ascii: "9")): return try self.parseNumber()
        default: throw JSONError("expected a value, found \(self.describeNext())", at: self.index)
        }
    }

    private mutating func parseObject() throws(JSONError) -> JSONValue {
        try self.descend()
        var object = JSONObject()
        self.skipWhitespace()
        if !self.consume(UInt8(ascii: "}")) {
            repeat {
                self.skipWhitespace()
                guard self.peek() == UInt8(ascii: "\"") else {
                    throw JSONError("expected a member name in quotes, found \(self.describeNext())", at: self.index)
                }
                let key = try self.parseString()
                self.skipWhitespace()
                try self.expect(UInt8(ascii: ":"))
                object[key] = try self.parseValue()
                self.skipWhitespace()
            } while self.consume(UInt8(ascii: ","))
            try self.expect(UInt8(ascii: "}"))
        }
        self.depth -= 1
        return .object(object)
    }

    private mutating func parseArray() throws(JSONError) -> JSONValue {
        try self.descend()
        var array: [JSONValue] = []
        self.skipWhitespace()
        if !self.consume(UInt8(ascii: "]")) {
            repeat {
                array.append(try self.parseValue())
                self.skipWhitespace()
            } while self.consume(UInt8(ascii: ","))
            try self.expect(UInt8(ascii: "]"))
        }
        self.depth -= 1
        return .array(array)
    }

    private mutating func parseWord(_ word: StaticString, _ value: JSONValue) throws(JSONError) -> JSONValue {
        let end = self.index + word.utf8CodeUnitCount
        guard end <= self.bytes.count, self.bytes[self.index..<end].elementsEqual("\(word)".utf8) else {
            throw JSONError("expected \(word)", at: self.index)
        }
        self.index = end
        return value
    }

    // RFC 8259 §6
    private mutating func parseNumber() throws(JSONError) -> JSONValue {
        let start = self.index
        _ = self.consume(UInt8(ascii: "-"))
        if !self.consume(UInt8(ascii: "0")) {
            try self.skipDigits()
        }
        if self.consume(UInt8(ascii: ".")) {
            try self.skipDigits()
        }
        if self.consume(UInt8(ascii: "e")) || self.consume(UInt8(ascii: "E")) {
            _ = self.consume(UInt8(ascii: "+")) || self.consume(UInt8(ascii: "-"))
            try self.skipDigits()
        }
        return .number(String(decoding: self.bytes[start..<self.index], as: UTF8.self))
    }

    private mutating func skipDigits() throws(JSONError) {
        let start = self.index
        while let byte = self.peek(), (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) {
            self.index += 1
        }
        guard self.index > start else {
            throw JSONError("expected a digit, found \(self.describeNext())", at: self.index)
        }
    }

    private mutating func descend() throws(JSONError) {
        self.index += 1
        self.depth += 1
        guard self.depth <= Self.maximumDepth else {
            throw JSONError("nested deeper than \(Self.maximumDepth) levels", at: self.index - 1)
        }
    }
}

// MARK: Strings

extension JSONParser {
    private mutating func parseString() throws(JSONError) -> String {
        self.index += 1
        let start = self.index
        var unescaped: [UInt8] = []
        var pending = start
        while let byte = self.peek() {
            switch byte {
            case UInt8(ascii: "\""):
                unescaped.append(contentsOf: self.bytes[pending..<self.index])
                self.index += 1
                guard let string = String(validating: unescaped, as: UTF8.self) else {
                    throw JSONError("invalid UTF-8 in a string", at: start)
                }
                return string
            case UInt8(ascii: "\\"):
                unescaped.append(contentsOf: self.bytes[pending..<self.index])
                self.index += 1
                unescaped.append(contentsOf: try self.parseEscape().utf8)
                pending = self.index
            case 0..<0x20:
                throw JSONError("unescaped control character in a string", at: self.index)
            default:
                self.index += 1
            }
        }
        throw JSONError("unterminated string", at: start - 1)
    }

    private mutating func parseEscape() throws(JSONError) -> String {
        guard let byte = self.peek() else { throw JSONError("unterminated escape", at: self.index) }
        self.index += 1
        switch byte {
        case UInt8(ascii: "\""): return "\""
        case UInt8(ascii: "\\"): return "\\"
        case UInt8(ascii: "/"): return "/"
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"): return String(Character(try self.parseUnicodeEscape()))
        default: throw JSONError("unknown escape", at: self.index - 1)
        }
    }

    private mutating func parseUnicodeEscape() throws(JSONError) -> Unicode.Scalar {
        let start = self.index
        let first = try self.parseFourHexDigits()
        if let scalar = Unicode.Scalar(first) {
            return scalar
        }
        guard first < 0xDC00, self.consume(UInt8(ascii: "\\")), self.consume(UInt8(ascii: "u")) else {
            throw JSONError("unpaired surrogate", at: start)
        }
        let second = try self.parseFourHexDigits()
        guard (0xDC00...0xDFFF).contains(second),
            let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
        else {
            throw JSONError("unpaired surrogate", at: start)
        }
        return scalar
    }

    private mutating func parseFourHexDigits() throws(JSONError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = self.peek(), let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw JSONError("expected four hexadecimal digits", at: self.index)
            }
            value = value << 4 | UInt32(digit)
            self.index += 1
        }
        return value
    }
}

// MARK: Bytes

extension JSONParser {
    private func peek() -> UInt8? {
        self.index < self.bytes.count ? self.bytes[self.index] : nil
    }

    private mutating func consume(_ byte: UInt8) -> Bool {
        guard self.peek() == byte else { return false }
        self.index += 1
        return true
    }

    private mutating func expect(_ byte: UInt8) throws(JSONError) {
        guard self.consume(byte) else {
            let wanted = Character(Unicode.Scalar(byte))
            throw JSONError("expected '\(wanted)', found \(self.describeNext())", at: self.index)
        }
    }

    private mutating func skipWhitespace() {
        while let byte = self.peek(), byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
            self.index += 1
        }
    }

    private func describeNext() -> String {
        guard let byte = self.peek() else { return "the end" }
        return (0x21...0x7E).contains(byte) ? "'\(Character(Unicode.Scalar(byte)))'" : "byte \(byte)"
    }
}
