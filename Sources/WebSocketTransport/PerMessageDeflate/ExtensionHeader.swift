/// One extension as a Sec-WebSocket-Extensions field names it, in an offer or in an answer.
struct ExtensionHeader: Hashable {
    struct Parameter: Hashable {
        let name: String
        var value: String?
    }

    struct Malformed: Error {}

    let name: String
    var parameters: [Parameter] = []

    /// All extensions of all fields, in order. Several fields are one list (RFC 6455 section 11.3.2).
    static func parse(_ fields: [String]) throws(Malformed) -> [ExtensionHeader] {
        var extensions: [ExtensionHeader] = []
        for field in fields {
            var scanner = Scanner(rest: field.utf8[...])
            repeat {
                // RFC 9110 section 5.6.1.2: a recipient takes empty elements of a list for nothing.
                if let one = try scanner.element() {
                    extensions.append(one)
                }
            } while scanner.skip(",")
            guard scanner.isAtEnd else {
                throw Malformed()
            }
        }
        return extensions
    }

    /// Reads the grammar of RFC 6455 section 9.1.
    private struct Scanner {
        var rest: Substring.UTF8View

        var isAtEnd: Bool {
            mutating get {
                self.skipSpace()
                return self.rest.isEmpty
            }
        }

        mutating func element() throws(Malformed) -> ExtensionHeader? {
            guard let name = self.token() else {
                return nil
            }
            var one = ExtensionHeader(name: name)
            while self.skip(";") {
                guard let name = self.token() else {
                    throw Malformed()
                }
                var parameter = Parameter(name: name)
                if self.skip("=") {
                    parameter.value = try self.value()
                }
                one.parameters.append(parameter)
            }
            return one
        }

        /// A token, quoted or not: what is in quotes has to be a token, too.
        private mutating func value() throws(Malformed) -> String {
            guard self.skip("\"") else {
                guard let token = self.token() else {
                    throw Malformed()
                }
                return token
            }
            var bytes: [UInt8] = []
            while let byte = self.rest.popFirst() {
                switch byte {
                case UInt8(ascii: "\"") where !bytes.isEmpty:
                    return String(decoding: bytes, as: UTF8.self)
                case UInt8(ascii: "\\"):
                    guard let escaped = self.rest.popFirst(), Self.isToken(escaped) else {
                        throw Malformed()
                    }
                    bytes.append(escaped)
                case _ where Self.isToken(byte):
                    bytes.append(byte)
                default:
                    throw Malformed()
                }
            }
            throw Malformed()
        }

        private mutating func token() -> String? {
            self.skipSpace()
            let token = self.rest.prefix(while: Self.isToken)
            self.rest = self.rest[token.endIndex...]
            return token.isEmpty ? nil : String(Substring(token))
        }

        mutating func skip(_ character: Unicode.Scalar) -> Bool {
            self.skipSpace()
            guard self.rest.first == UInt8(ascii: character) else {
                return false
            }
            self.rest.removeFirst()
            return true
        }

        private mutating func skipSpace() {
            self.rest = self.rest.drop { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
        }

        /// RFC 9110 section 5.6.2
        private static func isToken(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "a")...UInt8(ascii: "z"):
                true
            default:
                "!#$%&'*+-.^_`|~".utf8.contains(byte)
            }
        }
    }
}
