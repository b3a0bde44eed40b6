import JobFeedClient
import JobFeedProtocol
import Testing

@Suite struct RowStoreTests {
    private static let snapshot = Event.Snapshot(rows: [
        .init(key: "1", columns: ["id": 1, "status": "pending"]),
        .init(key: "2", columns: ["id": 2, "status": "processing"]),
    ])

    private static func filled() -> RowStore {
        var store = RowStore()
        store.apply(.snapshot(Self.snapshot))
        return store
    }

    @Test func enterReplaces() {
        var store = Self.filled()
        store.apply(.enter(key: "1", reason: nil, row: ["id": 1]))
        #expect(store["1"] == ["id": 1])
    }

    @Test func updateAssigns() {
        var store = Self.filled()
        let before = store.apply(.update(key: "1", set: ["status": "processing", "error": .null]))
        #expect(before == ["id": 1, "status": "pending"])
        #expect(store["1"] == ["id": 1, "status": "processing", "error": .null])
    }

    @Test func updateOfAnUnknownKeyIsIgnored() {
        var store = Self.filled()
        #expect(store.apply(.update(key: "9", set: ["status": "x"])) == nil)
        #expect(store == Self.filled())
    }

    @Test func leaveRemoves() {
        var store = Self.filled()
        store.apply(.leave(key: "1", reason: "deleted", set: nil))
        #expect(store["1"] == nil)
        #expect(store.count == 1)
    }

    @Test func connectionEventsKeepTheRows() {
        var store = Self.filled()
        for event in [
            Event.connecting(attempt: 1), .live, .reconnecting(after: .zero, reason: ""), .counts([:], cursor: nil),
        ] {
            store.apply(event)
        }
        #expect(store == Self.filled())
    }

    @Test func differenceLeadsToTheSnapshot() {
        let next = Event.Snapshot(rows: [
            .init(key: "2", columns: ["id": 2, "status": "success"]), .init(key: "3", columns: ["id": 3]),
        ])
        var store = Self.filled()
        let changes = store.difference(to: next)
        #expect(
            changes == [
                .update(key: "2", set: ["status": "success"]),
                .enter(key: "3", reason: "snapshot", row: ["id": 3]),
                .leave(key: "1", reason: "snapshot", set: nil),
            ]
        )
        for change in changes {
            store.apply(change)
        }
        #expect(store.difference(to: next).isEmpty)
    }

    @Test func aTruncatedSnapshotLetsNobodyLeave() {
        #expect(Self.filled().difference(to: Event.Snapshot(rows: [], truncated: true)).isEmpty)
    }
}
