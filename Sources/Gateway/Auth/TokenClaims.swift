package import JWTKit
package import JobFeedProtocol

/// A token's payload, whatever it holds.
package struct TokenClaims: JWTPayload {
    private let values: JSONValue

    package init(_ values: JSONValue) {
        self.values = values
    }

    package init(from decoder: any Decoder) throws {
        self.values = try JSONValue(from: decoder)
    }

    package func encode(to encoder: any Encoder) throws {
        try self.values.encode(to: encoder)
    }

    /// Claims are judged by ``TokenRules``, with the time passed in.
    package func verify(using algorithm: some JWTAlgorithm) {}

    func value(_ path: String) -> JSONValue? {
        // A claim may have a dot in its own name (`https://example.com/role`).
        if let value = Self.member(path, of: self.values) { return value }
        var value: JSONValue? = self.values
        for part in path.split(separator: ".") { value = Self.member(String(part), of: value) }
        return value
    }

    private static func member(_ name: String, of value: JSONValue?) -> JSONValue? {
        guard case .object(let object)? = value else { return nil }
        return object[name]
    }

    func string(_ path: String) -> String? {
        guard case .string(let text) = self.value(path) else { return nil }
        return text
    }

    /// One string, or a list of them.
    func strings(_ path: String) -> [String] {
        switch self.value(path) {
        case .string(let text): [text]
        case .array(let items):
            items.compactMap { item in
                if case .string(let text) = item { return text }
                return nil
            }
        default: []
        }
    }

    func number(_ path: String) -> Double? {
        guard case .number(let text) = self.value(path), let number = Double(text), number.isFinite else { return nil }
        return number
    }
}
