import Feed
import LibPQ

/// Notices what MVCC does not cover: to a snapshot that is older than an ALTER TABLE that rewrote the table, or than a
/// TRUNCATE, the table looks empty (PostgreSQL manual, "Caveats" of Concurrency Control).
enum TableRewrite {
    enum Failure: Error {
        /// A table was rewritten after the transaction took its snapshot: nothing that it read there counts.
        case rewritten
    }

    /// An SQL condition: each of these tables still has the files that the transaction's snapshot knows.
    ///
    /// To be asked in the statement that reads them, whose locks keep them as they are from then on:
    /// `pg_relation_filenode` tells of now, `pg_class` of the snapshot.
    static func none(of tables: [String]) -> String {
        let names = tables.map { "(\(SQLText.literal($0))::pg_catalog.regclass)" }.joined(separator: ", ")
        // By OFFSET 0 each is looked up on its own: as a join, the generic plan of a statement that asks this reads all of
        // pg_class, which was half of what a step cost.
        return """
            NOT EXISTS (
                SELECT FROM (
                    SELECT t.relation FROM (VALUES \(names)) AS t (relation)
                    UNION ALL
                    SELECT p.relid FROM (VALUES \(names)) AS t (relation), pg_catalog.pg_partition_tree(t.relation) AS p
                ) AS r
                CROSS JOIN LATERAL (
                    SELECT oid, relkind, relfilenode FROM pg_catalog.pg_class WHERE oid = r.relation OFFSET 0) AS c
                WHERE c.relkind = 'r' AND pg_catalog.pg_relation_filenode(c.oid) IS DISTINCT FROM c.relfilenode)
            """
    }

    /// A query `x` on these tables, with a first column that says whether what it found counts; one row at least.
    static func guarded(_ sql: String, _ columns: String, on tables: [String]) -> String {
        """
        SELECT guard.is_whole, \(columns)
        FROM (SELECT \(self.none(of: tables)) AS is_whole) AS guard LEFT JOIN LATERAL (\(sql)) AS x ON true
        """
    }

    /// Locks these tables for the rest of the transaction; throws when what it will read there does not count.
    static func hold(_ tables: [String], _ connection: Connection) throws {
        let joins = tables.map { " LEFT JOIN \($0) ON false" }.joined()
        // Not cached: parsing it takes the locks.
        let result = try connection.query("SELECT \(self.none(of: tables)) FROM (SELECT) AS one\(joins)")
        guard result.bool(0, 0) == true else { throw Failure.rewritten }
    }
}
