import Foundation
import Fuzz
import Testing

@testable import Gateway

/// Whatever is done to a token, it says who its signer said it was for, or it says nothing.
@Suite struct TokenFuzzTests {
    @Test func tokens() async throws {
        var source = KeySource()
        source.secret = TokenMaker.secret
        let authenticator = try await source.authenticator(rules: TokenRules())
        let alice = Identity(user: "alice", access: .account, expiresAt: TokenMaker.now + 3600)
        let valid = TokenMaker.hs256(TokenMaker.claims())
        let headers = [
            #"{"alg":"none"}"#, #"{"alg":"HS256","kid":"x","crit":["exp"]}"#, #"{"alg":["HS256"]}"#, "[]", "{",
            #"{"alg":"hs256"}"#,
        ]
        let payloads = [
            #"{"sub":"alice"}"#, #"{"sub":"bob","access":"operator","exp":1e308}"#,
            #"{"sub":"","access":"account","exp":"9"}"#,
            #"{"sub":1,"access":{},"exp":null}"#, String(repeating: "[", count: 2000), "null", #"{"exp":-1e400}"#,
        ]
        let critical = TokenMaker.base64URL(Data(headers[1].utf8))
        let failure = await Fuzz.failure(of: "tokens", iterations: 1500) { random in
            let token: String
            var isSigned = false
            switch random.below(4) {
            case 0:
                token = TokenMaker.token(random.pick(headers), random.pick(payloads)) { _ in Data(random.bytes(32)) }
            // Signed by a key that is known: the signature alone makes no user.
            case 1:
                isSigned = true
                let payload = String(decoding: random.mutated(Array(random.pick(payloads).utf8)), as: UTF8.self)
                token = TokenMaker.hs256(
                    payload,
                    header: random.chance(80) ? #"{"alg":"HS256"}"# : random.pick(headers)
                )
            default:
                token = String(
                    decoding: random.mutated(Array(valid.utf8), words: [".", "=", "eyJ", "-"]),
                    as: UTF8.self
                )
            }
            do throws(AuthenticationError) {
                let identity = try await authenticator.verify(token, now: TokenMaker.now)
                if token.hasPrefix(critical) {
                    throw AuthenticationError(message: "FUZZ: \(token) is taken for \(identity)")
                }
                if identity != alice, !isSigned {
                    throw AuthenticationError(message: "FUZZ: \(token) is taken for \(identity)")
                }
                if identity.user.isEmpty { throw AuthenticationError(message: "FUZZ: nobody") }
            } catch {
                if error.message.hasPrefix("FUZZ") || error.message.utf8.count > 1000 { throw error }
                // What is refused is not repeated where a log might catch it.
                if token.utf8.count > 20, error.message.contains(token) { throw error }
            }
        }
        #expect(failure == nil)
    }
}
