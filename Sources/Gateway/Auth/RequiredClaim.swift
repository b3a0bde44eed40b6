import JobFeedProtocol

/// What a claim must say for a token to be accepted: `token_type=access`, `is_anonymous=false`.
package struct RequiredClaim: Sendable, Equatable {
    /// A dot leads into an object.
    package let path: String
    package let value: String

    /// `nil`: not `NAME=VALUE`.
    package init?(_ text: String) {
        guard let equals = text.firstIndex(of: "="), equals != text.startIndex else { return nil }
        self.path = String(text[..<equals])
        self.value = String(text[text.index(after: equals)...])
    }

    /// A list holds what one of its items says.
    func holds(in claims: TokenClaims) -> Bool {
        guard let claim = claims.value(self.path) else { return false }
        guard case .array(let items) = claim else { return self.isSaid(by: claim) }
        return items.contains(where: self.isSaid)
    }

    private func isSaid(by value: JSONValue) -> Bool {
        switch value {
        case .string(let text): text.utf8.elementsEqual(self.value.utf8)
        case .number(let literal): literal == self.value
        case .bool(let bool): self.value == (bool ? "true" : "false")
        case .object, .array, .null: false
        }
    }
}
