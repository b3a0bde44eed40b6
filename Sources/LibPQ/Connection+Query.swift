import CLibPQ

extension Connection {
    /// Runs one or more statements without parameters and discards what they return.
    package func execute(_ sql: String) throws(PostgresError) {
        try Self.check(sql)
        _ = try self.run { PQsendQuery($0, sql) }
    }

    /// Runs one statement; `$1`… are bound as text, so the server infers their types.
    package func query(_ sql: String, _ parameters: [String?] = []) throws(PostgresError) -> Result {
        try Self.check(sql)
        let values = try Self.bound(parameters)
        return try self.run { PQsendQueryParams($0, sql, Int32(values.count), nil, values.pointers, nil, nil, 0) }
    }

    package func prepare(_ name: String, _ sql: String) throws(PostgresError) {
        try Self.check(sql)
        if !self.settings.isPooled { _ = try self.run { PQsendPrepare($0, name, sql, 0, nil) } }
        self.didPrepare(name, sql)
    }

    package func queryPrepared(_ name: String, _ parameters: [String?] = []) throws(PostgresError) -> Result {
        if let sql = self.unprepared(name) { return try self.query(sql, parameters) }
        let values = try Self.bound(parameters)
        return try self.run { PQsendQueryPrepared($0, name, Int32(values.count), values.pointers, nil, nil, 0) }
    }

    package func quotedIdentifier(_ name: String) throws(PostgresError) -> String {
        let handle = try self.live()
        guard let quoted = PQescapeIdentifier(handle, name, name.utf8.count) else { throw self.failure(handle) }
        defer { PQfreemem(quoted) }
        return String(cString: quoted)
    }

    static func check(_ sql: String) throws(PostgresError) {
        guard !sql.utf8.contains(0) else { throw .nulCharacter(in: "the statement") }
    }

    static func bound(_ parameters: [String?]) throws(PostgresError) -> CStrings {
        // The protocol counts parameters in 16 bits.
        guard parameters.count <= UInt16.max else {
            throw PostgresError(
                kind: .server,
                sqlState: "54023",
                message: "a statement takes at most \(UInt16.max) parameters, this one has \(parameters.count)"
            )
        }
        return try CStrings(parameters, named: { "parameter $\($0 + 1)" })
    }

    private func run(_ send: (OpaquePointer) -> Int32) throws(PostgresError) -> Result {
        let handle = try self.readyToSend()
        guard send(handle) == 1 else { throw self.failure(handle) }
        self.hasSent = true
        try self.flush(handle)
        return try self.lastResult(handle)
    }

    /// Takes results until libpq has no more: the first error wins, otherwise the last result.
    private func lastResult(_ handle: OpaquePointer) throws(PostgresError) -> Result {
        var error: PostgresError?
        var last: LibPQ.Result?
        while let next = try self.nextResult(handle) {
            last = LibPQ.Result(next)
            switch PQresultStatus(next) {
            case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_EMPTY_QUERY, PGRES_SINGLE_TUPLE:
                break
            case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH:
                // PQgetResult would return the same result for ever.
                last = nil
                self.close()
                throw PostgresError(kind: .closed, message: "COPY to or from the client is not supported; use SELECT")
            default:
                error = error ?? PostgresError(result: next, connectionIsBad: PQstatus(handle) == CONNECTION_BAD)
            }
        }
        if let error { throw error }
        guard let result = last.take() else { throw self.failure(handle) }
        return result
    }
}
