import Foundation
import JWTKit
import JobFeedProtocol

/// The keys of a JWK set (RFC 7517) that tokens can be verified with, each for one algorithm.
struct KeySet: Sendable {
    struct Key: Sendable {
        /// `kid`
        let name: String?
        let algorithm: String
        /// Holds this key alone.
        let verifier: JWTKeyCollection
    }

    /// More of them would make each token without a `kid` dear.
    static let maximumKeys = 64
    static let algorithms = ["RS256", "ES256", "EdDSA"]

    let keys: [Key]
    /// Names of the keys that were meant for tokens and could not be read.
    let broken: [String]

    /// Keys for other uses, of other kinds and shared secrets are passed over.
    init(parsing bytes: some Sequence<UInt8>) async throws(KeyError) {
        guard let items = (try? JSONValue(parsing: bytes))?.objectValue?["keys"]?.arrayValue, !items.isEmpty else {
            throw KeyError(message: "holds no keys; it should look like {\"keys\":[{\"kty\":…}]}")
        }
        guard items.count <= Self.maximumKeys else {
            throw KeyError(message: "holds \(items.count) keys; at most \(Self.maximumKeys) are taken")
        }
        var keys: [Key] = []
        var broken: [String] = []
        for case .object(let item) in items {
            guard let algorithm = Self.algorithm(of: item) else { continue }
            let name = item["kid"]?.stringValue
            if let verifier = await Self.verifier(of: item, for: algorithm) {
                keys.append(Key(name: name, algorithm: algorithm, verifier: verifier))
            } else {
                broken.append(name ?? "none")
            }
        }
        self.keys = keys
        self.broken = broken
    }

    /// Those that a token may be signed with: by its `kid`, and all of the algorithm's when the token or the key has none.
    func keys(for algorithm: String, named name: String?) -> [Key] {
        self.keys.filter { key in
            guard key.algorithm == algorithm else { return false }
            guard let wanted = name, let own = key.name else { return true }
            return wanted.utf8.elementsEqual(own.utf8)
        }
    }

    func has(_ name: String) -> Bool {
        self.keys.contains { $0.name == name }
    }

    /// What the key is used for and nothing else: its kind and its `alg` have to agree.
    private static func algorithm(of key: JSONObject) -> String? {
        // RFC 7517 §4.2 and §4.3
        guard key["use"] == nil || key["use"] == "sig" else { return nil }
        if let operations = key["key_ops"] {
            guard operations.arrayValue?.contains("verify") == true else { return nil }
        }
        let algorithm: String
        switch (key["kty"]?.stringValue, key["crv"]?.stringValue) {
        case ("RSA"?, _): algorithm = "RS256"
        case ("EC"?, "P-256"?): algorithm = "ES256"
        case ("OKP"?, "Ed25519"?): algorithm = "EdDSA"
        default: return nil
        }
        guard let said = key["alg"] else { return algorithm }
        // RFC 9864 §2.2 names EdDSA with this curve so.
        return said == .string(algorithm) || (algorithm == "EdDSA" && said == "Ed25519") ? algorithm : nil
    }

    private static func verifier(of key: JSONObject, for algorithm: String) async -> JWTKeyCollection? {
        // Without the private members, should somebody have published them.
        var fields: JSONObject = ["alg": .string(algorithm), "kid": "key"]
        for name in ["kty", "crv", "n", "e", "x", "y"] { fields[name] = key[name] }
        if algorithm == "RS256" {
            // RFC 7518 §3.3 asks for 2048 bits; base64 has six in a character.
            let digits = fields["n"]?.stringValue?.utf8.drop { $0 == UInt8(ascii: "A") }
            guard let digits, digits.count >= 341 else { return nil }
        }
        guard let jwk = try? JWK(json: fields.encoded()) else { return nil }
        return try? await JWTKeyCollection().add(jwk: jwk)
    }
}
