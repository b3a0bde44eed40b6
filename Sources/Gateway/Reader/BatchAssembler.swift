import Feed
import LibPQ

/// Completes a span of the log from the tables, inside the transaction that read it: owners, rows that changed hands
/// and large columns that the log left out.
struct BatchAssembler {
    let connection: Connection
    let feed: FeedDefinition
    /// Columns that some filter looks at: a change of one of them may make a row enter a view.
    let filterColumns: Set<String>
    /// Compares keys as texts, after a typed comparison failed.
    let asText: Bool

    /// - Parameter firstRows: rows of the owner path's first table that the records' links lead to, where they are known.
    func batch(
        _ records: [LogRecord],
        firstRows: [Row]? = nil,
        start: Snapshot,
        end: Snapshot,
        isIndexed: Bool? = nil
    ) throws -> Batch {
        let isTruncated = records.contains { $0.operation == .truncate }
        var records = records.filter { $0.operation != .truncate }
        var owners = OwnerTable(feed: self.feed)
        for record in records { owners.applyBefore(record, of: self.feed) }
        let moved = try self.movedRows(records)
        try self.learnOwners(&owners, records, moved, firstRows: firstRows)
        try self.fillLargeColumns(&records)
        return Batch(
            feed: self.feed,
            start: start,
            end: end,
            records: records,
            owners: owners.withoutStarts,
            moved: moved,
            isTruncated: isTruncated,
            isIndexed: isIndexed
        )
    }

    // MARK: Owners

    func learnOwners(
        _ owners: inout OwnerTable,
        _ records: [LogRecord],
        _ moved: [ByteText: Row],
        firstRows: [Row]? = nil
    ) throws {
        guard let first = self.feed.hops.first else { return }
        var links: Set<ByteText> = []
        for record in records where record.operation != .ownerPath {
            if let link = OwnerTable.keyText(first.from, { record.row?[$0] }) { links.insert(link) }
            if let before = record.before, first.from.contains(where: { before[$0] != nil }),
                let link = OwnerTable.keyText(first.from, { before[$0] ?? record.row?[$0] })
            {
                links.insert(link)
            }
        }
        if let firstRows {
            let next = OwnerTable.nextColumns(of: self.feed, hop: 0)
            for key in links { owners.learn(hop: 0, key: key, next: nil) }
            for row in firstRows {
                if let key = row.keyText(first.to) { owners.learn(hop: 0, key: key, next: row.keyText(next)) }
            }
        }
        for row in moved.values {
            if let link = row.keyText(first.from) { links.insert(link) }
        }
        for (number, hop) in self.feed.hops.enumerated() {
            let keys = owners.unknownKeys(hop: number, from: links)
            guard !keys.isEmpty else { continue }
            let next = OwnerTable.nextColumns(of: self.feed, hop: number)
            let wanted = SQLText.keys(keys, columns: hop.to, types: hop.toTypes, of: "t", asText: self.asText)
            let sql = """
                SELECT \(SQLText.list(Set(hop.to + next).sorted(), of: "t"))
                FROM \(wanted.from) JOIN \(SQLText.table(hop.schema, hop.table)) t ON \(wanted.on)
                """
            for key in keys { owners.learn(hop: number, key: key, next: nil) }
            for found in try self.rows(sql, wanted.parameters, of: [SQLText.table(hop.schema, hop.table)]) {
                if let key = found.keyText(hop.to) { owners.learn(hop: number, key: key, next: found.keyText(next)) }
            }
        }
    }

    // MARK: Rows that changed hands

    /// Rows, as they are now, that an `S` record's table row leads on for.
    private func movedRows(_ records: [LogRecord]) throws -> [ByteText: Row] {
        var keysByHop: [Int: Set<ByteText>] = [:]
        for record in records where record.operation == .ownerPath && self.feed.hops.indices.contains(record.hop) {
            let referenced = self.feed.hops[record.hop].to
            for state in [record.before, record.row] {
                if let key = state?.keyText(referenced) { keysByHop[record.hop, default: []].insert(key) }
            }
        }
        var moved: [ByteText: Row] = [:]
        for (hop, keys) in keysByHop {
            // Step back from the changed table to the feed's own.
            let alias = hop == 0 ? "j" : "t\(hop - 1)"
            let wanted = SQLText.keys(
                keys,
                columns: self.feed.hops[hop].from,
                types: self.feed.hops[hop].toTypes,
                of: alias,
                asText: self.asText
            )
            let sql = """
                SELECT \(SQLText.list(self.feed.columns.map(\.name), of: "j"))
                FROM \(wanted.from), \(OwnerPath.joins(of: self.feed, upTo: hop)) WHERE \(wanted.on)
                LIMIT \(LogReader.maximumMoved + 1)
                """
            let found = try self.rows(sql, wanted.parameters, of: OwnerPath.tables(of: self.feed, upTo: hop))
            if found.count > LogReader.maximumMoved { throw LogReader.Failure.tooLarge }
            for row in found {
                if let key = row.keyText(self.feed.key) { moved[key] = row }
            }
        }
        return moved
    }

    // MARK: Large columns

