import Foundation
import JWTKit
import JobFeedProtocol

/// Verifies tokens: pinned algorithms, known keys, then ``TokenRules``, then ``Revocations``.
package struct Authenticator: Sendable {
    private static let maximumTokenBytes = 16 << 10

    private let rules: TokenRules
    /// A key collection per algorithm: a token chooses among keys, never what a key is used for.
    private let keys: [String: JWTKeyCollection]

    private let revocations: Revocations
    private let claims: KeptClaims

    init(rules: TokenRules, keys: [String: JWTKeyCollection], revocations: Revocations, claims: KeptClaims) {
        self.rules = rules
        self.revocations = revocations
        self.claims = claims
        self.keys = keys
    }

    package func verify(_ token: String) async throws(AuthenticationError) -> Identity {
        try await self.verify(token, now: Date().timeIntervalSince1970)
    }

    package func verify(_ token: String, now: Double) async throws(AuthenticationError) -> Identity {
        guard token.utf8.count <= Self.maximumTokenBytes else {
            throw AuthenticationError(message: "the token is longer than \(Self.maximumTokenBytes) bytes")
        }
        let algorithm = try Self.algorithm(of: token)
        guard let keys = self.keys[algorithm] else {
            throw AuthenticationError(
                message: "the token's algorithm is not accepted; accepted are "
                    + self.keys.keys.sorted().joined(separator: ", ")
            )
        }
        let claims: TokenClaims
        do {
            claims = try await keys.verify(token, as: TokenClaims.self, iteratingKeys: true)
        } catch {
            throw AuthenticationError(message: "the token's signature does not fit any known key")
        }
        var identity = try self.rules.identity(of: claims, now: now)
        identity.claims = self.claims.values(in: claims)
        guard !self.revocations.refuses(identity, now: now) else {
            throw AuthenticationError(message: "this session was revoked by an operator; sign in again for a new token")
        }
        return identity
    }

    private static func algorithm(of token: String) throws(AuthenticationError) -> String {
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let header = Self.decoded(parts[0]), case .string(let name)? = header["alg"] else {
            throw AuthenticationError(message: "this is no signed JWT (header.payload.signature)")
        }
        // RFC 7515 §4.1.11: none of the extensions that may be critical is known here.
        guard header["crit"] == nil else {
            throw AuthenticationError(message: "the token has critical extensions (crit), which are not supported")
        }
        return name
    }

    private static func decoded(_ part: Substring) -> JSONObject? {
        var base64 = String(
            part.map { (character: Character) -> Character in
                character == "-" ? "+" : character == "_" ? "/" : character
            }
        )
        base64 += String(repeating: "=", count: (4 - base64.utf8.count % 4) % 4)
        guard let data = Data(base64Encoded: base64) else { return nil }
        guard case .object(let header)? = try? JSONValue(parsing: Array(data)) else { return nil }
        return header
    }
}
