import Feed
import Foundation
import LibPQ

/// Reads the feeds that are attached, with the columns of their tables.
enum Catalog {
    /// All feeds in one JSON text each; the catalogs are asked with `search_path = pg_catalog`, so type names are qualified.
    private static let definition = """
        jsonb_build_object(
            'name', f.name, 'schema', f.schema_name, 'table', f.table_name, 'key', to_jsonb(f.key), 'status', f.status,
            'hops', (
                SELECT coalesce(jsonb_agg(hop || jsonb_build_object('to_types', (
                    SELECT jsonb_agg(format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL) ORDER BY place)
                    FROM jsonb_array_elements_text(hop -> 'to') WITH ORDINALITY AS c (name, place)
                    JOIN pg_attribute a ON a.attrelid = to_regclass(format('%I.%I', hop ->> 'schema', hop ->> 'table'))
                        AND a.attname = c.name
                    JOIN pg_type t ON t.oid = a.atttypid)) ORDER BY number), '[]')
                FROM jsonb_array_elements(f.hops) WITH ORDINALITY AS h (hop, number)),
            'owner_column', f.owner_column,
            'owner_type', (
                SELECT format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL)
                FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
                WHERE a.attname = f.owner_column AND a.attrelid = CASE WHEN f.hops = '[]' THEN f.relation
                    ELSE to_regclass(format('%I.%I', f.hops -> -1 ->> 'schema', f.hops -> -1 ->> 'table')) END),
            'hidden', (
                SELECT coalesce(jsonb_agg(a.attname), '[]') FROM pg_attribute a
                WHERE a.attrelid = f.relation AND a.attnum > 0 AND NOT a.attisdropped AND (a.attname = ANY (f.hidden)
                    OR f.owner_column IS NOT NULL
                        AND NOT has_column_privilege('jobfeed_account', f.relation, a.attnum, 'SELECT'))), 'quiet', to_jsonb(f.quiet), 'gauges', to_jsonb(f.gauges),
            'owner_claim', f.owner_claim, 'scope', f.scope, 'secret', to_jsonb(f.secret), 'lifecycle', f.lifecycle,
            'order_column', f.order_column, 'since', f.since::text,
            'version', f.xmin::text,
            'columns', (
                SELECT jsonb_agg(jsonb_build_object(
                    'name', a.attname, 'type', format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL),
                    'labels', (SELECT jsonb_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e
                               WHERE e.enumtypid = coalesce(nullif(t.typbasetype, 0), t.oid))) ORDER BY a.attnum)
                FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
                WHERE a.attrelid = f.relation AND a.attnum > 0 AND NOT a.attisdropped)
            )
        """

    private static let sql = """
        SELECT (d.definition || jsonb_build_object('revision', md5(d.definition::text)))::text
        FROM (SELECT f.name, \(definition) AS definition
              FROM jobfeed.feed f JOIN pg_class ON pg_class.oid = f.relation) AS d
        ORDER BY d.name
        """

    private struct Record: Decodable {
        struct Hop: Decodable {
            let schema: String
            let table: String
            let from: [String]
            let to: [String]
            let to_types: [String]?
        }
        struct Column: Decodable {
            let name: String
            let type: String
            let labels: [String]?
        }
        let name: String
        let schema: String
        let table: String
        let key: [String]
        let status: String
        let hops: [Hop]
        let owner_column: String?
        let owner_type: String?
        let owner_claim: String?
        let hidden: Set<String>
        let scope: [String: String]
        let secret: Set<String>
        let quiet: Set<String>
        let gauges: Set<String>
        let lifecycle: Lifecycle?
        let order_column: String?
        let since: String
        let revision: String
        let columns: [Column]

        var definition: FeedDefinition {
            FeedDefinition(
                name: self.name,
                schema: self.schema,
                table: self.table,
                columns: self.columns.map {
                    .init(
                        name: $0.name,
                        typeName: $0.type,
                        type: ColumnType(typeName: $0.type, enumLabels: $0.labels ?? [])
                    )
                },
                key: self.key,
                status: self.status,
                hops: self.hops.map {
                    .init(schema: $0.schema, table: $0.table, from: $0.from, to: $0.to, toTypes: $0.to_types ?? [])
                },
                ownerColumn: self.owner_column,
                ownerTypeName: self.owner_type,
                ownerClaim: self.owner_claim,
                scope: self.scope,
                hidden: self.hidden,
                secret: self.secret,
                quiet: self.quiet,
                gauges: self.gauges,
                lifecycle: self.lifecycle,
                orderColumn: self.order_column,
                since: UInt64(self.since) ?? .max,
                revision: self.revision,
                problem: self.problem
            )
        }

        /// What makes the definition useless: somebody altered the tables after they were attached.
        private var problem: String? {
            let names = Set(self.columns.map(\.name))
            for column in self.key + [self.status] + (self.hops.first?.from ?? []) + self.scope.keys
            where !names.contains(column) {
                return self.complaint("column \"\(column)\" of \(self.table) is gone")
            }
            for hop in self.hops where hop.to_types?.count != hop.to.count {
                return self.complaint("table \(hop.table) of the owner path was altered or is gone")
            }
            if let owner = self.owner_column, self.owner_type == nil {
                return self.complaint("the owner column \"\(owner)\" is gone")
            }
            return nil
        }

        private func complaint(_ what: String) -> String {
            "feed \(self.name) does not fit its table any more: \(what); the operator has to run jobfeed.attach again"
        }
    }

    static func load(_ connection: Connection) throws -> [String: FeedDefinition] {
        let result = try connection.query(self.sql)
        var feeds: [String: FeedDefinition] = [:]
        for row in 0..<result.rowCount {
            let record = try JSONDecoder().decode(Record.self, from: Data(result.bytes(row, 0) ?? []))
            feeds[record.name] = record.definition
        }
        return feeds
    }

    /// What ``revisionsSQL`` gives for these feeds.
    private static func revisions(of feeds: [String: FeedDefinition]) -> String {
        feeds.values.sorted { $0.name < $1.name }.map { "\($0.name):\($0.revision)" }.joined(separator: ",")
    }

    /// Another text after each `jobfeed.attach` and each change of the tables, their types and privileges.
    /// `f` is a row of `jobfeed.feed`.
    static let revisionSQL = "md5((\(definition))::text)"

    /// Reads the feeds again, if one was attached, detached or altered.
    static func reload(
        _ connection: Connection,
        unlessStill feeds: [String: FeedDefinition]
    ) throws -> [String: FeedDefinition]? {
        let now = try connection.queryCached(self.revisionsSQL).string(0, 0)
        return now == self.revisions(of: feeds) ? nil : try self.load(connection)
    }

    private static let revisionsSQL = """
        SELECT coalesce(string_agg(f.name || ':' || \(Catalog.revisionSQL), ',' ORDER BY f.name COLLATE "C"), '')
        FROM jobfeed.feed f JOIN pg_class ON pg_class.oid = f.relation
        """
}
