import Foundation

/// Where a JWK set is published: https, or http on the machine itself.
package struct KeySetURL: Sendable, Equatable {
    let url: URL

    package init(_ text: String) throws(KeyError) {
        guard let url = URL(string: text), let host = url.host, !host.isEmpty else {
            throw KeyError(
                message: "jwt-jwks-url is no URL; write it like https://auth.example.com/.well-known/jwks.json"
            )
        }
        switch url.scheme?.lowercased() {
        case "https": break
        case "http" where Self.isLoopback(host): break
        case "http":
            throw KeyError(message: "jwt-jwks-url has to be https: whoever sits in between could give keys of his own")
        default: throw KeyError(message: "jwt-jwks-url has to be https")
        }
        guard url.user == nil, url.password == nil else {
            throw KeyError(message: "jwt-jwks-url holds a password; a set of public keys needs none")
        }
        self.url = url
    }

    /// For logs and messages: without the query, which may hold a key of some service.
    package var name: String {
        let port = self.url.port.map { ":\($0)" } ?? ""
        let host = self.url.host ?? ""
        return "\(self.url.scheme ?? "")://\(host.contains(":") ? "[\(host)]" : host)\(port)\(self.url.path)"
    }

    /// Where a redirect leads; `nil`: somewhere that is not followed.
    func redirected(to location: String) -> KeySetURL? {
        guard let next = URL(string: location, relativeTo: self.url).flatMap({ try? KeySetURL($0.absoluteString) })
        else { return nil }
        return next.isSecure || !self.isSecure ? next : nil
    }

    private var isSecure: Bool { self.url.scheme?.lowercased() == "https" }

    private static func isLoopback(_ host: String) -> Bool {
        if ["localhost", "::1", "[::1]"].contains(host.lowercased()) { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
}
