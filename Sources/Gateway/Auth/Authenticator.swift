import Foundation
import JWTKit
import JobFeedProtocol

/// Verifies tokens: pinned algorithms, known keys, then ``TokenRules``, then ``Revocations``.
package struct Authenticator: Sendable {
    private static let maximumTokenBytes = 16 << 10

    private struct Header {
        let algorithm: String
        let keyName: String?
    }

    private let rules: TokenRules
    /// Keys by the algorithm that each is for: a token chooses among keys, never what a key is used for.
    private let keys: [String: [JWTKeyCollection]]
    package let remote: RemoteKeys?
    private let revocations: Revocations
    private let claims: KeptClaims

    init(
        rules: TokenRules,
        keys: [String: [JWTKeyCollection]],
        remote: RemoteKeys?,
        revocations: Revocations,
        claims: KeptClaims
    ) {
        self.rules = rules
        self.claims = claims
        self.keys = keys
        self.remote = remote
        self.revocations = revocations
    }

    package func verify(_ token: String) async throws(AuthenticationError) -> Identity {
        try await self.verify(token, now: Date().timeIntervalSince1970)
    }

    package func verify(_ token: String, now: Double) async throws(AuthenticationError) -> Identity {
        guard token.utf8.count <= Self.maximumTokenBytes else {
            throw AuthenticationError(message: "the token is longer than \(Self.maximumTokenBytes) bytes")
        }
        let claims = try await self.verifiedClaims(of: token)
        var identity = try self.rules.identity(of: claims, now: now)
        identity.claims = self.claims.values(in: claims)
        guard !self.revocations.refuses(identity, now: now) else {
            throw AuthenticationError(message: "this session was revoked by an operator; sign in again for a new token")
        }
        return identity
    }

    private func verifiedClaims(of token: String) async throws(AuthenticationError) -> TokenClaims {
        let header = try Self.header(of: token)
        let remote = self.remote.flatMap { $0.algorithms.contains(header.algorithm) ? $0 : nil }
        guard self.keys[header.algorithm] != nil || remote != nil else {
            let accepted = Set(self.keys.keys).union(self.remote?.algorithms ?? [])
            throw AuthenticationError(
                message: "the token's algorithm is not accepted; accepted are "
                    + accepted.sorted().joined(separator: ", ")
            )
        }
        for key in self.keys[header.algorithm] ?? [] {
            if let claims = try? await key.verify(token, as: TokenClaims.self) { return claims }
        }
        for key in try await remote?.keys(for: header.algorithm, named: header.keyName) ?? [] {
            if let claims = try? await key.verifier.verify(token, as: TokenClaims.self) { return claims }
        }
        throw AuthenticationError(message: "the token's signature does not fit any known key")
    }

    private static func header(of token: String) throws(AuthenticationError) -> Header {
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let header = Self.decoded(parts[0]), case .string(let algorithm)? = header["alg"] else {
            throw AuthenticationError(message: "this is no signed JWT (header.payload.signature)")
        }
        // RFC 7515 §4.1.11: none of the extensions that may be critical is known here.
        guard header["crit"] == nil else {
            throw AuthenticationError(message: "the token has critical extensions (crit), which are not supported")
        }
        switch header["kid"] {
        case nil: return Header(algorithm: algorithm, keyName: nil)
        case .string(let name)?: return Header(algorithm: algorithm, keyName: name)
        case _?: throw AuthenticationError(message: "the token's key (kid) is not named by a string")
        }
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
