import Feed
import LibPQ

/// Reads what ``WhyEvidence`` needs, in one transaction that writes nothing.
struct WhyReader {
    /// The newest so many records of the job, and of each table of its owner path.
    static let maximumRecords = 5000

    struct Read {
        var evidence: WhyEvidence
        let now: Int64
        let attachedAt: Int64
        /// When the oldest change was written that the log still has.
        let oldestAt: Int64?
        /// Sees all that was ever dropped from the log; `nil` when nothing was.
        let horizon: Snapshot?
        /// The reason for which a resume from the cursor asked about is not recovered.
        let obstacle: String?
        /// The job has more records than were read.
        let isCut: Bool
        /// Columns that hold JSON's null, which SQL does not take for NULL.
        let jsonNulls: [String]
        /// Whether the viewer owns any row.
        let ownsAnything: Bool
        /// Owners that are spelled nearly like the viewer.
        let similarOwners: [String]
    }

    let connection: Connection
    let view: View
    let key: ByteText
    /// Of a resume that is asked about, too.
    let resume: Cursor?
    let asText: Bool

    private var feed: FeedDefinition { self.view.feed }

    static func begin(_ connection: Connection) throws {
        let opening = [LogReader.begin] + connection.settings.transactionSettings
        let rest = ["SET LOCAL search_path = pg_catalog", LogReader.lockLog]
        try connection.execute((opening + rest).joined(separator: "; "))
    }

    /// Inside the transaction that ``begin(_:)`` opened.
    func read() throws -> Read {
        try TableRewrite.hold(OwnerPath.tables(of: self.feed, upTo: self.feed.hops.count), self.connection)
        let head = try self.connection.query(
            """
            SELECT pg_current_snapshot()::text, jobfeed.epoch(), (SELECT snapshot::text FROM jobfeed.horizon),
                   (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
                   (SELECT (extract(epoch FROM attached_at) * 1000000)::bigint FROM jobfeed.feed WHERE name = $1),
                   (SELECT (extract(epoch FROM at) * 1000000)::bigint FROM jobfeed.change ORDER BY xid LIMIT 1)
            """,
            [self.feed.name]
        )
        guard let snapshot = head.string(0, 0).flatMap({ Snapshot(text: $0) }), let epoch = head.string(0, 1) else {
            throw PostgresError(kind: .server, message: "the database returned no snapshot")
        }
        let now = Cursor(epoch: Cursor.fingerprint(ofEpoch: epoch), snapshot: snapshot)
        let horizon = head.string(0, 2).flatMap { Snapshot(text: $0) }
        let found = try self.evidence()
        let ownsAnything = try self.ownsAnything()
        return Read(
            evidence: found.evidence,
            now: head.int64(0, 3) ?? 0,
            attachedAt: head.int64(0, 4) ?? 0,
            oldestAt: head.int64(0, 5),
            horizon: horizon,
            obstacle: try self.obstacle(now: now, horizon: horizon),
            isCut: found.isCut,
            jsonNulls: found.evidence.row == nil ? [] : try self.jsonNulls(),
            ownsAnything: ownsAnything,
            similarOwners: ownsAnything ? [] : try self.similarOwners()
        )
    }

    /// - Returns: `isCut` when the job has more records than were read.
    func evidence() throws -> (evidence: WhyEvidence, isCut: Bool) {
        let row = try self.row(key: self.key)
        var own = try self.records("(key = $2 AND op IN ('I', 'U', 'D') OR op = 'T')", [self.key.string])
        var (path, owners) = try self.ownerPath(own, row)
        let cuts = [own, path.max { $0.count < $1.count } ?? []].filter { $0.count > Self.maximumRecords }
        if let floor = cuts.compactMap({ $0.first?.seq }).max() {
            // A transaction that is not known from its first record on is not known.
            let broken = Set(cuts.compactMap { $0.first?.xid })
            let isKnown = { (record: LogRecord) in record.seq > floor && !broken.contains(record.xid) }
            own = own.filter(isKnown)
            path = path.map { $0.filter(isKnown) }
        }
        let assembler = BatchAssembler(
            connection: self.connection,
            feed: self.feed,
            filterColumns: self.view.filter.columns,
            asText: self.asText
        )
        var records = (own + path.joined()).sorted { $0.seq < $1.seq }
        try assembler.fillLargeColumns(&records)
        let evidence = WhyEvidence(
            feed: self.feed,
            key: self.key,
            records: records,
            committedAt: try self.commitTimes(of: records),
            owners: owners.withoutStarts,
            row: row
        )
        return (evidence, !cuts.isEmpty)
    }