    /// Gives records whose row may enter a view the columns that the log left out, as they were at that moment.
    func fillLargeColumns(_ records: inout [LogRecord]) throws {
        let interesting = self.filterColumns.union(self.feed.decidingColumns)
        let isOwnerPathChanged = records.contains { $0.operation == .ownerPath }
        var keys: Set<ByteText> = []
        for record in records where record.operation == .update {
            guard let row = record.row, self.feed.columns.contains(where: { row[$0.name] == nil }) else { continue }
            if isOwnerPathChanged || interesting.contains(where: { record.before?[$0] != nil || row[$0] == nil }) {
                keys.insert(record.key)
            }
        }
        guard !keys.isEmpty else { return }
        var known = try self.rows(keys)
        // Backwards: what a later change replaced is what stood here.
        for index in records.indices.reversed() where keys.contains(records[index].key) {
            guard records[index].operation != .ownerPath, let row = records[index].row else { continue }
            if records[index].operation == .update, let later = known[records[index].key] {
                let full = later.overlaid(with: row)
                records[index].row = full
                known[records[index].key] = full.overlaid(with: records[index].before ?? .empty)
            } else {
                known[records[index].key] = row.overlaid(with: records[index].before ?? .empty)
            }
        }
    }

    private func rows(_ keys: Set<ByteText>) throws -> [ByteText: Row] {
        let types = self.feed.key.map { self.feed.column($0)?.typeName ?? "text" }
        let wanted = SQLText.keys(keys, columns: self.feed.key, types: types, of: "j", asText: self.asText)
        let table = SQLText.table(self.feed.schema, self.feed.table)
        let sql = """
            SELECT \(SQLText.list(self.feed.columns.map(\.name), of: "j"))
            FROM \(wanted.from) JOIN \(table) j ON \(wanted.on)
            """
        var rows: [ByteText: Row] = [:]
        for row in try self.rows(sql, wanted.parameters, of: [table]) {
            if let key = row.keyText(self.feed.key) { rows[key] = row }
        }
        return rows
    }

    // MARK: Queries

    /// The rows of a query on these tables, or an error when one of them cannot be read under this snapshot.
    private func rows(_ sql: String, _ parameters: [String], of tables: [String]) throws -> [Row] {
        let guarded = TableRewrite.guarded(sql, "to_jsonb(x)::text", on: tables)
        let result = try self.connection.queryCached(guarded, parameters)
        guard result.bool(0, 0) == true else { throw TableRewrite.Failure.rewritten }
        return (0..<result.rowCount).compactMap { number in result.bytes(number, 1).flatMap { Row(json: $0) } }
    }
}

/// The joins that lead from a feed's table (`j`) along its owner path (`t0`, `t1`, …).
enum OwnerPath {
    static func joins(of feed: FeedDefinition, upTo hops: Int) -> String {
        var sql = "\(SQLText.table(feed.schema, feed.table)) j"
        for (number, hop) in feed.hops.prefix(hops).enumerated() {
            let previous = number == 0 ? "j" : "t\(number - 1)"
            let on = zip(hop.from, hop.to).map { from, to in
                "t\(number).\(SQLText.identifier(to)) = \(previous).\(SQLText.identifier(from))"
            }
            sql += " JOIN \(SQLText.table(hop.schema, hop.table)) t\(number) ON \(on.joined(separator: " AND "))"
        }
        return sql
    }

    /// The tables that ``joins(of:upTo:)`` reads.
    static func tables(of feed: FeedDefinition, upTo hops: Int) -> [String] {
        [SQLText.table(feed.schema, feed.table)] + feed.hops.prefix(hops).map { SQLText.table($0.schema, $0.table) }
    }

    /// The row of the path's first table that a record `c` of the log leads to, as JSON; before the change only where it
    /// led elsewhere then.
    static func firstRow(of feed: FeedDefinition, before: Bool) -> String {
        guard let hop = feed.hops.first else { return "NULL" }
        let next = OwnerTable.nextColumns(of: feed, hop: 0)
        let names = hop.from.map { SQLText.literal($0) }
        let on = zip(zip(hop.to, hop.toTypes), names).map { column, name in
            let value =
                before
                ? "CASE WHEN c.before ? \(name) THEN c.before ->> \(name) ELSE c.row ->> \(name) END"
                : "c.row ->> \(name)"
            return "t.\(SQLText.identifier(column.0)) = (\(value))::\(SQLText.castable(column.1))"
        }
        let condition = before ? "c.op = 'U' AND c.before ?| ARRAY[\(names.joined(separator: ", "))]" : "c.op <> 'S'"
        return """
            SELECT to_jsonb(x) FROM (
                SELECT \(SQLText.list(Set(hop.to + next).sorted(), of: "t")) FROM \(SQLText.table(hop.schema, hop.table)) t
                WHERE \(condition) AND \(on.joined(separator: " AND "))) AS x LIMIT 1
            """
    }

    /// Where the owner's name stands.
    static func owner(of feed: FeedDefinition) -> String? {
        feed.ownerColumn.map { "\(feed.hops.isEmpty ? "j" : "t\(feed.hops.count - 1)").\(SQLText.identifier($0))" }
    }
}
