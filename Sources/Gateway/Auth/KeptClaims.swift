import JobFeedProtocol
import Synchronization

/// The claims that feeds ask for besides the user's, as the reader last saw it; of other claims a session keeps nothing.
package final class KeptClaims: Sendable {
    private let names = Mutex<Set<String>>([])

    package init() {}

    func keep(_ names: Set<String>) {
        self.names.withLock { $0 = names }
    }

    func values(in claims: TokenClaims) -> ClaimValues {
        let names = self.names.withLock { $0 }
        return ClaimValues(uniqueKeysWithValues: names.map { ($0, claims.texts($0)) })
    }
}

/// By the claim's path: its texts; `nil`: the token has no such claim.
package typealias ClaimValues = [String: [String]?]

extension TokenClaims {
    /// One string or number, or a list of them; `nil` also when it is anything else.
    fileprivate func texts(_ path: String) -> [String]? {
        func text(_ value: JSONValue) -> String? {
            switch value {
            case .string(let text): text.utf8.contains(0) ? nil : text
            case .number(let text): text
            default: nil
            }
        }
        guard let value = self.value(path) else { return nil }
        guard case .array(let items) = value else { return text(value).map { [$0] } }
        let texts = items.compactMap(text)
        // An empty list may mean everything.
        return texts.count == items.count ? texts : nil
    }
}
