import Foundation
import Gateway
import JWTKit
import JobFeedProtocol

/// Signs tokens for development and for the demo; a gateway that serves never does.
struct TokenMint: Sendable {
    let secret: String

    /// - Parameter claims: further ones; one value is a string, several or none are a list.
    func mint(user: String, access: String, seconds: Int, claims: [String: [String]] = [:]) async throws -> String {
        let now = Int(Date().timeIntervalSince1970)
        var members: [(String, JSONValue)] = [
            ("sub", .string(user)),
            ("access", .string(access)),
            ("iat", .number(String(now))),
            ("exp", .number(String(now + min(seconds, 1 << 40)))),
            ("jti", .string(UUID().uuidString)),
        ]
        for (name, values) in claims.sorted(by: { $0.key < $1.key }) {
            members.append((name, values.count == 1 ? .string(values[0]) : .array(values.map { .string($0) })))
        }
        let keys = await JWTKeyCollection().add(hmac: HMACKey(from: self.secret), digestAlgorithm: .sha256)
        return try await keys.sign(TokenClaims(.object(JSONObject(members))))
    }
}
