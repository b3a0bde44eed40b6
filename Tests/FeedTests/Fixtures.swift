import Feed

extension FeedDefinition {
    /// The reference feed: `job.assigned_to` → `thread.id`, `thread.author`; `errors` hidden, `updated_at` quiet.
    static let jobs = FeedDefinition.jobs(hops: 1)

    /// - Parameter hops: 0: the job itself names its owner; 2: a project stands behind the thread.
    static func jobs(hops: Int) -> FeedDefinition {
        let path = [
            Hop(schema: "public", table: "thread", from: ["assigned_to"], to: ["id"], toTypes: ["bigint"]),
            Hop(schema: "public", table: "project", from: ["project"], to: ["id"], toTypes: ["bigint"]),
        ]
        return FeedDefinition(
            name: "jobs",
            schema: "public",
            table: "job",
            columns: Self.jobColumns,
            key: ["id"],
            status: "status",
            hops: Array(path.prefix(hops)),
            ownerColumn: hops == 0 ? "assigned_to" : "author",
            ownerTypeName: "text",
            hidden: ["errors"],
            quiet: ["updated_at"],
            gauges: ["progress"],
            orderColumn: "created_at",
            since: 1,
            revision: "1"
        )
    }

    private static let jobColumns = [
        column("id", "bigint"), column("assigned_to", "bigint"),
        Column(
            name: "status",
            typeName: "job_status",
            type: .enumeration(["pending", "processing", "success", "failed"])
        ),
        column("path", "text"), column("progress", "jsonb"), column("retries", "integer"), column("urgent", "boolean"),
        column("token", "uuid"), column("area", "int4range"), column("errors", "jsonb"),
        column("created_at", "timestamp with time zone"), column("updated_at", "timestamp with time zone"),
    ]

    private static func column(_ name: String, _ typeName: String) -> Column {
        Column(name: name, typeName: typeName, type: ColumnType(typeName: typeName, enumLabels: []))
    }
}

extension JSONText: ExpressibleByStringLiteral {
    public init(stringLiteral value: String) { self.init(value) }
}

extension JSONText {
    /// A link, an owner or a status.
    var byteText: ByteText? { self.scalarText.map { ByteText($0) } }
}

extension Row {
    /// From JSON that the test itself spells right.
    init(_ json: String) {
        self = Row(json: json) ?? Row(values: ["the test's JSON is malformed": "null"])
    }
}

extension Snapshot {
    /// From a text that the test itself spells right.
    static func of(_ text: String) -> Snapshot {
        Snapshot(text: text) ?? Snapshot(xmin: 1, xmax: 1, inProgress: [])!
    }
}
