import LibPQ

/// What to do about a login that will be refused each time; libpq has no codes for these, only words.
enum DatabaseAdvice {
    private static let table: [(words: String, advice: String)] = [
        (
            "certificate verify failed",
            "name the authority that signed the server's certificate: sslrootcert=FILE in DATABASE_URL, or PGSSLROOTCERT"
        ),
        (
            "root certificate file",
            "sslmode verify-ca and verify-full need the authority's certificate: sslrootcert=FILE in DATABASE_URL, or "
                + "PGSSLROOTCERT"
        ),
        (
            "does not match host name",
            "connect by a name that stands in the server's certificate, or have one issued for this name"
        ),
        (
            "server does not support SSL",
            "switch ssl on at the server; sslmode=disable sends everything readable, so only where the network is trusted"
        ),
        (
            "password authentication failed",
            "check the user and the password in DATABASE_URL (special characters percent-encoded), PGPASSWORD or PGPASSFILE"
        ),
        ("no password supplied", "put the password into DATABASE_URL, PGPASSWORD or the file that PGPASSFILE names"),
        ("pg_hba.conf", "allow this user, database and address in the server's pg_hba.conf, with hostssl for TLS"),
    ]

    /// `nil` when the error may pass by itself, or says enough.
    static func hint(for error: PostgresError) -> String? {
        guard error.kind == .connection, error.sqlState == nil else { return nil }
        return self.table.first { error.message.contains($0.words) }?.advice
    }
}
