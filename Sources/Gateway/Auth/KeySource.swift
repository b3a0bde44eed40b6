import Foundation
import JWTKit
import JobFeedProtocol

/// Where the keys come from that tokens are signed with.
package struct KeySource: Sendable {
    /// For HS256, HS384 and HS512.
    package var secret: String? = nil
    /// The text of a PEM file with one public key.
    package var publicKeyPEM: String? = nil
    /// The text of a JWK set (RFC 7517).
    package var jwks: String? = nil
    /// Where a JWK set is fetched from, again and again.
    package var remote: KeySetFetcher? = nil
    /// Algorithms to accept; empty: all that the keys are made for.
    package var algorithms: [String] = []

    package init() {}

    package static let supportedAlgorithms = ["HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA"]
    /// Shorter secrets are guessed offline.
    package static let minimumSecretBytes = 32

    package func authenticator(
        rules: TokenRules,
        revocations: Revocations = Revocations(),
        claims: KeptClaims = KeptClaims()
    ) async throws(KeyError) -> Authenticator {
        try await self.authenticator(rules: rules, revocations: revocations, claims: claims) { _ in }
    }

    func authenticator(
        rules: TokenRules,
        revocations: Revocations,
        claims: KeptClaims,
        observe: @escaping @Sendable (RemoteKeys.Event) -> Void
    ) async throws(KeyError) -> Authenticator {
        try rules.validate()
        for name in self.algorithms where !Self.supportedAlgorithms.contains(name) {
            throw KeyError(
                message: "algorithm \"\(name)\" is not supported; supported are "
                    + Self.supportedAlgorithms.joined(separator: ", ")
            )
        }
        var keys: [String: [JWTKeyCollection]] = [:]
        try await self.addSecret(to: &keys)
        try await self.addPEM(to: &keys)
        try await self.addJWKS(to: &keys)
        let remote = self.remote.map { fetcher in
            let algorithms = Set(KeySet.algorithms)
            let accepted = self.algorithms.isEmpty ? algorithms : algorithms.intersection(self.algorithms)
            return RemoteKeys(fetcher, algorithms: accepted, observe: observe)
        }
        guard !keys.isEmpty || remote != nil else {
            throw KeyError(
                message: "no key to verify tokens with; set JOBFEED_JWT_SECRET, JOBFEED_JWT_PUBLIC_KEY_FILE, "
                    + "JOBFEED_JWT_JWKS_FILE or JOBFEED_JWT_JWKS_URL"
            )
        }
        let accepted = self.algorithms.isEmpty ? keys : keys.filter { self.algorithms.contains($0.key) }
        for name in self.algorithms where accepted[name] == nil && remote?.algorithms.contains(name) != true {
            throw KeyError(message: "algorithm \(name) is to be accepted, but no key for it is given")
        }
        if let remote, remote.algorithms.isEmpty {
            throw KeyError(
                message: "jwt-algorithms holds none that keys at a URL are for: "
                    + KeySet.algorithms.joined(separator: ", ")
            )
        }
        return Authenticator(rules: rules, keys: accepted, remote: remote, revocations: revocations, claims: claims)
    }

    /// What would be accepted that hardly anybody means to accept.
    package func warning(_ rules: TokenRules) -> String? {
        guard let remote, rules.issuers.isEmpty, rules.audiences.isEmpty else { return nil }
        return "neither jwt-issuer nor jwt-audience is set: every token signed with the keys at "
            + "\(remote.location.name) is accepted, also those made for other applications"
    }

    private func addSecret(to keys: inout [String: [JWTKeyCollection]]) async throws(KeyError) {
        guard let secret else { return }
        guard secret.utf8.count >= Self.minimumSecretBytes else {
            throw KeyError(
                message: "the JWT secret has \(secret.utf8.count) bytes; \(Self.minimumSecretBytes) are needed "
                    + "(try: openssl rand -hex 32)"
            )
        }
        // RFC 7518 §3.2 asks for as many bytes as the hash has. 32 cannot be guessed either, whatever the hash; and HMAC
        // fills a shorter key up with zeros itself (RFC 2104 §2), so that doing it here changes no signature.
        let padding = [UInt8](repeating: 0, count: max(0, 64 - secret.utf8.count))
        let key = HMACKey(from: Data(Array(secret.utf8) + padding))
        let digests: [(String, DigestAlgorithm)] = [("HS256", .sha256), ("HS384", .sha384), ("HS512", .sha512)]
        for (name, digest) in digests {
            keys[name, default: []].append(await JWTKeyCollection().add(hmac: key, digestAlgorithm: digest))
        }
    }

    private func addPEM(to keys: inout [String: [JWTKeyCollection]]) async throws(KeyError) {
        guard let pem = self.publicKeyPEM else { return }
        guard !pem.contains("PRIVATE KEY") else {
            throw KeyError(message: "the PEM file holds a private key; give the gateway only the public one")
        }
        if let key = try? Insecure.RSA.PublicKey(pem: pem) {
            keys["RS256", default: []].append(await JWTKeyCollection().add(rsa: key, digestAlgorithm: .sha256))
        } else if let key = try? ES256PublicKey(pem: pem) {
            keys["ES256", default: []].append(await JWTKeyCollection().add(ecdsa: key))
        } else if let key = try? EdDSA.PublicKey(pem: pem) {
            keys["EdDSA", default: []].append(await JWTKeyCollection().add(eddsa: key))
        } else {
            throw KeyError(message: "the PEM file holds no public key for RS256, ES256 or EdDSA (Ed25519)")
        }
    }

    private func addJWKS(to keys: inout [String: [JWTKeyCollection]]) async throws(KeyError) {
        guard let jwks else { return }
        let set: KeySet
        do throws(KeyError) {
            set = try await KeySet(parsing: jwks.utf8)
        } catch {
            throw KeyError(message: "the JWKS file \(error.message)")
        }
        if let name = set.broken.first {
            throw KeyError(message: "a key of the JWKS file (kid \(name)) cannot be read")
        }
        for key in set.keys { keys[key.algorithm, default: []].append(key.verifier) }
    }
}

/// Why a set of keys cannot be used.
package struct KeyError: Error, Equatable {
    package let message: String
}
