import Testing

@testable import Feed

@Suite struct LifecycleTests {
    static let lifecycle = Lifecycle(
        states: ["waiting": .pending, "later": .scheduled, "busy": .running, "done": .succeeded, "lost": .dead],
        attempts: .init(failed: "retries", limit: "limit", counts: .attempts, by: nil),
        nextAttempt: .init(at: ["run_at", "created_at"], delay: "delay", unit: .ms),
        stalled: .init(at: ["lease"], delay: nil, unit: nil)
    )

    static func feed(
        _ lifecycle: Lifecycle? = Self.lifecycle,
        hidden: Set<String> = [],
        secret: Set<String> = [],
        gauges: Set<String> = [],
        further: [String] = []
    ) -> FeedDefinition {
        let times = ["run_at", "created_at", "lease"]
        let columns =
            [("id", "bigint"), ("owner", "text"), ("status", "text"), ("retries", "integer"), ("limit", "numeric")]
            + [("delay", "integer")] + times.map { ($0, "timestamp with time zone") } + further.map { ($0, "text") }
        return FeedDefinition(
            name: "jobs",
            schema: "public",
            table: "job",
            columns: columns.map {
                .init(name: $0, typeName: $1, type: ColumnType(typeName: $1, enumLabels: []))
            },
            key: ["id"],
            status: "status",
            hops: [],
            ownerColumn: "owner",
            ownerTypeName: "text",
            hidden: hidden,
            secret: secret,
            quiet: [],
            gauges: gauges,
            lifecycle: lifecycle,
            orderColumn: nil,
            since: 1,
            revision: "1"
        )
    }

    static func change(_ row: String, before: String, of feed: FeedDefinition) -> Change? {
        let record = LogRecord(
            seq: 1,
            xid: 1,
            operation: .update,
            key: "1",
            hop: 0,
            at: 0,
            row: Row(row),
            before: Row(before)
        )
        return Change.derive(from: [record], owners: OwnerTable(feed: feed), moved: [:], feed: feed).first
    }

