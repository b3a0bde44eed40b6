import Feed
import Testing

/// Every operator on every type: what passes, what does not, and what is unknown because of a null.
@Suite struct FilterTests {
    enum Outcome { case yes, no, unknown }

    static func matches(_ filter: String, _ row: Row) throws -> Bool {
        let feed = FeedDefinition.jobs
        return try FilterParser(feed: feed, visible: Set(feed.columns.map(\.name))).parse(filter).matches { row[$0] }
    }

    private static let row = Row(
        #"{"id": 7, "status": "processing", "path": "./send mail", "progress": {"percent": 40, "step": "b", "ok": true, "#
            + #""big": 9007199254740993, "none": null, "list": [1, 2]}, "retries": 2, "urgent": true, "#
            + #""token": "0b0e8a9e-6f0c-4f55-a2f6-0d9f3c1f7a11", "area": "[1,5)", "errors": null, "#
            + #""created_at": "2026-11-21T09:00:00.5+00:00", "updated_at": null}"#
    )

    @Test(
        arguments: [
            // text
            ("path=eq../send mail", .yes), ("path=eq../send", .no), ("path=neq../send", .yes),
            ("path=neq../send mail", .no),
            ("path=gt../a", .yes), ("path=gt../send mail", .no), ("path=gte../send mail", .yes), ("path=lt../t", .yes),
            ("path=lt../Z", .no), ("path=lte../send mail", .yes), ("path=in.(a,./send mail)", .yes),
            ("path=in.(a,b)", .no),
            ("path=like../send*", .yes), ("path=like../SEND*", .no), ("path=ilike../SEND%", .yes),
            ("path=like.send", .no),
            ("path=is.null", .no), ("path=eq.", .no), ("path=eq../send=mail", .no),
            // numbers
            ("retries=eq.2", .yes), ("retries=eq.2.0", .yes), ("retries=eq.20e-1", .yes), ("retries=eq.3", .no),
            ("retries=neq.3", .yes), ("retries=gt.1", .yes), ("retries=gt.2", .no), ("retries=gt.-10", .yes),
            ("retries=gte.2", .yes), ("retries=lt.10", .yes), ("retries=lt.2", .no), ("retries=lte.2", .yes),
            ("retries=in.(1,2.00)", .yes), ("retries=in.(1,3)", .no), ("id=lt.10", .yes),
            // enums: in the order of their labels
            ("status=eq.processing", .yes), ("status=neq.processing", .no), ("status=gt.pending", .yes),
            ("status=lt.success", .yes), ("status=lt.pending", .no), ("status=gte.processing", .yes),
            ("status=lte.failed", .yes), ("status=in.(pending,processing)", .yes), ("status=in.(failed)", .no),
            // booleans
            ("urgent=eq.true", .yes), ("urgent=eq.f", .no), ("urgent=neq.false", .yes), ("urgent=gt.false", .yes),
            ("urgent=is.true", .yes), ("urgent=is.false", .no), ("urgent=is.unknown", .no), ("urgent=is.TRUE", .yes),
            // uuids, in any spelling
            ("token=eq.0B0E8A9E6F0C4F55A2F60D9F3C1F7A11", .yes),
            ("token=eq.{0b0e8a9e-6f0c-4f55-a2f6-0d9f3c1f7a11}", .yes),
            ("token=gt.0a000000-0000-0000-0000-000000000000", .yes),
            ("token=neq.0b0e8a9e-6f0c-4f55-a2f6-0d9f3c1f7a12", .yes),
            // times
            ("created_at=eq.2026-11-21T10:00:00.5+01:00", .yes), ("created_at=gt.2026-11-21", .yes),
            ("created_at=lt.2026-11-21T09:00:00.500001Z", .yes), ("created_at=gte.infinity", .no),
            ("created_at=gt.-infinity", .yes), ("created_at=in.(2026-11-21 09:00:00.5)", .yes),
            // types that are compared by their text
            ("area=eq.[1,5)", .yes), ("area=neq.[1,5)", .no), ("area=in.(\"[1,5)\")", .yes), ("area=is.null", .no),
            // keys of JSON columns
            ("progress->>percent=eq.40", .yes), ("progress->>percent=gt.5", .yes), ("progress->>percent=lt.5", .no),
            ("progress->>percent=in.(40.0)", .yes), ("progress->>big=eq.9007199254740993", .yes),
            ("progress->>big=eq.9007199254740992", .no), ("progress->>step=eq.b", .yes), ("progress->>step=gt.a", .yes),
            ("progress->>step=like.%", .yes), ("progress->>ok=eq.true", .yes), ("progress->>list=eq.[1, 2]", .yes),
            ("progress->>step=in.(a,b)", .yes), ("progress->>percent=eq.forty", .no),
            ("progress->>percent=is.null", .no),
            // null
            ("errors=is.null", .yes), ("errors->>a=eq.1", .unknown),
            ("errors->>a=is.null", .yes), ("progress->>none=is.null", .yes), ("progress->>none=eq.null", .unknown),
            ("progress->>absent=eq.1", .unknown), ("progress->>absent=like.%", .unknown),
            ("progress->>absent=in.(1)", .unknown),
        ] as [(String, Outcome)]
    )
    func passesWhatTheOperatorSays(filter: String, outcome: Outcome) throws {
        #expect(try Self.matches(filter, Self.row) == (outcome == .yes))
        // `not` turns yes into no, and leaves what is unknown unknown.
        let equals = try #require(filter.firstIndex(of: "="))
        let negated = filter[...equals] + "not." + filter[filter.index(after: equals)...]
        #expect(try Self.matches(String(negated), Self.row) == (outcome == .no), "\(negated)")
    }