    /// As ``SnapshotLoader`` decides it.
    private func obstacle(now: Cursor, horizon: Snapshot?) throws -> String? {
        guard let resume else { return nil }
        if let reason = resume.obstacle(now: now, horizon: horizon, feed: self.feed) { return reason }
        let missed = try self.connection.query(
            """
            SELECT count(*) FROM (
                SELECT FROM jobfeed.change WHERE feed = $1 AND NOT pg_visible_in_snapshot(xid, $2::pg_snapshot)
                LIMIT \(LogReader.maximumReplay + 1)) AS missed
            """,
            [self.feed.name, resume.snapshot.text]
        )
        return (missed.int64(0, 0) ?? 0) > LogReader.maximumReplay ? "retention" : nil
    }

    // MARK: The log

    /// The newest of one feed that satisfy `condition` (parameters from `$2` on), in `seq` order.
    private func records(_ condition: String, _ parameters: [String]) throws -> [LogRecord] {
        let sql = """
            SELECT c.seq, c.xid, c.op, c.key, c.hop, (extract(epoch FROM c.at) * 1000000)::bigint, c.row, c.before
            FROM (SELECT * FROM jobfeed.change WHERE feed = $1 AND \(condition)
                  ORDER BY seq DESC LIMIT \(Self.maximumRecords + 1)) AS c
            ORDER BY c.seq
            """
        let result = try self.connection.query(sql, [self.feed.name] + parameters)
        return (0..<result.rowCount).compactMap { row in
            guard let operation = result.bytes(row, 2)?.first.flatMap(LogRecord.Operation.init) else { return nil }
            return LogRecord(
                seq: result.int64(row, 0) ?? 0,
                xid: result.string(row, 1).flatMap { UInt64($0) } ?? 0,
                operation: operation,
                key: ByteText(result.string(row, 3) ?? ""),
                hop: Int(result.int64(row, 4) ?? 1) - 1,
                at: result.int64(row, 5) ?? 0,
                row: result.bytes(row, 6).flatMap { Row(json: $0) },
                before: result.bytes(row, 7).flatMap { Row(json: $0) }
            )
        }
    }

    /// Per hop the records of rows that the job's path ever led over, and the path itself.
    private func ownerPath(_ own: [LogRecord], _ row: Row?) throws -> ([[LogRecord]], OwnerTable) {
        var owners = OwnerTable(feed: self.feed)
        var path: [[LogRecord]] = []
        guard let first = self.feed.hops.first else { return (path, owners) }
        var links = Set([row?.keyText(first.from)].compactMap { $0 })
        for record in own {
            let after = record.row ?? .empty
            for state in [after, after.overlaid(with: record.before ?? .empty)] {
                if let link = state.keyText(first.from) { links.insert(link) }
            }
        }
        let assembler = BatchAssembler(
            connection: self.connection,
            feed: self.feed,
            filterColumns: [],
            asText: self.asText
        )
        let moved = row.map { [self.key: $0] } ?? [:]
        for (number, hop) in self.feed.hops.enumerated() {
            let keys = SQLText.array(owners.keys(hop: number, from: links).map(\.string))
            let found = try self.records(
                """
                op = 'S' AND hop = $2::smallint
                AND (key = ANY ($3::text[]) OR jobfeed.key_text("row", $4::text[]) = ANY ($3::text[]))
                """,
                [String(number + 1), keys, SQLText.array(hop.to)]
            )
            for record in found { owners.applyBefore(record, of: self.feed) }
            path.append(found)
            try assembler.learnOwners(&owners, own, moved)
        }
        return (path, owners)
    }

