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
        for name in self.algorithms where !Self.supportedAlgorithms.contains(name) {
            throw KeyError(
                message: "algorithm \"\(name)\" is not supported; supported are "
                    + Self.supportedAlgorithms.joined(separator: ", ")
            )
        }
        var keys: [String: JWTKeyCollection] = [:]
        try await self.addSecret(to: &keys)
        try await self.addPEM(to: &keys)
        try await self.addJWKS(to: &keys)
        guard !keys.isEmpty else {
            throw KeyError(
                message: "no key to verify tokens with; set JOBFEED_JWT_SECRET, JOBFEED_JWT_PUBLIC_KEY_FILE or "
                    + "JOBFEED_JWT_JWKS_FILE"
            )
        }
        let accepted = self.algorithms.isEmpty ? keys : keys.filter { self.algorithms.contains($0.key) }
        for name in self.algorithms where accepted[name] == nil {
            throw KeyError(message: "algorithm \(name) is to be accepted, but no key for it is given")
        }
        return Authenticator(rules: rules, keys: accepted, revocations: revocations, claims: claims)
    }

    private func addSecret(to keys: inout [String: JWTKeyCollection]) async throws(KeyError) {
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
            keys[name] = await JWTKeyCollection().add(hmac: key, digestAlgorithm: digest)
        }
    }

    private func addPEM(to keys: inout [String: JWTKeyCollection]) async throws(KeyError) {
        guard let pem = self.publicKeyPEM else { return }
        guard !pem.contains("PRIVATE KEY") else {
            throw KeyError(message: "the PEM file holds a private key; give the gateway only the public one")
        }
        if let key = try? Insecure.RSA.PublicKey(pem: pem) {
            keys["RS256"] = await JWTKeyCollection().add(rsa: key, digestAlgorithm: .sha256)
        } else if let key = try? ES256PublicKey(pem: pem) {
            keys["ES256"] = await JWTKeyCollection().add(ecdsa: key)
        } else if let key = try? EdDSA.PublicKey(pem: pem) {
            keys["EdDSA"] = await JWTKeyCollection().add(eddsa: key)
        } else {
            throw KeyError(message: "the PEM file holds no public key for RS256, ES256 or EdDSA (Ed25519)")
        }
    }

    private func addJWKS(to keys: inout [String: JWTKeyCollection]) async throws(KeyError) {
        guard let jwks else { return }
        guard let set = try? JSONDecoder().decode(JWKS.self, from: Data(jwks.utf8)), !set.keys.isEmpty else {
            throw KeyError(message: "the JWKS file holds no keys; it should look like {\"keys\":[{\"kty\":…}]}")
        }
        for (number, key) in set.keys.enumerated() {
            // Shared secrets do not belong into a set of public keys.
            guard let name = Self.algorithm(of: key), ["RS256", "ES256", "EdDSA"].contains(name) else { continue }
            var fixed = key
            fixed.algorithm = JWK.Algorithm(rawValue: name)
            // RFC 7517 §4.5: `kid` is optional.
            if fixed.keyIdentifier == nil { fixed.keyIdentifier = JWKIdentifier(string: "key \(number)") }
            let collection = keys[name] ?? JWTKeyCollection()
            do {
                keys[name] = try await collection.add(jwk: fixed)
            } catch {
                throw KeyError(
                    message: "a key of the JWKS file (kid \(key.keyIdentifier?.string ?? "none")) cannot be read"
                )
            }
        }
    }

    private static func algorithm(of key: JWK) -> String? {
        if let algorithm = key.algorithm { return algorithm.rawValue }
        switch key.keyType {
        case .rsa: return "RS256"
        case .ecdsa: return "ES256"
        case .octetKeyPair: return "EdDSA"
        default: return nil
        }
    }
}

/// Why a set of keys cannot be used.
package struct KeyError: Error, Equatable {
    package let message: String
}
