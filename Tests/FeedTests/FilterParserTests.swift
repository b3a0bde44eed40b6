import Testing

@testable import Feed

@Suite struct FilterParserTests {
    private static let parser = FilterParser(
        feed: .jobs,
        visible: Set(View.visibleColumns(of: .jobs, for: .account(user: "alice")))
    )

    private static let operators = "eq, neq, gt, gte, lt, lte, in, like, ilike, is"

    @Test(arguments: [
        ("", #"the filter has an empty condition; write column=operator.value joined by "&""#),
        ("retries=eq.1&", #"the filter has an empty condition; write column=operator.value joined by "&""#),
        ("retries", #""retries" is no condition; write column=operator.value, e.g. path=eq./send"#),
        ("stat=eq.pending", #"job has no column "stat"; did you mean "status"?"#),
        ("zzzzzz=eq.1", #"job has no column "zzzzzz""#),
        // Hidden: as if it were not there, not even as a suggestion.
        ("errors=is.null", #"job has no column "errors""#),
        ("errors->>a=eq.1", #"job has no column "errors""#),
        ("error=is.null", #"job has no column "error""#),
        (
            "updated_at=is.null",
            #"column "updated_at" is quiet: its changes are not followed, so nothing can be filtered by it"#
        ),
        ("retries=5", #""retries=5" has no operator; write retries=eq.5, operators are \#(operators)"#),
        ("retries=not.5", #""retries=not.5" has no operator; write retries=eq.5, operators are \#(operators)"#),
        (
            "retries=eqq.5",
            #"unknown operator "eqq"; did you mean "eq"? Operators are \#(operators), each after an optional "not.""#
        ),
        (
            "retries=matches.5",
            #"unknown operator "matches". Operators are \#(operators), each after an optional "not.""#
        ),
        (
            "retries=not.not.eq.5",
            #"unknown operator "not"; did you mean "neq"? Operators are \#(operators), each after an optional "not.""#
        ),
        ("retries=eq.two", #""two" is no integer, which column "retries" holds"#),
        ("retries=in.(1,two)", #""two" is no integer, which column "retries" holds"#),
        ("urgent=eq.maybe", #""maybe" is no boolean, which column "urgent" holds"#),
        ("token=eq.123", #""123" is no uuid, which column "token" holds"#),
        ("created_at=gt.yesterday", #""yesterday" is no timestamp with time zone, which column "created_at" holds"#),
        (
            "status=eq.pendin",
            #""pendin" is no value of job_status; did you mean "pending"? Values are pending, processing, success, failed"#
        ),
        (
            "status=eq.zzzzzzzz",
            #""zzzzzzzz" is no value of job_status. Values are pending, processing, success, failed"#
        ),
        ("path=like." + String(repeating: "a*", count: 129), "a pattern of like has at most 256 characters"),
        ("retries=like.1*", #"like needs a text column; "retries" is integer"#),
        ("status=ilike.p*", #"ilike needs a text column; "status" is job_status"#),
        ("retries=is.true", #"is.true needs a boolean column; "retries" is integer"#),
        ("retries=is.unknown", "is.unknown: write is.null, or is.true, is.false, is.unknown for booleans"),
        ("urgent=is.maybe", "is.maybe: write is.null, or is.true, is.false, is.unknown for booleans"),
        ("progress=eq.{}", #"column "progress" is jsonb; compare a key of it: progress->>key=eq.…"#),
        ("progress=in.(1)", #"column "progress" is jsonb; use progress->>key=in.(…)"#),
        ("progress->a=eq.1", #""progress->a=eq.1": only ->> into a JSON column is supported"#),
        ("progress->>=eq.1", #""progress->>=eq.1": write column->>key=operator.value with one key"#),
        ("progress->>a->>b=eq.1", #""progress->>a->>b=eq.1": write column->>key=operator.value with one key"#),
        ("path->>a=eq.1", #"column "path" is text, not json; it has no key "a""#),
        ("area=gt.[1,2)", #"column "area" is int4range, which only eq, neq, in and is can test"#),
        ("retries=in.1,2", "in.1,2: write the values in parentheses, e.g. in.(pending,processing)"),
        ("retries=in.(1", "in.(1: write the values in parentheses, e.g. in.(pending,processing)"),
        ("path=in.(\"a)", "in.(\"a): a quoted value does not end"),
        (#"path=in.("a\")"#, #"in.("a\"): a quoted value does not end"#),
        (#"path=in.("a"b)"#, #"in.("a"b): a quoted value does not end"#),
    ])
    func refusesWithTheWayOut(filter: String, message: String) {
        #expect(throws: FilterError(message: message)) { try Self.parser.parse(filter) }
    }

    @Test func refusesMoreThanItsLimits() throws {
        let most = Array(repeating: "retries=eq.1", count: 32).joined(separator: "&")
        #expect(try Self.parser.parse(most).conditions.count == 32)
        #expect(throws: FilterError(message: "the filter has more than 32 conditions")) {
            try Self.parser.parse(most + "&retries=eq.1")
        }
        let numbers = (1...256).map(String.init).joined(separator: ",")
        #expect(try Self.parser.parse("retries=in.(\(numbers))").conditions.count == 1)
        #expect(throws: FilterError(message: "in.(…) has more than 256 values")) {
            try Self.parser.parse("retries=in.(\(numbers),257)")
        }
    }

    @Test(arguments: [
        ("(a,b)", ["a", "b"]), ("(a)", ["a"]), ("(\"a,b\",c)", ["a,b", "c"]), (#"("a\"b","c\\d")"#, ["a\"b", #"c\d"#]),
        (#"("a&b",c)"#, ["a&b", "c"]), (#"("(a)",b)"#, ["(a)", "b"]), ("(,)", ["", ""]), ("(\"\")", [""]),
        ("(a b, c)", ["a b", " c"]), ("(a=b)", ["a=b"]), ("(é,💥)", ["é", "💥"]),
    ])
    func listsMayQuoteTheirValues(list: String, values: [String]) throws {
        let filter = try Self.parser.parse("path=in.\(list)&retries=eq.1")
        #expect(filter.conditions.count == 2)
        #expect(filter.conditions.first?.test == .isIn(values))
    }

    @Test(arguments: ["a\"b", "(a", "a)", "\"", "a,b", "a=b", "not.a", "eq.a", "\\", "a*", "'; drop table job --"])
    func outsideOfListsAValueIsWhatItIs(value: String) throws {
        let filter = try Self.parser.parse("path=eq.\(value)&retries=eq.1")
        #expect(filter.conditions.map(\.test) == [.compare(.eq, literal: value), .compare(.eq, literal: "1")])
    }

    @Test func knowsItsPartsByName() throws {
        let filter = try Self.parser.parse("progress->>step=not.like.a*&urgent=is.unknown")
        let first = try #require(filter.conditions.first)
        #expect(first.column == "progress" && first.member == "step" && first.isNegated)
        #expect(first.test == .like("a%", ignoringCase: false))
        #expect(filter.conditions.last?.test == .isNull)
        #expect(filter.columns == ["progress", "urgent"])
    }

    @Test(arguments: [
        "created_at=gt.999999-01-01", "retries=eq.1e-9223372036854775808", "retries=in.(1e-9223372036854775808)",
        "progress->>a=eq.1e-9223372036854775808",
    ])
    func numbersBeyondAllRangesDoNoHarm(filter: String) {
        let row = Row(#"{"created_at": "2026-01-01", "retries": 1, "progress": {"a": 1}}"#)
        _ = try? Self.parser.parse(filter).matches { row[$0] }
    }

    @Test(arguments: [1, 2] as [UInt64])
    func neverTraps(seed: UInt64) {
        var random = SplitMix(seed: seed)
        let parts = [
            "path", "status", "retries", "progress->>a", "created_at", "=", "eq", ".", "in", "(", ")", "\"", ",", "&",
            "not.",
            "\\", "is", "null", "like", "*", "->", "1e9", "-", "é\u{301}", "\u{301}", "2026-01-01", "=eq.", "=in.(",
            "\0",
        ]
        let row = Row(#"{"path": "a", "retries": 1, "progress": {"a": 2}, "created_at": "2026-01-01"}"#)
        var understood = 0
        for _ in 0..<8000 {
            let text = (0..<Int.random(in: 1...9, using: &random)).map { _ in parts.randomElement(using: &random) ?? ""
            }
            guard let filter = try? Self.parser.parse(text.joined()) else { continue }
            understood += 1
            _ = filter.matches { row[$0] }
        }
        #expect(understood > 10, "seed \(seed)")
    }

    /// A sign and the accent after it are one `Character`.
    @Test(arguments: ["\u{301}", "\u{FE0F}x"])
    func aValueMayBeginWithAnAccent(_ value: String) throws {
        let filter = try Self.parser.parse("path=eq.\(value)")
        #expect(filter.conditions.map(\.test) == [.compare(.eq, literal: value)])
    }
}
