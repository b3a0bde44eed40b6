/// The SQL that installs or upgrades the schema `jobfeed`: the files of `sql/` in the order of their names.
package enum SchemaScript {
    /// The schema version the script brings, the same number as in `s00_guard.sql`.
    package static let version = 4

    /// One idempotent transaction of plain SQL, to be sent as one simple query by the role that is to own the schema.
    ///
    /// Run it on a fresh connection and close that when it fails, because the failed transaction is still open then.
    ///
    /// - Parameter referenceTables: Also create `public.thread` and `public.job` and attach them as feed `jobs`.
    package static func install(referenceTables: Bool) -> String {
        var files = [
            PackageResources.s00_guard_sql,
            PackageResources.s05_roles_sql,
            PackageResources.s10_migration_001_sql,
            PackageResources.s11_migration_002_sql,
            PackageResources.s12_migration_003_sql,
            PackageResources.s13_migration_004_sql,
            PackageResources.s20_text_sql,
            PackageResources.s25_epoch_sql,
            PackageResources.s30_ring_sql,
            PackageResources.s35_capture_sql,
            PackageResources.s37_retention_sql,
            PackageResources.s40_readers_sql,
            PackageResources.s45_catalog_sql,
            PackageResources.s48_statement_sql,
            PackageResources.s50_generate_sql,
            PackageResources.s55_lifecycle_sql,
            PackageResources.s60_attach_sql,
            PackageResources.s62_presets_sql,
            PackageResources.s63_proposal_sql,
            PackageResources.s65_kick_sql,
            PackageResources.s70_privileges_sql,
            PackageResources.s80_refresh_sql,
        ]
        if referenceTables {
            files.append(PackageResources.s90_reference_tables_sql)
        }
        return "begin;\n" + files.map { String(decoding: $0, as: UTF8.self) }.joined() + "commit;\n"
    }
}
