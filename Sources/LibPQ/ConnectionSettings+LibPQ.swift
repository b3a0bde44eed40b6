import CLibPQ

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

extension ConnectionSettings {
    /// The texts of `jsonb`, dates, floats and bytea must not depend on how the database or the role is configured.
    private static let session = [
        ("TimeZone", "UTC"), ("DateStyle", "ISO"), ("IntervalStyle", "postgres"), ("extra_float_digits", "1"),
        ("bytea_output", "hex"),
        // Our statements are short; compiling one takes longer than any of them.
        ("jit", "off"),
    ]

    /// To be sent after each BEGIN, because nobody has set these for the session.
    package var transactionSettings: [String] {
        self.isPooled ? Self.session.map { "SET LOCAL \($0) = '\($1)'" } : []
    }

    /// Keywords and values for `PQconnectdbParams`: those before `dbname` are defaults that the connection string
    /// may override, those after it override the connection string.
    func parameters() throws(PostgresError) -> [(keyword: String, value: String)] {
        let seconds = max(2, self.connectTimeout.components.seconds)
        var parameters: [(keyword: String, value: String)] = [
            ("connect_timeout", String(seconds)),
            ("keepalives_idle", "10"),
            ("keepalives_interval", "5"),
            ("keepalives_count", "3"),
            ("tcp_user_timeout", "30000"),
        ]
        var options = getenv("PGOPTIONS").map { String(cString: $0) }
        if let conninfo = self.conninfo {
            options = try Self.checkedOptions(of: conninfo) ?? options
            parameters.append(("dbname", conninfo))
        }
        parameters.append(("application_name", self.applicationName))
        parameters.append(("client_encoding", "UTF8"))
        // A pooler refuses options that it cannot keep for one client.
        if !self.isPooled {
            let session = Self.session.map { "-c \($0)=\($1)" }
            parameters.append(("options", ([options].compactMap { $0 } + session).joined(separator: " ")))
        }
        return parameters
    }

    /// The `options` of the connection string, after refusing what libpq would quote, password and all, in an error.
    private static func checkedOptions(of conninfo: String) throws(PostgresError) -> String? {
        let isURI = conninfo.hasPrefix("postgresql://") || conninfo.hasPrefix("postgres://")
        // What is neither a URI nor has a "=" is the name of a database.
        guard isURI || conninfo.contains("=") else { return nil }
        guard !conninfo.utf8.contains(0) else { throw .nulCharacter(in: "the connection string") }

        var reason: UnsafeMutablePointer<CChar>?
        defer { PQfreemem(reason) }
        guard let parsed = PQconninfoParse(conninfo, &reason) else {
            let text = Self.withoutQuotations(PostgresError.trimmed(reason))
            throw PostgresError(kind: .connection, message: "the connection string is not valid: \(text)")
        }
        defer { PQconninfoFree(parsed) }

        var options: String?
        var next = parsed
        while let keyword = next.pointee.keyword {
            defer { next += 1 }
            guard let value = next.pointee.val.map({ String(cString: $0) }) else { continue }
            switch String(cString: keyword) {
            case "options":
                options = value
            case "host" where value.contains("@"),
                "port" where !value.allSatisfy { $0.isASCII && ($0.isNumber || $0 == ",") }:
                throw PostgresError(
                    kind: .connection,
                    message: "the connection string has no valid \(String(cString: keyword))",
                    hint: "characters such as @ : / in a password must be percent-encoded, @ as %40"
                )
            default:
                break
            }
        }
        return options
    }

    /// libpq quotes pieces of the string it could not parse, which may be the password or hold quotes themselves.
    private static func withoutQuotations(_ text: String) -> String {
        guard let first = text.firstIndex(of: "\""), let last = text.lastIndex(of: "\""), first < last else {
            return text
        }
        return text[..<first] + "\"…\"" + text[text.index(after: last)...]
    }
}
