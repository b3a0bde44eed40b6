import Crypto
import Foundation
import Testing

@testable import Gateway

@Suite struct AuthenticatorTests {
    private static let alice = Identity(user: "alice", access: .account, expiresAt: TokenMaker.now + 3600)
    private static let badSignature = AuthenticationError(message: "the token's signature does not fit any known key")

    private static func source(_ set: (inout KeySource) -> Void) -> KeySource {
        var source = KeySource()
        set(&source)
        return source
    }

    private static func verify(
        _ token: String,
        rules: TokenRules = TokenRules(),
        with set: (inout KeySource) -> Void
    ) async throws -> Identity {
        try await Self.source(set).authenticator(rules: rules).verify(token, now: TokenMaker.now)
    }

    private static func verify(_ token: String, rules: TokenRules = TokenRules()) async throws -> Identity {
        try await Self.verify(token, rules: rules) { $0.secret = TokenMaker.secret }
    }

    // MARK: Algorithms

    /// RFC 2104 §2: shorter keys are filled up with zeros, up to the hash's block.
    @Test(arguments: [32, 47, 48, 63, 64, 65, 128, 129, 200])
    func hmacWithKeysOfAnyLength(bytes: Int) async throws {
        let secret = String(repeating: "s", count: bytes)
        let key = TokenMaker.symmetric(secret)
        let tokens = [
            "HS256": TokenMaker.hs256(TokenMaker.claims(), key: secret),
            "HS384": TokenMaker.token(#"{"alg":"HS384"}"#, TokenMaker.claims()) {
                Data(HMAC<SHA384>.authenticationCode(for: $0, using: key))
            },
            "HS512": TokenMaker.token(#"{"alg":"HS512"}"#, TokenMaker.claims()) {
                Data(HMAC<SHA512>.authenticationCode(for: $0, using: key))
            },
        ]
        for token in tokens.values {
            #expect(try await Self.verify(token) { $0.secret = secret } == Self.alice)
        }
    }

