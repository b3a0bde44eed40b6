import ArgumentParser
import LibPQ

struct Attach: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a job table a feed; without --preset, look at it and propose how.",
        discussion: """
            Presets know the tables of a job system: which column is what, what its statuses mean, whose a row is and \
            what must not leave. They are sp00ky, fluxbase, spooled and better-query; in SQL: jobfeed.attach_preset. \
            Without one the table is inspected, and a call is proposed that is made only with --apply; in SQL: \
            jobfeed.propose, jobfeed.attach.
            Run it as the role that owns the table and installed jobfeed. Attaching a feed again replaces its definition; \
            jobfeed.detach undoes it.

            Examples:
              jobfeed-server attach --preset sp00ky --table job --table job_agent
              jobfeed-server attach --preset fluxbase --table jobs.queue
              jobfeed-server attach --preset better-query --table jobs --owner user_id
              jobfeed-server attach --table app.tasks                      # inspects, proposes, changes nothing
              jobfeed-server attach --table app.tasks --status phase --apply
            """
    )

    @Option(help: "sp00ky, fluxbase, spooled or better-query.")
    var preset: String?

    @Option(help: "The job table, with its schema unless the search path has it; with --preset it may be repeated.")
    var table: [String]

    @Option(help: "Name of the feed (default: the preset's, or the table's).")
    var feed: String?

    @Option(help: "Path to the owner of a row: foreign keys joined by dots, then the column that names the user.")
    var owner: String?

    @Flag(help: "Rows have no owners: only operators see them.")
    var operatorsOnly = false

    @Option(help: "The claim that the owner is compared with (default: the one that names the user, or the preset's).")
    var ownerClaim: String?

    @Option(help: "Columns that accounts may not see, comma separated.")
    var hidden: String?

    @Option(help: "Columns that nobody may see.")
    var secret: String?

    @Option(help: "Columns whose change alone is not worth a message.")
    var quiet: String?

    @Option(help: "Columns of which only the latest value matters.")
    var gauges: String?

    @Option(help: "The status column; a preset knows it.")
    var status: String?

    @Option(help: "The columns that identify a row (default: the primary key).")
    var key: String?

    @Flag(
        help:
            "With --preset: follow what only a heartbeat changes, so that stalled_at is known where leases are renewed."
    )
    var heartbeats = false

    @Flag(help: "Without --preset: make the call that is proposed.")
    var apply = false

    @Flag(help: "Print the SQL instead of running it.")
    var dryRun = false

    func validate() throws {
        guard !self.table.isEmpty else { throw ValidationError("--table is missing; name the job table") }
        if self.table.count > 1, self.preset == nil || self.feed != nil {
            throw ValidationError("several tables need --preset, and no --feed, because each becomes a feed of its own")
        }
        if self.operatorsOnly, self.owner != nil || self.ownerClaim != nil {
            throw ValidationError("--operators-only and --owner contradict each other")
        }
        if self.preset != nil, self.status != nil || self.key != nil || self.apply {
            throw ValidationError("--status, --key and --apply are for tables without a preset")
        }
        if self.preset == nil, self.heartbeats { throw ValidationError("--heartbeats needs --preset") }
    }

    func run() async throws {
        do throws(PostgresError) {
            let connection = try Connection.open(Settings.database(purpose: "jobfeed/attach"))
            defer { connection.close() }
            var calls: [AttachCall] = []
            for table in self.table {
                let relation = try Self.relation(table, connection)
                calls.append(
                    self.preset == nil ? try self.proposal(relation, connection) : self.presetCall(relation)
                )
            }
            guard !self.dryRun else { return Console.out(calls.map(\.sql).joined(separator: "\n")) }
            guard self.preset != nil || self.apply else { return }
            for call in calls { Console.out(try call.run(connection)) }
        } catch {
            throw Self.failure(error)
        }
    }

    private func presetCall(_ relation: String) -> AttachCall {
        var call = AttachCall(function: "attach_preset", positional: [self.preset ?? "", relation])
        call.named = [
            ("feed", self.feed), ("owner", self.operatorsOnly ? "" : self.owner), ("owner_claim", self.ownerClaim),
        ]
        call.lists = self.lists.map { ($0.name, $0.value.map(AttachCall.columns)) }
        if self.heartbeats { call.named.append(("heartbeats", "true")) }
        return call
    }

    private var lists: [(name: String, value: String?)] {
        [("hidden", self.hidden), ("secret", self.secret), ("quiet", self.quiet), ("gauges", self.gauges)]
    }

    /// What the catalogs suggest, where no option says otherwise; it is explained on the way.
    private func proposal(_ relation: String, _ connection: Connection) throws(PostgresError) -> AttachCall {
        let result = try connection.query("SELECT setting, value, why FROM jobfeed.propose($1::regclass)", [relation])
        var proposed: [String: String] = [:]
        var lines: [String] = []
        for row in 0..<result.rowCount {
            let setting = result.string(row, 0) ?? ""
            let value = result.string(row, 1)
            proposed[setting] = value
            lines.append("  \(setting): \(value ?? "?")  (\(result.string(row, 2) ?? ""))")
        }
        var call: AttachCall
        if let preset = proposed["preset"] {
            call = AttachCall(function: "attach_preset", positional: [preset, relation])
            call.named = [("feed", self.feed), ("owner", self.operatorsOnly ? "" : self.owner)]
        } else {
            call = AttachCall(function: "attach", positional: [self.feed ?? proposed["feed"] ?? "jobs", relation])
            call.named = [
                ("status", self.status ?? proposed["status"]),
                ("owner", self.operatorsOnly ? nil : self.owner ?? proposed["owner"]),
            ]
            call.lists = [("key", self.key.map(AttachCall.columns) ?? proposed["key"])]
        }
        call.named.append(("owner_claim", self.ownerClaim))
        call.lists += self.lists.map { ($0.name, $0.value.map(AttachCall.columns) ?? proposed[$0.name]) }
        if !self.dryRun {
            Console.out(([relation] + lines + ["", call.sql]).joined(separator: "\n"))
            if !self.apply {
                Console.out("\nNothing was changed. To make this call, add --apply; options override it.")
            }
        }
        return call
    }

    /// The table as SQL spells it.
    private static func relation(_ table: String, _ connection: Connection) throws(PostgresError) -> String {
        let found = try connection.query("SELECT to_regclass($1)::text", [table]).string(0, 0)
        if let found { return found }
        let hint = try connection.query(
            """
            SELECT jobfeed.suggestion($1, array(
                SELECT jobfeed.label(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
                WHERE relkind IN ('r', 'p') AND nspname NOT IN ('pg_catalog', 'information_schema', 'jobfeed')
                    AND nspname NOT LIKE 'pg\\_%' ORDER BY 1), 'tables')
            """,
            [table]
        ).string(0, 0)
        throw PostgresError(
            kind: .server,
            sqlState: "42P01",
            message: "there is no table \(table); \(hint ?? "")"
        )
    }

    private static func failure(_ error: PostgresError) -> ExitCode {
        switch (error.kind, error.sqlState) {
        case (.connection, _): Console.fail("the database cannot be reached: \(error)", Exit.unavailable)
        case (_, "42883"), (_, "3F000"):
            Console.fail(
                "jobfeed is not installed in this database, or older than this program; run `jobfeed-server install`",
                Exit.configuration
            )
        default: Console.fail("nothing was attached: \(error)", Exit.configuration)
        }
    }
}
