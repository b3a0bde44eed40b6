import Crypto
import CryptoExtras
import Foundation

/// Signs tokens with nothing but the primitives, so that a header may claim whatever a test wants it to.
enum TokenMaker {
    static let secret = "0123456789abcdef0123456789abcdef"
    static let now = 1_800_000_000.0

    static func base64URL(_ data: some DataProtocol) -> String {
        Data(data).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }

    /// - Parameter header: JSON; `payload` likewise.
    static func token(_ header: String, _ payload: String, sign: (Data) throws -> Data) rethrows -> String {
        let signed = Self.base64URL(Data(header.utf8)) + "." + Self.base64URL(Data(payload.utf8))
        return signed + "." + Self.base64URL(try sign(Data(signed.utf8)))
    }

    static func hs256(
        _ payload: String,
        header: String = #"{"alg":"HS256","typ":"JWT"}"#,
        key: String = TokenMaker.secret
    ) -> String {
        Self.token(header, payload) { Data(HMAC<SHA256>.authenticationCode(for: $0, using: Self.symmetric(key))) }
    }

    static func symmetric(_ key: String) -> SymmetricKey { SymmetricKey(data: Data(key.utf8)) }

    /// The claims of alice, valid for an hour, with some of them replaced by JSON.
    static func claims(_ replaced: KeyValuePairs<String, String?> = [:]) -> String {
        var claims: [String: String] = ["sub": #""alice""#, "access": #""account""#, "exp": "\(Int(Self.now) + 3600)"]
        for (name, json) in replaced { claims[name] = json }
        return "{" + claims.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\($0.value)" }.joined(separator: ",") + "}"
    }
}

/// Key pairs made for one run of the tests.
struct TestKeys: Sendable {
    static let one = TestKeys()
    static let other = TestKeys()

    let rsa: _RSA.Signing.PrivateKey?
    let p256 = P256.Signing.PrivateKey()
    let ed25519 = Curve25519.Signing.PrivateKey()

    private init() {
        self.rsa = try? _RSA.Signing.PrivateKey(keySize: .bits2048)
    }

    var rsaPEM: String { self.rsa?.publicKey.pemRepresentation ?? "" }

    func rs256(_ payload: String, header: String = #"{"alg":"RS256"}"#) throws -> String {
        try TokenMaker.token(header, payload) { data in
            try self.rsa?.signature(for: SHA256.hash(data: data), padding: .insecurePKCS1v1_5).rawRepresentation
                ?? Data()
        }
    }

    func es256(_ payload: String, header: String = #"{"alg":"ES256"}"#) throws -> String {
        try TokenMaker.token(header, payload) { try self.p256.signature(for: $0).rawRepresentation }
    }

    func edDSA(_ payload: String, header: String = #"{"alg":"EdDSA"}"#) throws -> String {
        try TokenMaker.token(header, payload) { try self.ed25519.signature(for: $0) }
    }

    /// The public P-256 key as a JWK, with further members.
    func ecJWK(kid: String?, _ more: String? = nil) -> String {
        let raw = self.p256.publicKey.rawRepresentation
        let x = TokenMaker.base64URL(raw.prefix(32))
        let y = TokenMaker.base64URL(raw.suffix(32))
        return Self.jwk(#""kty":"EC","crv":"P-256","x":"\#(x)","y":"\#(y)""#, kid, more)
    }

    func edJWK(kid: String?, _ more: String? = nil) -> String {
        let x = TokenMaker.base64URL(self.ed25519.publicKey.rawRepresentation)
        return Self.jwk(#""kty":"OKP","crv":"Ed25519","x":"\#(x)""#, kid, more)
    }

    func rsaJWK(kid: String?, _ more: String? = nil) throws -> String {
        guard let numbers = try self.rsa?.publicKey.getKeyPrimitives() else { return "{}" }
        let n = TokenMaker.base64URL(numbers.modulus)
        let e = TokenMaker.base64URL(numbers.publicExponent)
        return Self.jwk(#""kty":"RSA","n":"\#(n)","e":"\#(e)""#, kid, more)
    }

    private static func jwk(_ members: String, _ kid: String?, _ more: String?) -> String {
        "{" + [members, kid.map { #""kid":"\#($0)""# }, more].compactMap(\.self).joined(separator: ",") + "}"
    }
}