    private static func expectNotAccepted(
        _ token: String,
        _ accepted: [String],
        with set: (inout KeySource) -> Void
    ) async {
        let list = accepted.joined(separator: ", ")
        await #expect(
            throws: AuthenticationError(message: "the token's algorithm is not accepted; accepted are \(list)")
        ) { try await Self.verify(token, with: set) }
    }

    @Test func onlyChosenAlgorithms() async throws {
        let source = { (source: inout KeySource) in
            source.secret = TokenMaker.secret
            source.publicKeyPEM = TestKeys.one.rsaPEM
            source.algorithms = ["RS256"]
        }
        #expect(try await Self.verify(TestKeys.one.rs256(TokenMaker.claims()), with: source) == Self.alice)
        await Self.expectNotAccepted(TokenMaker.hs256(TokenMaker.claims()), ["RS256"], with: source)
    }

    @Test func publicKeysFromPEM() async throws {
        let keys = TestKeys.one
        let cases = [
            (keys.rsaPEM, try keys.rs256(TokenMaker.claims()), try TestKeys.other.rs256(TokenMaker.claims())),
            (
                keys.p256.publicKey.pemRepresentation, try keys.es256(TokenMaker.claims()),
                try TestKeys.other.es256(TokenMaker.claims())
            ),
            (Self.ed25519PEM(keys), try keys.edDSA(TokenMaker.claims()), try TestKeys.other.edDSA(TokenMaker.claims())),
        ]
        for (pem, token, foreign) in cases {
            #expect(try await Self.verify(token) { $0.publicKeyPEM = pem } == Self.alice)
            await #expect(throws: Self.badSignature) { try await Self.verify(foreign) { $0.publicKeyPEM = pem } }
        }
    }

    /// RFC 8410 §4
    private static func ed25519PEM(_ keys: TestKeys) -> String {
        let der = Data([0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00])
        let body = (der + keys.ed25519.publicKey.rawRepresentation).base64EncodedString()
        return "-----BEGIN PUBLIC KEY-----\n\(body)\n-----END PUBLIC KEY-----\n"
    }

    // MARK: Attacks

    /// RFC 8725 §2.1: the public key, which everybody has, must not serve as an HMAC secret.
    @Test func aPublicKeyIsNoSecret() async throws {
        let pem = TestKeys.one.rsaPEM
        for secret in [pem, pem.trimmingCharacters(in: .newlines)] {
            let token = TokenMaker.hs256(TokenMaker.claims(), key: secret)
            await #expect(
                throws: AuthenticationError(message: "the token's algorithm is not accepted; accepted are RS256")
            ) {
                try await Self.verify(token) { $0.publicKeyPEM = pem }
            }
            // Also not when HS256 is accepted, for another key.
            await #expect(throws: Self.badSignature) {
                try await Self.verify(token) {
                    $0.publicKeyPEM = pem
                    $0.secret = TokenMaker.secret
                }
            }
            let claimsRSA = TokenMaker.hs256(TokenMaker.claims(), header: #"{"alg":"RS256"}"#, key: secret)
            await #expect(throws: Self.badSignature) { try await Self.verify(claimsRSA) { $0.publicKeyPEM = pem } }
        }
    }

    @Test(arguments: ["none", "None", "NONE", "nOnE", "hs256", "", "HS256 ", "RS256", "PS256", "ES384"])
    func algorithmsThatNoKeyIsForAreRefused(algorithm: String) async {
        for signature in ["", "AA"] {
            let token = TokenMaker.token(#"{"alg":"\#(algorithm)"}"#, TokenMaker.claims()) { _ in Data(signature.utf8) }
            await #expect(
                throws: AuthenticationError(
                    message: "the token's algorithm is not accepted; accepted are HS256, HS384, HS512"
                )
            ) { try await Self.verify(token) }
        }
    }

    @Test func everySingleDamageIsRefused() async throws {
        let token = TokenMaker.hs256(TokenMaker.claims())
        let authenticator = try await Self.source { $0.secret = TokenMaker.secret }.authenticator(rules: TokenRules())
        let characters = Array(token)
        for index in characters.indices.dropLast() {
            var damaged = characters
            damaged[index] = characters[index] == "A" ? "B" : "A"
            await #expect(throws: AuthenticationError.self, "\(index)") {
                try await authenticator.verify(String(damaged), now: TokenMaker.now)
            }
        }
        for length in 0..<characters.count {
            await #expect(throws: AuthenticationError.self, "\(length)") {
                try await authenticator.verify(String(characters.prefix(length)), now: TokenMaker.now)
            }
        }
    }

    @Test(arguments: [
        "", ".", "..", "...", "a.b.c", "a.b", "💥.💥.💥", "e30.e30.", "e30.e30.e30", "bnVsbA.bnVsbA.bnVsbA", "W10.W10.W10",
        "eyJhbGciOjF9.e30.AA", "eyJhbGciOm51bGx9.e30.AA", "null", "Bearer a.b.c", String(repeating: ".", count: 1000),
    ])
    func garbageIsRefused(token: String) async {
        await #expect(throws: AuthenticationError(message: "this is no signed JWT (header.payload.signature)")) {
            try await Self.verify(token)
        }
    }

    @Test func longTokensAreRefusedUnread() async {
        await #expect(throws: AuthenticationError(message: "the token is longer than 16384 bytes")) {
            try await Self.verify(String(repeating: "a", count: 16_385))
        }
        let deep = String(repeating: "[", count: 5000) + String(repeating: "]", count: 5000)
        await #expect(throws: AuthenticationError.self) { try await Self.verify(TokenMaker.hs256(deep)) }
        await #expect(throws: AuthenticationError.self) {
            try await Self.verify(TokenMaker.hs256(#"{"a":\#(deep)}"#))
        }
    }

    @Test(arguments: ["[]", "1", "null", "\"alice\"", "", "{", #"{"sub":"alice""#])
    func payloadsThatAreNoObjectAreRefused(payload: String) async {
        await #expect(throws: AuthenticationError.self) { try await Self.verify(TokenMaker.hs256(payload)) }
    }

    // MARK: Key sets

    @Test func keySetsAreFoundByKidOrTried() async throws {
        let jwks = #"{"keys":[\#(TestKeys.one.ecJWK(kid: "a")),\#(TestKeys.other.ecJWK(kid: "b"))]}"#
        for header in [#"{"alg":"ES256","kid":"a"}"#, #"{"alg":"ES256"}"#, #"{"alg":"ES256","kid":"unknown"}"#] {
            for keys in [TestKeys.one, .other] {
                let token = try keys.es256(TokenMaker.claims(), header: header)
                #expect(try await Self.verify(token) { $0.jwks = jwks } == Self.alice, "\(header)")
            }
        }
        let one = #"{"keys":[\#(TestKeys.one.ecJWK(kid: nil))]}"#
        for header in [#"{"alg":"ES256","kid":"a"}"#, #"{"alg":"ES256"}"#] {
            #expect(
                try await Self.verify(TestKeys.one.es256(TokenMaker.claims(), header: header)) { $0.jwks = one }
                    == Self.alice
            )
            await #expect(throws: Self.badSignature) {
                try await Self.verify(TestKeys.other.es256(TokenMaker.claims(), header: header)) { $0.jwks = one }
            }
        }
    }

    @Test(arguments: [
        ("", "no keys"), ("{}", "no keys"), (#"{"keys":[]}"#, "no keys"), ("garbage", "no keys"),
        (#"{"keys":[{"kty":"EC","crv":"P-256","kid":"x","x":"AA","y":"AA"}]}"#, "(kid x) cannot be read"),
        (#"{"keys":[{"kty":"RSA","kid":"r","n":"AA","e":"AQAB"}]}"#, "(kid r) cannot be read"),
    ])
    func brokenKeySetsAreRefused(jwks: String, says: String) async {
        let error = await #expect(throws: KeyError.self) {
            try await Self.source { $0.jwks = jwks }.authenticator(rules: TokenRules())
        }
        #expect(error?.message.contains(says) == true)
    }

    @Test func keySourcesSayWhatIsMissing() async {
        let pem = TestKeys.one.p256.publicKey.pemRepresentation
        let cases: [(String, KeySource)] = [
            ("no key to verify tokens with; set JOBFEED_JWT_SECRET", Self.source { _ in }),
            (
                "the JWT secret has 31 bytes; 32 are needed",
                Self.source { $0.secret = String(TokenMaker.secret.dropLast()) }
            ),
            ("the PEM file holds a private key", Self.source { $0.publicKeyPEM = TestKeys.one.p256.pemRepresentation }),
            (
                "the PEM file holds no public key for RS256, ES256 or EdDSA",
                Self.source { $0.publicKeyPEM = "nonsense" }
            ),
            (
                "the PEM file holds no public key for",
                Self.source { $0.publicKeyPEM = P384.Signing.PrivateKey().publicKey.pemRepresentation }
            ),
            (
                "algorithm \"HS1\" is not supported; supported are HS256,",
                Self.source {
                    $0.secret = TokenMaker.secret
                    $0.algorithms = ["HS256", "HS1"]
                }
            ),
            (
                "algorithm RS256 is to be accepted, but no key for it is given",
                Self.source {
                    $0.publicKeyPEM = pem
                    $0.algorithms = ["ES256", "RS256"]
                }
            ),
        ]
        for (message, source) in cases {
            let error = await #expect(throws: KeyError.self, "\(message)") {
                try await source.authenticator(rules: TokenRules())
            }
            #expect(error?.message.hasPrefix(message) == true, "\(error?.message ?? "")")
        }
    }
}
