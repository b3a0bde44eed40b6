import Feed
import Testing

@Suite struct SpellingTests {
    private static let columns = ["id", "status", "path", "progress", "retries", "created_at"]

    @Test(arguments: [
        ("stat", "status"), ("staus", "status"), ("STATUS", "status"), ("pth", "path"), ("progres", "progress"),
        ("createdat", "created_at"), ("created-at", "created_at"), ("i", "id"), ("idd", "id"),
    ])
    func findsWhatWasMeant(word: String, meant: String) {
        #expect(Spelling.nearest(to: word, among: Self.columns) == meant)
        #expect(Spelling.suggestion(for: word, among: Self.columns) == "; did you mean \"\(meant)\"?")
    }

    @Test(arguments: ["", "zzz", "password", "owner", "x1y2z3", "💥💥💥"])
    func saysNothingWhenNothingIsNear(word: String) {
        #expect(Spelling.nearest(to: word, among: Self.columns) == nil)
        #expect(Spelling.suggestion(for: word, among: Self.columns).isEmpty)
    }

    @Test func theFirstOfEquallyNearWins() {
        #expect(Spelling.nearest(to: "cat", among: ["bat", "cut"]) == "bat")
        #expect(Spelling.nearest(to: "cat", among: [String]()) == nil)
    }

    @Test func longWordsFromPeersAreCheap() {
        #expect(Spelling.nearest(to: String(repeating: "x", count: 100_000), among: ["y"]) != "status")
    }
}
