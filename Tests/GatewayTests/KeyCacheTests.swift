import Foundation
import NIOHTTP1
import Testing

@testable import Gateway

/// When a JWK set is fetched, and which of its keys hold until then.
@Suite struct KeyCacheTests {
    private typealias Instant = ContinuousClock.Instant

    private static let start = ContinuousClock.now

    /// What an answer is, without its keys.
    private static func kind(_ answer: KeyCache.Answer) -> String {
        switch answer {
        case .keys(let keys): "keys \(keys.map { $0.name ?? "-" }.joined(separator: ","))"
        case .fetch: "fetch"
        case .wait: "wait"
        case .unknown: "unknown"
        case .unavailable(let wait): "unavailable \(wait / .seconds(1))"
        }
    }

    private static func set(_ names: String?...) async throws -> KeySet {
        let keys = names.map { TestKeys.one.ecJWK(kid: $0) }.joined(separator: ",")
        return try await KeySet(parsing: #"{"keys":[\#(keys)]}"#.utf8)
    }

    private final class Play {
        var cache = KeyCache(now: KeyCacheTests.start)
        var seconds = 0.0

        var now: ContinuousClock.Instant { KeyCacheTests.start + .seconds(self.seconds) }

        func wants(_ name: String?, _ algorithm: String = "ES256") -> String {
            KeyCacheTests.kind(self.cache.wanted(algorithm, named: name, now: self.now))
        }

        func knows(_ name: String) -> String {
            KeyCacheTests.kind(self.cache.known("ES256", named: name, afterFetch: true, now: self.now))
        }

        func isDue() -> Bool { self.cache.isDue(now: self.now) }

        func fetched(_ set: KeySet, age: Double? = nil) {
            self.cache.fetched(set, maximumAge: age.map { .seconds($0) }, now: self.now)
        }

        func failed(random: Double = 1) { self.cache.failed("away", random: random, now: self.now) }
    }

    @Test func oneFetchAtATime() async throws {
        let play = Play()
        #expect(play.isDue())
        #expect(play.wants("a") == "wait")
        #expect(!play.isDue())
        play.fetched(try await Self.set("a"))
        #expect(play.wants("a") == "keys a")
        #expect(!play.isDue())
    }

    @Test func unknownNamesFetchTheSetAtMostEachFewSeconds() async throws {
        let play = Play()
        let set = try await Self.set("a")
        #expect(play.wants("a") == "fetch")
        play.fetched(set)
        var fetches = 0
        for step in 1...1000 {
            play.seconds = Double(step) * 0.1
            switch play.wants("unknown \(step)") {
            case "fetch":
                fetches += 1
                #expect(play.wants("a") == "keys a")
                #expect(play.wants("b") == "wait")
                play.fetched(set)
                #expect(play.knows("unknown \(step)") == "unknown")
            case let other: #expect(other.hasPrefix("unavailable"))
            }
        }
        #expect(fetches == 20)
    }

    @Test func aNewKeyIsFoundAndTheOldOneIsGone() async throws {
        let play = Play()
        #expect(play.wants("a") == "fetch")
        play.fetched(try await Self.set("a"))
        play.seconds = 5
        #expect(play.wants("b") == "fetch")
        play.fetched(try await Self.set("b"))
        #expect(play.wants("b") == "keys b")
        #expect(play.wants("a") == "unknown")
        // Known to be gone: not asked for again.
        play.seconds = 100
        #expect(play.wants("a") == "unknown")
        // The same name for another algorithm is no key that might come.
        #expect(play.wants("b", "RS256") == "unknown")
    }

    /// A client that is told that a key is unknown gives up.
    @Test func aKeyMayHaveBeenPublishedSinceTheLastFetch() async throws {
        let play = Play()
        #expect(play.wants("a") == "fetch")
        play.fetched(try await Self.set("a"))
        play.seconds = 2
        #expect(play.wants("b") == "unavailable 3.0")
        play.seconds = 5
        #expect(play.wants("b") == "fetch")
        play.fetched(try await Self.set("a"))
        #expect(play.knows("b") == "unknown")
    }

    @Test func droppedNamesAreBounded() async throws {
        let play = Play()
        for number in 0..<300 {
            play.seconds += 3600
            #expect(play.isDue())
            play.fetched(try await Self.set("\(number)"))
        }
        #expect(play.wants("298") == "unknown")
        play.seconds += 5
        #expect(play.wants("0") == "fetch")
    }

    @Test(arguments: [(nil, 600.0), (0, 60), (59, 60), (61, 61), (86_400, 86_400), (1e9, 86_400)])
    func aSetIsFreshForAsLongAsItsServerSaysWithinBounds(age: Double?, seconds: Double) async throws {
        let play = Play()
        #expect(play.isDue())
        play.fetched(try await Self.set("a"), age: age)
        play.seconds = seconds - 0.1
        #expect(!play.isDue())
        play.seconds = seconds
        #expect(play.isDue())
        #expect(play.wants("a") == "keys a")
        play.failed()
        // Used for a day after it should have been replaced.
        play.seconds = seconds + 86_399
        #expect(play.wants("a") == "keys a")
        play.seconds = seconds + 86_400
        #expect(play.wants("a") == "fetch")
        play.failed()
        #expect(play.wants("a").hasPrefix("unavailable"))
        play.seconds += 60
        #expect(play.isDue())
        play.fetched(try await Self.set("a"))
        #expect(play.wants("a") == "keys a")
    }

    @Test func errorsAreRepeatedMoreAndMoreRarely() {
        for (random, factor) in [(1.0, 1.0), (0, 0.5)] {
            let play = Play()
            for delay in [1.0, 2, 4, 8, 16, 32, 60, 60, 60] {
                #expect(play.isDue())
                play.failed(random: random)
                let wait = delay * factor
                #expect(play.wants("a") == "unavailable \(max(wait, 1))")
                play.seconds += wait - 0.01
                #expect(!play.isDue())
                play.seconds += 0.02
            }
        }
    }

    @Test func delaysDoNotOverflow() {
        let play = Play()
        for _ in 0..<200 {
            #expect(play.isDue())
            play.failed()
            play.seconds += 60
        }
    }

    @Test func whoeverNamesAnUnknownKeyMayComeAgainWhileTheSetCannotBeHad() async throws {
        let play = Play()
        #expect(play.wants("a") == "fetch")
        play.fetched(try await Self.set("a"))
        play.seconds = 10
        #expect(play.wants("b") == "fetch")
        play.failed()
        #expect(play.wants("b") == "unavailable 1.0")
        #expect(play.wants("a") == "keys a")
        // Not only when the set is no longer fresh.
        play.seconds = 11
        #expect(play.isDue())
        play.fetched(try await Self.set("a", "b"))
        #expect(play.wants("b") == "keys b")
    }

    // MARK: Sets

    @Test func keysAreFoundByNameAndAlgorithm() async throws {
        let set = try await Self.set("a", "b", nil)
        let names = { (name: String?, algorithm: String) in set.keys(for: algorithm, named: name).map(\.name) }
        #expect(names("a", "ES256") == ["a", nil])
        #expect(names("c", "ES256") == [nil])
        #expect(names(nil, "ES256") == ["a", "b", nil])
        for algorithm in ["RS256", "EdDSA", "HS256", "none", "es256"] { #expect(names("a", algorithm) == []) }
        // Names are bytes: these are equal as Swift's texts.
        let composed = try await Self.set("\u{e9}")
        #expect(composed.keys(for: "ES256", named: "e\u{301}").isEmpty)
    }

    @Test func aKeyIsForOneAlgorithm() async throws {
        let keys = TestKeys.one
        let cases: [(String, [String])] = [
            (keys.ecJWK(kid: "a"), ["ES256"]), (keys.ecJWK(kid: "a", #""alg":"ES256""#), ["ES256"]),
            (keys.ecJWK(kid: "a", #""alg":"RS256""#), []), (keys.ecJWK(kid: "a", #""alg":"HS256""#), []),
            (keys.ecJWK(kid: "a", #""alg":"ES384""#), []), (keys.ecJWK(kid: "a", #""alg":7"#), []),
            (keys.ecJWK(kid: "a", #""use":"sig""#), ["ES256"]), (keys.ecJWK(kid: "a", #""use":"enc""#), []),
            (keys.ecJWK(kid: "a", #""key_ops":["verify"]"#), ["ES256"]),
            (keys.ecJWK(kid: "a", #""key_ops":["sign"]"#), []),
            (keys.ecJWK(kid: "a", #""x5c":[],"new":{}"#), ["ES256"]),
            (try keys.rsaJWK(kid: "a"), ["RS256"]), (try keys.rsaJWK(kid: "a", #""alg":"RS256""#), ["RS256"]),
            (try keys.rsaJWK(kid: "a", #""alg":"PS256""#), []), (try keys.rsaJWK(kid: "a", #""alg":"HS256""#), []),
            (keys.edJWK(kid: "a"), ["EdDSA"]), (keys.edJWK(kid: "a", #""alg":"Ed25519""#), ["EdDSA"]),
            // Shared secrets, newer kinds, and what is no key at all.
            (#"{"kty":"oct","k":"c2VjcmV0","alg":"HS256"}"#, []), (#"{"kty":"AKP","alg":"ML-DSA-65","pub":"AA"}"#, []),
            (#"{"kty":"EC","crv":"P-384","x":"AA","y":"AA"}"#, []), ("{}", []), ("7", []), ("null", []),
        ]
        for (jwk, algorithms) in cases {
            let set = try await KeySet(parsing: #"{"keys":[\#(jwk)]}"#.utf8)
            #expect(set.keys.map(\.algorithm) == algorithms, "\(jwk)")
            #expect(set.broken == [], "\(jwk)")
        }
    }

    @Test func keysThatCannotBeReadAreNamed() async throws {
        let weak = #"{"kty":"RSA","kid":"weak","e":"AQAB","n":"\#(String(repeating: "x", count: 171))"}"#
        let off = #"{"kty":"EC","crv":"P-256","kid":"off","x":"AA","y":"AA"}"#
        let set = try await KeySet(parsing: #"{"keys":[\#(weak),\#(TestKeys.one.ecJWK(kid: "a")),\#(off)]}"#.utf8)
        #expect(set.broken == ["weak", "off"])
        #expect(set.keys.map(\.name) == ["a"])
    }

    @Test func setsAreBounded() async throws {
        let names = (0..<65).map { TestKeys.one.ecJWK(kid: "\($0)") }
        let error = await #expect(throws: KeyError.self) {
            try await KeySet(parsing: #"{"keys":[\#(names.joined(separator: ","))]}"#.utf8)
        }
        #expect(error?.message == "holds 65 keys; at most 64 are taken")
    }

    // MARK: Addresses and headers

    @Test(
        arguments: [
            ("https://a.example/.well-known/jwks.json", "https://a.example/.well-known/jwks.json"),
            ("https://a.example:8443/k?apikey=secret#x", "https://a.example:8443/k"),
            ("HTTPS://A.example/k", "HTTPS://A.example/k"), ("http://localhost:9/k", "http://localhost:9/k"),
            ("http://127.0.0.1:9/k", "http://127.0.0.1:9/k"), ("http://127.1.2.3/k", "http://127.1.2.3/k"),
            ("http://[::1]:9/k", "http://[::1]:9/k"),
            ("http://a.example/k", nil), ("http://127.0.0.1.example/k", nil), ("http://127.0.0.256/k", nil),
            ("http://localhost.example/k", nil), ("http://128.0.0.1/k", nil), ("http://0.0.0.0/k", nil),
            ("file:///etc/passwd", nil), ("ftp://a.example/k", nil), ("https:///k", nil), ("a.example/k", nil),
            ("", nil),
            ("https://user:secret@a.example/k", nil), ("https://user@a.example/k", nil),
        ] as [(String, String?)]
    )
    func addresses(text: String, name: String?) {
        #expect((try? KeySetURL(text))?.name == name)
    }

    @Test(
        arguments: [
            ("https://a.example/k", "https://b.example/k", "https://b.example/k"),
            ("https://a.example/k/j", "../l", "https://a.example/l"),
            ("https://a.example/k", "/l", "https://a.example/l"),
            ("https://a.example/k", "http://a.example/k", nil), ("https://a.example/k", "http://localhost/k", nil),
            ("http://localhost/k", "http://127.0.0.1/k", "http://127.0.0.1/k"),
            ("http://localhost/k", "https://a.example/k", "https://a.example/k"),
            ("http://localhost/k", "http://a.example/k", nil), ("https://a.example/k", "file:///etc/passwd", nil),
        ] as [(String, String, String?)]
    )
    func redirects(from: String, location: String, to: String?) throws {
        #expect(try KeySetURL(from).redirected(to: location)?.name == to)
    }

    @Test(
        arguments: [
            ([:], nil), (["Cache-Control": "max-age=300"], 300), (["cache-control": "public, MAX-AGE=300, x"], 300),
            (["Cache-Control": "max-age=\"300\""], 300), (["Cache-Control": "max-age=300", "Age": "100"], 200),
            (["Cache-Control": "max-age=300", "Age": "999"], 0), (["Cache-Control": "max-age=300", "Age": "x"], 300),
            (["Cache-Control": "no-store"], 0), (["Cache-Control": "max-age=300, no-cache"], 0),
            (["Cache-Control": "max-age=-1"], nil), (["Cache-Control": "max-age=soon"], nil),
            (["Cache-Control": "max-age="], nil), (["Cache-Control": "public"], nil),
            (["Cache-Control": "max-age=99999999999999999999999"], 31_536_000),
        ] as [([String: String], Int?)]
    )
    func freshness(headers: [String: String], seconds: Int?) {
        #expect(CacheControl.age(HTTPHeaders(headers.map { ($0.key, $0.value) })) == seconds.map { .seconds($0) })
    }
}
