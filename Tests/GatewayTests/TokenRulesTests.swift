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
            ("sub", "null", "the token has no sub claim"),
            ("sub", "7", "the token's sub claim is a number, not a string"),
            ("sub", "[\"alice\"]", "the token's sub claim is an array, not a string"),
            ("sub", #""a\u0000b""#, "the token's sub claim holds a zero byte"),
            ("access", nil, "the token's access claim gives no access here; accepted are account, operator"),
            ("access", "\"admin\"", "the token's access claim gives no access here"),
            ("access", "\"Operator\"", "the token's access claim gives no access here"),
            ("access", "[]", "the token's access claim gives no access here"),
            ("access", "{\"operator\":true}", "the token's access claim is an object, not a string or a list"),
            ("access", "true", "the token's access claim is a boolean, not a string or a list"),
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
        let identity = try? Self.identity(TokenMaker.claims(["aud": json])) { $0.audiences = ["us", "we"] }
        #expect((identity != nil) == isAccepted)
    }

    @Test(
        arguments: [
            (#""us""#, true), (#""we""#, true), (#""them""#, false), (#"["us"]"#, false), (nil, false),
            (#""us ""#, false),
        ] as [(String?, Bool)]
    )
    func issuers(json: String?, isAccepted: Bool) {
        let identity = try? Self.identity(TokenMaker.claims(["iss": json])) { $0.issuers = ["us", "we"] }
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

    // MARK: Foreign tokens

    @Test(
        arguments: [
            (nil, .account), ("null", .account), (#""member""#, .account), ("[]", .account), (#""*""#, .account),
            (#"["*","boss"]"#, .operator), (#""boss""#, .operator), ("{}", nil), ("true", nil), ("7", nil),
        ] as [(String?, Identity.Access?)]
    )
    func everybodyElseIsAnAccountIfTheRulesSaySo(role: String?, access: Identity.Access?) {
        let identity = try? Self.identity(TokenMaker.claims(["access": nil, "role": role])) { rules in
            rules.accessClaim = "role"
            rules.accountValues = ["*"]
            rules.operatorValues = ["boss"]
        }
        #expect(identity?.access == access)
    }

    @Test(
        arguments: [
            (nil, "service_role", "service_role"), (#""""#, "service_role", "service_role"),
            ("null", "service_role", "service_role"), (#""alice""#, "service_role", "alice"),
            ("7", "service_role", nil), ("[]", "service_role", nil), (nil, nil, nil),
        ] as [(String?, String?, String?)]
    )
    func operatorsWithoutAName(sub: String?, operatorUser: String?, user: String?) {
        let claims = TokenMaker.claims(["sub": sub, "access": #""operator""#])
        let identity = try? Self.identity(claims) { $0.operatorUser = operatorUser }
        #expect(identity?.user == user)
    }

    @Test(arguments: [nil, #""""#, "null"])
    func accountsNeedAName(sub: String?) {
        #expect(throws: AuthenticationError(message: "the token has no sub claim that names a user")) {
            try Self.identity(TokenMaker.claims(["sub": sub])) { $0.operatorUser = "service_role" }
        }
    }

    @Test(
        arguments: [
            ("type=access", #""access""#, true), ("type=access", #""refresh""#, false), ("type=access", nil, false),
            ("type=access", #"["x","access"]"#, true), ("type=access", #"[["access"]]"#, false),
            ("type=access", #"{"access":true}"#, false), ("type=false", "false", true),
            ("type=false", #""false""#, true),
            ("type=false", "null", false), ("type=2", "2", true), ("type=2", "2.0", false), ("type=", #""""#, true),
            ("type=a=b", #""a=b""#, true), ("type.kind=x", #"{"kind":"x"}"#, true),
        ] as [(String, String?, Bool)]
    )
    func requiredClaims(text: String, json: String?, isAccepted: Bool) throws {
        let claim = try #require(RequiredClaim(text))
        let identity = try? Self.identity(TokenMaker.claims(["type": json])) { $0.required = [claim] }
        #expect((identity != nil) == isAccepted)
    }

    @Test(arguments: ["", "=", "=x", "type"])
    func whatIsNoRequiredClaim(text: String) {
        #expect(RequiredClaim(text) == nil)
    }

    @Test(
        arguments: [
            ("user:alice", "alice"), ("user:r0r71n5hkxu1d2763y9x", "r0r71n5hkxu1d2763y9x"), ("user:7", "7"),
            ("user:⟨a-b⟩", "a-b"), ("user:`a-b`", "a-b"), ("user:`a b:c`", "a b:c"), ("user:⟨ä⟩", "ä"),
            // The text 7 is another record than the number 7; a uuid another one than its text.
            ("user:⟨7⟩", nil), ("user:`7_0`", nil), ("user:u'018f6f3e-6c0e-7c3e-8b7e-1f2d3c4b5a69'", nil),
            ("admin:alice", nil), ("user", nil), ("user:", nil), ("USER:alice", nil), ("user:user:alice", nil),
            ("user:⟨⟩", nil), ("user:``", nil), ("user:`", nil), ("user:⟨a", nil), ("user:a⟩", nil), ("user:⟨a`", nil),
            ("user:`a\\`b`", nil), ("user:⟨a⟩⟨b⟩", nil), ("user:[1]", nil), ("user:{a:1}", nil), ("user:-7", nil),
            ("user:⟨a⟩\u{301}", nil), ("alice", nil), ("⟨user⟩:alice", nil),
        ] as [(String, String?)]
    )
    func recordIDs(id: String, user: String?) {
        #expect(RecordID.key(of: id, in: "user") == user)
        let claims = TokenMaker.claims(["ID": JSONValue.string(id).encoded()])
        let identity = try? Self.identity(claims) { rules in
            rules.userClaim = "ID"
            rules.userTable = "user"
        }
        #expect(identity?.user == user)
    }

    @Test func rulesThatWouldMakeOperatorsAreRefused() async {
        let cases: [(String, (inout TokenRules) -> Void)] = [
            ("jwt-operator-values holds *", { $0.operatorValues = ["boss", "*"] }),
            ("\"operator\" stands in jwt-account-values and in", { $0.accountValues = ["a", "operator"] }),
        ]
        for (message, set) in cases {
            var rules = TokenRules()
            set(&rules)
            var source = KeySource()
            source.secret = TokenMaker.secret
            let (chosen, keys) = (rules, source)
            let error = await #expect(throws: KeyError.self) { try await keys.authenticator(rules: chosen) }
            #expect(error?.message.hasPrefix(message) == true, "\(error?.message ?? "")")
        }
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