    @Test(arguments: [
        (#"{"status":"busy"}"#, "state", #""running""#),
        (#"{"status":"busy"}"#, "class", #""active""#),
        (#"{"status":"later"}"#, "class", #""waiting""#),
        (#"{"status":"lost"}"#, "class", #""terminal""#),
        (#"{"status":"unheard of"}"#, "state", "null"),
        (#"{"status":"unheard of"}"#, "class", "null"),
        (#"{"status":null}"#, "state", "null"),
        // The limit counts attempts, and there is always one.
        (#"{"status":"busy","limit":3}"#, "max_attempts", "3"),
        (#"{"status":"busy","limit":3.0}"#, "max_attempts", "3"),
        (#"{"status":"busy","limit":0}"#, "max_attempts", "1"),
        (#"{"status":"busy","limit":null}"#, "max_attempts", "null"),
        (#"{"status":"busy","limit":"NaN"}"#, "max_attempts", "null"),
        (#"{"status":"busy","retries":1,"limit":3}"#, "will_retry", "true"),
        (#"{"status":"busy","retries":2,"limit":3}"#, "will_retry", "false"),
        (#"{"status":"waiting","retries":0,"limit":1}"#, "will_retry", "false"),
        (#"{"status":"done","retries":0,"limit":3}"#, "will_retry", "false"),
        (#"{"status":"unheard of","retries":0,"limit":3}"#, "will_retry", "null"),
        (#"{"status":"busy","retries":null,"limit":3}"#, "will_retry", "null"),
        // The first time that is there, and so much later, in UTC and as Postgres writes it.
        (
            #"{"status":"waiting","run_at":"2026-11-21T09:00:00.5+00:00","delay":1500}"#, "next_attempt_at",
            #""2026-11-21T09:00:02+00:00""#
        ),
        (
            #"{"status":"later","run_at":null,"created_at":"2026-11-21T23:59:59.999999+02:00","delay":null}"#,
            "next_attempt_at", #""2026-11-21T21:59:59.999999+00:00""#
        ),
        (#"{"status":"waiting","run_at":"2026-11-21T09:00:00"}"#, "next_attempt_at", #""2026-11-21T09:00:00+00:00""#),
        (#"{"status":"waiting","run_at":"infinity","delay":5}"#, "next_attempt_at", #""infinity""#),
        (#"{"status":"waiting","run_at":"2026-11-21T09:00:00Z","delay":1e300}"#, "next_attempt_at", "null"),
        (#"{"status":"waiting"}"#, "next_attempt_at", "null"),
        (#"{"status":"busy","run_at":"2026-11-21T09:00:00Z"}"#, "next_attempt_at", "null"),
        (#"{"status":"busy","lease":"2026-11-21T09:00:00Z"}"#, "stalled_at", #""2026-11-21T09:00:00+00:00""#),
        // A lease that was left behind means nothing.
        (#"{"status":"done","lease":"2026-11-21T09:00:00Z"}"#, "stalled_at", "null"),
    ])
    func aColumnFollowsFromTheRow(row: String, column: String, value: String) {
        #expect(Self.feed().completed(Row(row))[column] == JSONText(value))
    }

    @Test func whatLimitsCountRetriesOrNothingAtAll() {
        let retries = Lifecycle(
            states: ["busy": .running],
            attempts: .init(failed: "retries", limit: "limit", counts: .retries, by: nil),
            nextAttempt: nil,
            stalled: nil
        )
        let row = Self.feed(retries).completed(Row(#"{"status":"busy","retries":2,"limit":3}"#))
        #expect(row["max_attempts"] == "4" && row["will_retry"] == "true")
        #expect(row["next_attempt_at"] == nil && row["stalled_at"] == nil)
        let byHand = Lifecycle(
            states: ["busy": .running],
            attempts: .init(failed: "retries", limit: "limit", counts: .retries, by: .hand),
            nextAttempt: nil,
            stalled: nil
        )
        let other = Self.feed(byHand).completed(Row(#"{"status":"busy","retries":0,"limit":3}"#))
        #expect(other["max_attempts"] == "4" && other["will_retry"] == "false")
    }

    @Test(arguments: [
        ("busy", ["busy"]), ("running", ["busy"]), ("waiting", ["waiting"]), ("active", ["busy"]),
        ("terminal", ["done", "lost"]), ("cancelled", []), ("unheard of", nil),
    ])
    func aWordOfAChannelIsAStatusFirst(word: String, statuses: [String]?) {
        #expect(Self.lifecycle.statuses(word) == statuses)
    }

    @Test func aChangeAssignsWhatFollowsFromIt() throws {
        let feed = Self.feed()
        let view = View(feed: feed, viewer: .account(user: "a"), filter: .everything, key: nil, columns: nil)
        let row = #"{"id":1,"owner":"a","status":"busy","retries":1,"limit":3,"lease":"2026-11-21T09:00:00Z"}"#
        let begun = try #require(Self.change(row, before: #"{"status":"waiting","lease":null}"#, of: feed))
        #expect(view.delta(for: begun) == .update(columns: ["status", "lease", "state", "class", "stalled_at"]))
        #expect(begun.before("state") == #""pending""# && begun.after("state") == #""running""#)
        let counted = try #require(Self.change(row, before: #"{"retries":0}"#, of: feed))
        #expect(view.delta(for: counted) == .update(columns: ["retries"]))
    }

    @Test func whoAskedForItAloneIsTold() throws {
        let feed = Self.feed()
        let view = View(feed: feed, viewer: .operator, filter: .everything, key: nil, columns: ["stalled_at"])
        #expect(view.columns == ["id", "status", "stalled_at"])
        let row = #"{"id":1,"status":"busy","lease":"2026-11-21T09:00:00Z"}"#
        let renewed = try #require(Self.change(row, before: #"{"lease":"2026-11-21T08:00:00Z"}"#, of: feed))
        #expect(view.delta(for: renewed) == .update(columns: ["stalled_at"]))
    }

    @Test func aFilterFollowsIt() throws {
        let feed = Self.feed()
        let filter = try FilterParser(feed: feed, visible: ["state", "will_retry"]).parse(
            "state=eq.running&will_retry=is.true"
        )
        #expect(filter.columns == ["status", "retries", "limit"])
        let view = View(feed: feed, viewer: .operator, filter: filter, key: nil, columns: nil)
        let row = #"{"id":1,"status":"busy","retries":2,"limit":3}"#
        let last = try #require(Self.change(row, before: #"{"retries":1}"#, of: feed))
        #expect(view.delta(for: last) == .leave(.filter, columns: ["retries", "will_retry"]))
    }

    @Test func itIsMaskedWithWhatItIsMadeOf() {
        let hidden = Self.feed(hidden: ["limit", "lease"])
        let account = View.visibleColumns(of: hidden, for: .account(user: "a"))
        #expect(Set(account).isDisjoint(with: ["limit", "lease", "max_attempts", "will_retry", "stalled_at"]))
        #expect(account.contains("state") && account.contains("next_attempt_at"))
        #expect(View.visibleColumns(of: hidden, for: .operator).contains("stalled_at"))
        let secret = View.visibleColumns(of: Self.feed(secret: ["lease"]), for: .operator)
        #expect(!secret.contains("lease") && !secret.contains("stalled_at") && secret.contains("will_retry"))
    }

    @Test func itIsAGaugeWithWhatItIsMadeOf() {
        #expect(Self.feed(gauges: ["lease"]).gauges == ["lease", "stalled_at"])
    }

    @Test func theTablesOwnColumnComesFirst() {
        let feed = Self.feed(further: ["state"])
        let row = feed.completed(Row(#"{"status":"busy","state":"Utah"}"#))
        #expect(row["state"] == #""Utah""# && row["class"] == #""active""#)
        #expect(feed.sources(of: "state") == ["state"])
    }

    @Test func aRowOutOfTheTokensScopeIsNobodys() throws {
        let feed = Self.feed()
        let scope = View.Scope(columns: ["status": ["busy", "done"]])
        let view = View(
            feed: feed,
            viewer: .account(user: "a", scope: scope),
            filter: .everything,
            key: nil,
            columns: nil
        )
        func delta(_ status: String, before: String) throws -> View.Delta? {
            let change = Self.change(
                #"{"id":1,"owner":"a","status":"\#(status)"}"#,
                before: #"{"status":"\#(before)"}"#,
                of: feed
            )
            return view.delta(for: try #require(change))
        }
        #expect(try delta("busy", before: "waiting") == .enter(.permission))
        #expect(try delta("waiting", before: "busy") == .leave(.permission, columns: []))
        #expect(try delta("waiting", before: "later") == nil)
        #expect(try delta("done", before: "busy") != nil)
    }
}
