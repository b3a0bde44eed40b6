import ArgumentParser

/// `--claim NAME=VALUE`.
enum ClaimOption {
    private static let registered: Set<String> = ["sub", "access", "iat", "exp", "jti"]

    /// By name: all of its values.
    static func parsed(_ texts: [String]) throws -> [String: [String]] {
        var claims: [String: [String]] = [:]
        for text in texts {
            guard let equals = text.firstIndex(of: "="), equals > text.startIndex else {
                throw ValidationError("--claim is \"\(text)\"; write it as NAME=VALUE, e.g. org_id=acme")
            }
            let name = String(text[..<equals])
            guard !Self.registered.contains(name) else {
                throw ValidationError("--claim \(name) has an option of its own, or is set by itself")
            }
            let value = String(text[text.index(after: equals)...])
            claims[name, default: []] += value.isEmpty ? [] : [value]
        }
        return claims
    }
}
