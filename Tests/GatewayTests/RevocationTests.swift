import Testing

@testable import Gateway

struct RevocationTests {
    private static func identity(_ user: String, issuedAt: Double? = nil, tokenID: String? = nil) -> Identity {
        Identity(user: user, access: .account, expiresAt: 5000, issuedAt: issuedAt, tokenID: tokenID)
    }

    @Test(arguments: [
        ("alice", 999.0 as Double?, 1500.0, true), ("alice", 1000, 1500, false), ("alice", nil, 1500, true),
        // Over.
        ("alice", 999, 2000, false), ("alice", nil, 2000, false),
        ("alic\u{E9}", 999, 1500, false), ("Alice", nil, 1500, false), ("bob", nil, 1500, false),
    ])
    func users(_ user: String, _ issuedAt: Double?, _ now: Double, _ isRefused: Bool) {
        let revocations = Revocations()
        revocations.revoke(user: "alice", at: 1000, until: 2000)
        // The same to the eye, and another user.
        revocations.revoke(user: "alice\u{301}", at: 1000, until: 2000)
        #expect(revocations.refuses(Self.identity(user, issuedAt: issuedAt), now: now) == isRefused)
    }

    @Test func tokens() {
        let revocations = Revocations()
        let before = revocations.version
        revocations.revoke(tokenID: "t1", at: 1000, until: 2000)
        #expect(revocations.version != before)
        #expect(revocations.refuses(Self.identity("alice", issuedAt: 1500, tokenID: "t1"), now: 1999))
        #expect(!revocations.refuses(Self.identity("alice", issuedAt: 1500, tokenID: "t1"), now: 2000))
        #expect(!revocations.refuses(Self.identity("alice", issuedAt: 500, tokenID: "t2"), now: 1999))
        #expect(!revocations.refuses(Self.identity("t1", issuedAt: 500), now: 1999))
    }

    @Test func theLongestCounts() {
        let revocations = Revocations()
        revocations.revoke(user: "alice", at: 1000, until: 3000)
        revocations.revoke(user: "alice", at: 1100, until: 1200)
        #expect(revocations.refuses(Self.identity("alice", issuedAt: 999), now: 2500))
        #expect(!revocations.refuses(Self.identity("alice", issuedAt: 1050), now: 2500))
        #expect(revocations.refuses(Self.identity("alice", issuedAt: 1050), now: 1150))
    }
}