    private func commitTimes(of records: [LogRecord]) throws -> [UInt64: Int64] {
        let isTracked = try self.connection.query("SELECT current_setting('track_commit_timestamp') = 'on'")
        guard isTracked.bool(0, 0) == true, !records.isEmpty else { return [:] }
        // An xid of 32 bits means the same number of an earlier round when it is older than half of one.
        let result = try self.connection.query(
            """
            SELECT x::text, (extract(epoch FROM pg_xact_commit_timestamp(x::xid)) * 1000000)::bigint
            FROM unnest($1::text[]::xid8[]) AS x
            WHERE pg_snapshot_xmax(pg_current_snapshot())::text::numeric - x::text::numeric < 2000000000
            """,
            [SQLText.array(Set(records.map(\.xid)).map(String.init))]
        )
        var times: [UInt64: Int64] = [:]
        for row in 0..<result.rowCount {
            if let xid = result.string(row, 0).flatMap({ UInt64($0) }) { times[xid] = result.int64(row, 1) }
        }
        return times
    }

    // MARK: The tables

    private func rows(of view: View, limit: Int) throws -> [Row] {
        let query = ViewQuery.rows(of: view, limit: limit)
        guard query.canMatch else { return [] }
        let result = try self.connection.query(query.sql, query.parameters)
        return (0..<result.rowCount).compactMap { result.bytes($0, 0).flatMap { Row(json: $0) } }
    }

    func row(key: ByteText) throws -> Row? {
        let view = View(feed: self.feed, viewer: .operator, filter: .everything, key: key, columns: nil)
        return try self.rows(of: view, limit: 1).first
    }

    private func ownsAnything() throws -> Bool {
        let view = View(feed: self.feed, viewer: self.view.viewer, filter: .everything, key: nil, columns: [])
        return try !self.rows(of: view, limit: 1).isEmpty
    }

    private func jsonNulls() throws -> [String] {
        let tested = self.view.filter.conditions.filter { $0.test == .isNull && $0.member == nil && $0.type == .json }
        let types = self.feed.key.map { self.feed.column($0)?.typeName ?? "text" }
        let wanted = SQLText.keys([self.key], columns: self.feed.key, types: types, of: "j", asText: self.asText)
        return try Set(tested.map(\.column)).sorted().filter { column in
            let name = "j.\(SQLText.identifier(column))"
            let sql = """
                SELECT \(name) IS NOT NULL AND to_jsonb(\(name)) = 'null'
                FROM \(wanted.from) JOIN \(SQLText.table(self.feed.schema, self.feed.table)) j ON \(wanted.on)
                """
            let result = try self.connection.query(sql, wanted.parameters)
            return result.rowCount > 0 && result.bool(0, 0) == true
        }
    }

    private func similarOwners() throws -> [String] {
        guard case .account(let user, _) = self.view.viewer, let column = self.feed.ownerColumn else { return [] }
        let table =
            self.feed.hops.last.map { SQLText.table($0.schema, $0.table) }
            ?? SQLText.table(self.feed.schema, self.feed.table)
        let result = try self.connection.query(
            """
            SELECT DISTINCT o FROM (SELECT \(SQLText.identifier(column))::text AS o FROM \(table)) AS owners
            WHERE o COLLATE "C" <> $1 AND lower(regexp_replace(
                CASE WHEN getdatabaseencoding() = 'UTF8' THEN normalize(o, NFKC) ELSE o END, '\\s', '', 'g')) = $2
            LIMIT 3
            """,
            [user.string, NearName.folded(user.string)]
        )
        return (0..<result.rowCount).compactMap { result.string($0, 0) }
    }
}
