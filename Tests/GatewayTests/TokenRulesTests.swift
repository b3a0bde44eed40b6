import Foundation
import JobFeedProtocol
import Testing

@testable import Gateway

/// Which claims make an identity, and which do not.
@Suite struct TokenRulesTests {
    private static func identity(_ claims: String, _ set: (inout TokenRules) -> Void = { _ in }) throws -> Identity {
        var rules = TokenRules()
        set(&rules)
        return try rules.identity(of: TokenClaims(JSONValue(parsing: claims)), now: TokenMaker.now)
    }

    private static let now = Int(TokenMaker.now)

    @Test(
        arguments: [
            ("exp", nil, "the token has no exp claim"), ("exp", "null", "the token has no exp claim"),
            ("exp", "\"soon\"", "the token has no exp claim"), ("exp", "1e999", "the token has no exp claim"),
            ("exp", "\(now)", "the token has expired"), ("exp", "\(now - 1)", "the token has expired"),
            ("exp", "-1", "the token has expired"), ("nbf", "\(now + 6)", "the token is not valid yet"),
            ("sub", nil, "the token has no sub claim"), ("sub", "\"\"", "the token has no sub claim"),
            ("sub", "7", "the token has no sub claim"), ("sub", "[\"alice\"]", "the token has no sub claim"),
            ("sub", #""a\u0000b""#, "the token has no sub claim"),
            ("access", nil, "the token's access claim gives no access here; accepted are account, operator"),
            ("access", "\"admin\"", "the token's access claim gives no access here"),
            ("access", "\"Operator\"", "the token's access claim gives no access here"),
            ("access", "[]", "the token's access claim gives no access here"),
            ("access", "{\"operator\":true}", "the token's access claim gives no access here"),
            ("access", "true", "the token's access claim gives no access here"),
        ] as [(String, String?, String)]
    )
    func claimsThatAreRefused(name: String, json: String?, message: String) {
        let error = #expect(throws: AuthenticationError.self) { try Self.identity(TokenMaker.claims([name: json])) }
        #expect(error?.message.hasPrefix(message) == true, "\(error?.message ?? "")")
    }

    @Test(arguments: [
        ("exp", "\(now + 1)"), ("exp", "\(now).5"), ("nbf", "\(now + 5)"), ("nbf", "\(now - 5)"), ("nbf", "\"never\""),
        ("iat", "\(now + 999)"), ("extra", "{\"a\":[1,2,null]}"), ("iss", "\"anybody\""), ("aud", "\"anything\""),
    ])
    func claimsThatAreAccepted(name: String, json: String) throws {
        #expect(try Self.identity(TokenMaker.claims([name: json])).user == "alice")
    }

    @Test(arguments: [
        ("\"account\"", Identity.Access.account), ("\"operator\"", .operator), ("[\"account\"]", .account),
        ("[\"x\",\"operator\",1]", .operator), ("[\"account\",\"operator\"]", .operator),
        ("[null,\"account\"]", .account),
    ])
    func accessMayBeAList(json: String, access: Identity.Access) throws {
        #expect(try Self.identity(TokenMaker.claims(["access": json])).access == access)
    }

    @Test(
        arguments: [
            (#""us""#, true), (#""them""#, false), (#"["them","us"]"#, true), (#"["them"]"#, false), ("[]", false),
            (nil, false),
            ("1", false), (#"{"us":1}"#, false), (#""US""#, false),
        ] as [(String?, Bool)]
    )
    func audiences(json: String?, isAccepted: Bool) {
        let identity = try? Self.identity(TokenMaker.claims(["aud": json])) { $0.audience = "us" }
        #expect((identity != nil) == isAccepted)
    }

    @Test(
        arguments: [
            (#""us""#, true), (#""them""#, false), (#"["us"]"#, false), (nil, false), (#""us ""#, false),
        ] as [(String?, Bool)]
    )
    func issuers(json: String?, isAccepted: Bool) {
        let identity = try? Self.identity(TokenMaker.claims(["iss": json])) { $0.issuer = "us" }
        #expect((identity != nil) == isAccepted)
    }

    @Test(arguments: [
        ("app.role", #"{"app":{"role":"admin"}}"#), ("app.roles", #"{"app":{"roles":["x","admin"]}}"#),
        ("https://example.com/role", #"{"https://example.com/role":"admin"}"#),
        ("a.b.c.d", #"{"a":{"b":{"c":{"d":"admin"}}}}"#), ("a.b", #"{"a.b":"admin","a":{"b":"nobody"}}"#),
    ])
    func claimsAreFoundByPath(path: String, extra: String) throws {
        let claims = TokenMaker.claims(["access": nil]).dropLast() + "," + extra.dropFirst()
        let identity = try Self.identity(String(claims)) { rules in
            rules.accessClaim = path
            rules.operatorValues = ["admin"]
        }
        #expect(identity.access == .operator)
    }

    @Test(arguments: ["app", "app.role.x", "app.", ".app", "role", "", "."])
    func pathsThatLeadNowhere(path: String) {
        let claims = TokenMaker.claims(["access": nil, "app": #"{"role":"operator"}"#])
        #expect(throws: AuthenticationError.self) { try Self.identity(claims) { $0.accessClaim = path } }
    }

    @Test(arguments: [
        (1_800_003_600.0, "2027-01-15T09:00:00Z"), (0, "1970-01-01T00:00:00Z"), (-1, "1970-01-01T00:00:00Z"),
        (1.999, "1970-01-01T00:00:01Z"), (253_402_300_799, "9999-12-31T23:59:59Z"),
        (253_402_300_800, "9999-12-31T23:59:59Z"),
        (1e300, "9999-12-31T23:59:59Z"),
    ])
    func expiryIsATimeThatClientsCanRead(expiresAt: Double, text: String) {
        #expect(Identity(user: "alice", access: .account, expiresAt: expiresAt).expiresAtText == text)
    }
}
