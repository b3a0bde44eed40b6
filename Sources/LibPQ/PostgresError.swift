import CLibPQ

/// What libpq or the server said went wrong; it never carries the connection string.
package struct PostgresError: Error, Sendable, Hashable {
    package enum Kind: Sendable, Hashable {
        /// The connection could not be opened or was lost: open another one and try again.
        case connection
        /// The server refused the statement; the connection itself is fine.
        case server
        /// The statement was cancelled, by us or by a timeout of the server.
        case cancelled
        /// The connection was closed by its owner before this call.
        case closed
    }

    package var kind: Kind
    package var sqlState: String?
    package var severity: String?
    package var message: String
    package var detail: String?
    package var hint: String?

    package init(
        kind: Kind,
        sqlState: String? = nil,
        severity: String? = nil,
        message: String,
        detail: String? = nil,
        hint: String? = nil
    ) {
        self.kind = kind
        self.sqlState = sqlState
        self.severity = severity
        self.message = message
        self.detail = detail
        self.hint = hint
    }
}

extension PostgresError: CustomStringConvertible {
    package var description: String {
        var text = self.sqlState.map { "\(self.message) (SQLSTATE \($0))" } ?? self.message
        if let detail = self.detail { text += "; detail: \(detail)" }
        if let hint = self.hint { text += "; hint: \(hint)" }
        return text
    }
}

extension PostgresError {
    /// Reads the fields of a failed result, which stays owned by the caller.
    init(result: OpaquePointer, connectionIsBad: Bool) {
        func field(_ code: Int32) -> String? { PQresultErrorField(result, code).map { String(cString: $0) } }
        let sqlState = field(clibpq_diag_sqlstate())
        self.init(
            kind: connectionIsBad ? .connection : Self.kind(ofSQLState: sqlState),
            sqlState: sqlState,
            severity: field(clibpq_diag_severity()),
            message: field(clibpq_diag_message_primary()) ?? Self.trimmed(PQresultErrorMessage(result)),
            detail: field(clibpq_diag_message_detail()),
            hint: field(clibpq_diag_message_hint())
        )
    }

    static func kind(ofSQLState sqlState: String?) -> Kind {
        switch sqlState {
        case "57014": .cancelled
        case "57P01", "57P02", "57P03", "57P05", "25P03": .connection
        case .some(let state) where state.hasPrefix("08"): .connection
        default: .server
        }
    }

    static func trimmed(_ text: UnsafePointer<CChar>?) -> String {
        guard let text else { return "libpq is out of memory" }
        var message = String(cString: text)
        while let last = message.last, last.isWhitespace { message.removeLast() }
        let line = message.replacing("\n\t", with: " ").replacing("\n", with: " ")
        return line.isEmpty ? "libpq gave no reason" : line
    }

    static let closed = PostgresError(
        kind: .closed,
        message: "the connection has been closed; open another one"
    )

    /// C strings end at NUL: without this the server would see a silently shortened text.
    static func nulCharacter(in what: String) -> Self {
        PostgresError(
            kind: .server,
            sqlState: "22021",
            severity: "ERROR",
            message: "\(what) contains a NUL character, which PostgreSQL text cannot hold"
        )
    }
}
