import Feed
import Testing

/// Every way a change can meet a view.
@Suite struct ViewTests {
    static let feed = FeedDefinition.jobs

    enum Who: String, CaseIterable { case account, anotherAccount, `operator` }

    static func view(_ who: Who, _ filter: String? = nil, key: ByteText? = nil, columns: [String]? = nil) throws -> View
    {
        let viewer: View.Viewer =
            switch who {
            case .account: .account(user: "alice")
            case .anotherAccount: .account(user: "mallory")
            case .operator: .operator
            }
        let visible = Set(View.visibleColumns(of: Self.feed, for: viewer))
        let parsed = try filter.map { try FilterParser(feed: Self.feed, visible: visible).parse($0) } ?? .everything
        return View(feed: Self.feed, viewer: viewer, filter: parsed, key: key, columns: columns)
    }

    /// What one record between owners means, without a span around it.
    static func change(
        _ operation: LogRecord.Operation,
        _ row: String,
        before: String? = nil,
        from ownerBefore: ByteText?,
        to ownerAfter: ByteText?
    ) throws -> Change {
        let record = LogRecord(
            seq: 1,
            xid: 100,
            operation: operation,
            key: "1",
            hop: 0,
            at: 5,
            row: Row(row),
            before: before.map { Row($0) }
        )
        var owners = OwnerTable(feed: Self.feed)
        for (key, owner) in [("11", "alice"), ("12", "bob")] as [(ByteText, ByteText)] {
            owners.learn(hop: 0, key: key, next: nil)
            owners.learn(hop: 0, key: key, next: owner)
        }
        let change = try #require(
            Change.derive(from: [record], owners: owners, moved: [:], feed: Self.feed).first
        )
        #expect(change.ownerBefore == ownerBefore && change.ownerAfter == ownerAfter)
        return change
    }

    struct Cell: CustomTestStringConvertible, Sendable {
        let name: String
        let operation: LogRecord.Operation
        let row: String
        var before: String? = nil
        var from: ByteText? = nil
        var to: ByteText? = nil
        /// For alice, for mallory, for operators; all with the filter `status=in.(pending,processing)`.
        let account: View.Delta?
        let `operator`: View.Delta?

        var testDescription: String { self.name }
    }

    static let cells: [Cell] = [
        // insert
        Cell(
            name: "insert, mine, matching",
            operation: .insert,
            row: row(11, "pending"),
            to: "alice",
            account: .enter(.created),
            operator: .enter(.created)
        ),
        Cell(
            name: "insert, mine, not matching",
            operation: .insert,
            row: row(11, "failed"),
            to: "alice",
            account: nil,
            operator: nil
        ),
        Cell(
            name: "insert, another's, matching",
            operation: .insert,
            row: row(12, "pending"),
            to: "bob",
            account: nil,
            operator: .enter(.created)
        ),
        Cell(
            name: "insert, nobody's",
            operation: .insert,
            row: row(nil, "pending"),
            account: nil,
            operator: .enter(.created)
        ),
        Cell(
            name: "insert, dangling link",
            operation: .insert,
            row: row(99, "pending"),
            account: nil,
            operator: .enter(.created)
        ),
        // update, within and across the filter
        Cell(
            name: "update, mine, stays",
            operation: .update,
            row: row(11, "processing"),
            before: #"{"status":"pending"}"#,
            from: "alice",
            to: "alice",
            account: .update(columns: ["status"]),
            operator: .update(columns: ["status"])
        ),
        Cell(
            name: "update, mine, leaves the filter",
            operation: .update,
            row: row(11, "success"),
            before: #"{"status":"pending","progress":1}"#,
            from: "alice",
            to: "alice",
            account: .leave(.filter, columns: ["status", "progress"]),
            operator: .leave(.filter, columns: ["status", "progress"])
        ),
        Cell(
            name: "update, mine, enters the filter",
            operation: .update,
            row: row(11, "pending"),
            before: #"{"status":"failed"}"#,
            from: "alice",
            to: "alice",
            account: .enter(.filter),
            operator: .enter(.filter)
        ),
        Cell(
            name: "update, mine, outside the filter",
            operation: .update,
            row: row(11, "failed"),
            before: #"{"status":"success"}"#,
            from: "alice",
            to: "alice",
            account: nil,
            operator: nil
        ),
        Cell(
            name: "update, another's",
            operation: .update,
            row: row(12, "processing"),
            before: #"{"status":"pending"}"#,
            from: "bob",
            to: "bob",
            account: nil,
            operator: .update(columns: ["status"])
        ),
        Cell(
            name: "update, nobody's",
            operation: .update,
            row: row(nil, "processing"),
            before: #"{"status":"pending"}"#,
            account: nil,
            operator: .update(columns: ["status"])
        ),
        // delete
        Cell(
            name: "delete, mine, matching",
            operation: .delete,
            row: row(11, "pending"),
            from: "alice",
            account: .leave(.deleted, columns: []),
            operator: .leave(.deleted, columns: [])
        ),
        Cell(
            name: "delete, mine, not matching",
            operation: .delete,
            row: row(11, "failed"),
            from: "alice",
            account: nil,
            operator: nil
        ),
        Cell(
            name: "delete, another's",
            operation: .delete,
            row: row(12, "pending"),
            from: "bob",
            account: nil,
            operator: .leave(.deleted, columns: [])
        ),
        // re-link
        Cell(
            name: "re-link to me",
            operation: .update,
            row: row(11, "pending"),
            before: #"{"assigned_to":12}"#,
            from: "bob",
            to: "alice",
            account: .enter(.permission),
            operator: .update(columns: ["assigned_to"])
        ),
        Cell(
            name: "re-link to me, not matching",
            operation: .update,
            row: row(11, "failed"),
            before: #"{"assigned_to":12}"#,
            from: "bob",
            to: "alice",
            account: nil,
            operator: nil
        ),
        Cell(
            name: "re-link to me, matching at last",
            operation: .update,
            row: row(11, "pending"),
            before: #"{"assigned_to":12,"status":"failed"}"#,
            from: "bob",
            to: "alice",
            account: .enter(.permission),
            operator: .enter(.filter)
        ),
        Cell(
            name: "re-link away",
            operation: .update,
            row: row(12, "pending"),
            before: #"{"assigned_to":11,"progress":1}"#,
            from: "alice",
            to: "bob",
            account: .leave(.permission, columns: []),
            operator: .update(columns: ["assigned_to", "progress"])
        ),
        Cell(
            name: "re-link away, out of the filter",
            operation: .update,
            row: row(12, "failed"),
            before: #"{"assigned_to":11,"status":"pending"}"#,
            from: "alice",
            to: "bob",
            account: .leave(.permission, columns: []),
            operator: .leave(.filter, columns: ["assigned_to", "status"])
        ),
        Cell(
            name: "re-link away, never matching",
            operation: .update,
            row: row(12, "failed"),
            before: #"{"assigned_to":11}"#,
            from: "alice",
            to: "bob",
            account: nil,
            operator: nil
        ),
        Cell(
            name: "unlink",
            operation: .update,
            row: row(nil, "pending"),
            before: #"{"assigned_to":11}"#,
            from: "alice",
            account: .leave(.permission, columns: []),
            operator: .update(columns: ["assigned_to"])
        ),
        // what nobody may notice
        Cell(
            name: "update, hidden only",
            operation: .update,
            row: row(11, "pending"),
            before: #"{"errors":["boom"]}"#,
            from: "alice",
            to: "alice",
            account: nil,
            operator: .update(columns: ["errors"])
        ),
        Cell(
            name: "update, hidden and quiet",
            operation: .update,
            row: row(11, "pending"),
            before: #"{"errors":["boom"],"updated_at":"2026-01-01"}"#,
            from: "alice",
            to: "alice",
            account: nil,
            operator: .update(columns: ["errors", "updated_at"])
        ),
        Cell(
            name: "update, quiet only",
            operation: .update,
            row: row(11, "pending"),
            before: #"{"updated_at":"2026-01-01"}"#,
            from: "alice",
            to: "alice",
            account: nil,
            operator: nil
        ),
        Cell(
            name: "update, quiet beside another",
            operation: .update,
            row: row(11, "pending"),
            before: #"{"updated_at":"2026-01-01","retries":1,"errors":null}"#,
            from: "alice",
            to: "alice",
            account: .update(columns: ["retries", "updated_at"]),
            operator: .update(columns: ["retries", "errors", "updated_at"])
        ),
    ]

    static func row(_ link: Int?, _ status: String) -> String {
        #"{"id":1,"assigned_to":\#(link.map(String.init) ?? "null"),"status":"\#(status)","path":"./a","progress":2,"#
            + #""retries":0,"urgent":null,"token":null,"area":null,"errors":["secret"],"created_at":null,"updated_at":null}"#
    }

    @Test(arguments: cells)
    func oneChangeMeansOneThing(cell: Cell) throws {
        let change = try Self.change(cell.operation, cell.row, before: cell.before, from: cell.from, to: cell.to)
        let filter = "status=in.(pending,processing)"
        #expect(try Self.view(.account, filter).delta(for: change) == cell.account)
        #expect(try Self.view(.operator, filter).delta(for: change) == cell.operator)
        #expect(try Self.view(.anotherAccount, filter).delta(for: change) == nil)
    }

    @Test(arguments: cells)
    func hiddenColumnsNeverAppear(cell: Cell) throws {
        let change = try Self.change(cell.operation, cell.row, before: cell.before, from: cell.from, to: cell.to)
        for columns in [nil, ["progress"], ["progress", "errors"]] as [[String]?] {
            let view = try Self.view(.account, columns: columns)
            #expect(!view.columns.contains("errors"))
            switch view.delta(for: change) {
            case .update(let columns), .leave(_, let columns): #expect(!columns.contains("errors"))
            case .enter, nil: break
            }
        }
    }

    @Test(arguments: cells)
    func aKeyChannelHearsOfItsKeyOnly(cell: Cell) throws {
        let change = try Self.change(cell.operation, cell.row, before: cell.before, from: cell.from, to: cell.to)
        for who in Who.allCases {
            #expect(try Self.view(who, key: "2").delta(for: change) == nil)
            #expect(try Self.view(who, key: "1").delta(for: change) == Self.view(who).delta(for: change))
        }
    }

    @Test(arguments: [
        (["progress"], ["id", "status", "progress"]), ([], ["id", "status"]),
        (["status", "path", "id", "path"], ["id", "status", "path"]),
    ])
    func columnsComeInTheTablesOrderWithKeyAndStatus(asked: [String], sent: [String]) throws {
        #expect(try Self.view(.account, columns: asked).columns == sent)
    }

    @Test func columnsNotAskedForAreNotNoticed() throws {
        let change = try Self.change(
            .update,
            Self.row(11, "pending"),
            before: #"{"progress":1,"retries":3}"#,
            from: "alice",
            to: "alice"
        )
        #expect(try Self.view(.account, columns: ["path"]).delta(for: change) == nil)
        #expect(try Self.view(.account, columns: ["retries"]).delta(for: change) == .update(columns: ["retries"]))
        #expect(
            try Self.view(.account, "retries=gt.0", columns: ["path"]).delta(for: change)
                == .leave(.filter, columns: [])
        )
    }

    @Test func columnsThatTheLogLeftOutAreNoNews() throws {
        let change = try Self.change(
            .update,
            #"{"id":1,"assigned_to":11,"status":"pending"}"#,
            before: #"{"status":"failed","progress":1}"#,
            from: "alice",
            to: "alice"
        )
        #expect(try Self.view(.account).delta(for: change) == .update(columns: ["status"]))
    }

    @Test func withoutAnOwnerColumnAccountsSeeNothing() throws {
        let operatorsOnly = FeedDefinition(
            name: "jobs",
            schema: "public",
            table: "job",
            columns: Self.feed.columns,
            key: ["id"],
            status: "status",
            hops: [],
            ownerColumn: nil,
            ownerTypeName: nil,
            hidden: [],
            quiet: [],
            gauges: [],
            orderColumn: nil,
            since: 1,
            revision: "1"
        )
        let record = LogRecord(
            seq: 1,
            xid: 1,
            operation: .insert,
            key: "1",
            hop: 0,
            at: 0,
            row: Row(Self.row(11, "pending")),
            before: nil
        )
        let change = try #require(
            Change.derive(from: [record], owners: OwnerTable(feed: operatorsOnly), moved: [:], feed: operatorsOnly)
                .first
        )
        for (viewer, delta) in [
            (View.Viewer.account(user: "alice"), nil), (.account(user: ""), nil), (.operator, .enter(.created)),
        ] as [(View.Viewer, View.Delta?)] {
            let view = View(feed: operatorsOnly, viewer: viewer, filter: .everything, key: nil, columns: nil)
            #expect(view.delta(for: change) == delta)
        }
    }
}