    private static let operators: [(column: String, tests: [String])] = [
        ("path", ["eq.a", "neq.a", "gt.a", "gte.a", "lt.a", "lte.a", "in.(a)", "like.%", "ilike.%"]),
        ("retries", ["eq.1", "neq.1", "gt.1", "gte.1", "lt.1", "lte.1", "in.(1)"]),
        (
            "status",
            ["eq.failed", "neq.failed", "gt.pending", "gte.pending", "lt.failed", "lte.failed", "in.(pending)"]
        ),
        ("urgent", ["eq.true", "neq.true", "gt.false", "gte.false", "lt.true", "lte.true", "in.(true,false)"]),
        ("token", ["eq.0b0e8a9e6f0c4f55a2f60d9f3c1f7a11", "neq.0b0e8a9e6f0c4f55a2f60d9f3c1f7a11"]),
        ("created_at", ["eq.2026-01-01", "neq.2026-01-01", "gt.2026-01-01", "lte.infinity", "in.(2026-01-01)"]),
        ("area", ["eq.[1,2)", "neq.[1,2)", "in.(x)"]),
        ("progress->>a", ["eq.1", "neq.1", "gt.1", "lt.1", "in.(1)", "like.%", "ilike.%"]),
    ]

    @Test(arguments: operators.flatMap { entry in entry.tests.map { "\(entry.column)=\($0)" } }, ["", "not."])
    func aNullPassesNothingButIsNull(filter: String, not: String) throws {
        let negated = filter.replacing("=", with: "=" + not, maxReplacements: 1)
        for row in [
            "{}",
            #"{"path":null,"retries":null,"status":null,"urgent":null,"token":null,"created_at":null,"area":null,"progress":null}"#,
        ] {
            #expect(try !Self.matches(negated, Row(row)))
        }
    }

    @Test(arguments: ["path", "retries", "status", "urgent", "token", "created_at", "area", "progress", "progress->>a"])
    func isNullKnowsNullAndItsOpposite(column: String) throws {
        let full = Row(
            #"{"path": "", "retries": 0, "status": "pending", "urgent": false, "token": "0b0e8a9e6f0c4f55a2f60d9f3c1f7a11", "#
                + #""created_at": "2026-01-01", "area": "empty", "progress": {"a": ""}}"#
        )
        for (row, isNull) in [(full, false), (Row("{}"), true)] {
            #expect(try Self.matches("\(column)=is.null", row) == isNull)
            #expect(try Self.matches("\(column)=not.is.null", row) == !isNull)
        }
    }

    @Test(arguments: [
        ("true", [true, false, false]), ("false", [false, true, false]), ("unknown", [false, false, true]),
        ("null", [false, false, true]),
    ])
    func isIsNeverUnknown(value: String, outcomes: [Bool]) throws {
        for (json, outcome) in zip(["true", "false", "null"], outcomes) {
            let row = Row(values: ["urgent": JSONText(json)])
            #expect(try Self.matches("urgent=is.\(value)", row) == outcome, "\(json)")
            #expect(try Self.matches("urgent=not.is.\(value)", row) == !outcome, "not \(json)")
        }
    }

    @Test func allConditionsMustHold() throws {
        #expect(try Self.matches("retries=eq.2&status=eq.processing&path=like.*mail", Self.row))
        #expect(try !Self.matches("retries=eq.2&status=eq.failed", Self.row))
        #expect(try !Self.matches("retries=eq.3&status=eq.processing", Self.row))
    }

    @Test func aStatusChannelIsAFilter() {
        let filter = Filter.statuses(["pending", "processing"], of: .jobs)
        #expect(filter.matches { Self.row[$0] })
        #expect(!Filter.statuses(["failed"], of: .jobs).matches { Self.row[$0] })
        #expect(!filter.and(Filter.statuses(["failed"], of: .jobs)).matches { Self.row[$0] })
        #expect(filter.columns == ["status"])
        #expect(Filter.everything.matches { _ in nil })
    }

    @Test func aValueTooLongForARegularExpressionIsUnknown() throws {
        let feed = FeedDefinition.jobs
        let parser = FilterParser(feed: feed, visible: ["path"], grammar: .realtime)
        for (length, outcome) in [(100, [true, false]), (20_000, [false, false])] {
            let row = Row("{\"path\": \"\(String(repeating: "a", count: length))\"}")
            let filters = [try parser.parse("path=match.a"), try parser.parse("path=not.match.a")]
            #expect(filters.map { filter in filter.matches { row[$0] } } == outcome)
        }
    }
}
