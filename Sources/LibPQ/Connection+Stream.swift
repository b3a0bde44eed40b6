import CLibPQ

extension Connection {
    /// Hands the rows over one by one as they arrive, so that memory does not grow with the result.
    ///
    /// When `row` returns false or throws, the statement is cancelled and the connection stays usable; a transaction
    /// that was open is then failed and must be rolled back.
    package func stream(
        _ sql: String,
        _ parameters: [String?] = [],
        row: (borrowing RowView) throws -> Bool
    ) throws {
        try Self.check(sql)
        try self.stream(parameters, row) { handle, values in
            PQsendQueryParams(handle, sql, Int32(values.count), nil, values.pointers, nil, nil, 0)
        }
    }

    /// The same with a prepared statement.
    package func streamPrepared(
        _ name: String,
        _ parameters: [String?] = [],
        row: (borrowing RowView) throws -> Bool
    ) throws {
        if let sql = self.unprepared(name) { return try self.stream(sql, parameters, row: row) }
        try self.stream(parameters, row) { handle, values in
            PQsendQueryPrepared(handle, name, Int32(values.count), values.pointers, nil, nil, 0)
        }
    }

    private func stream(
        _ parameters: [String?],
        _ row: (borrowing RowView) throws -> Bool,
        _ send: (OpaquePointer, borrowing CStrings) -> Int32
    ) throws {
        let values = try Self.bound(parameters)
        let handle = try self.readyToSend()
        guard send(handle, values) == 1 else { throw self.failure(handle) }
        self.hasSent = true
        _ = PQsetSingleRowMode(handle)
        try self.flush(handle)

        var error: PostgresError?
        while let next = try self.nextResult(handle) {
            defer { PQclear(next) }
            switch PQresultStatus(next) {
            case PGRES_SINGLE_TUPLE:
                do {
                    guard try row(RowView(next)) else { return self.cancelAndDrain(handle) }
                } catch {
                    self.cancelAndDrain(handle)
                    throw error
                }
            case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_EMPTY_QUERY:
                break
            case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH:
                self.close()
                throw PostgresError(kind: .closed, message: "COPY to or from the client is not supported; use SELECT")
            default:
                error = error ?? PostgresError(result: next, connectionIsBad: PQstatus(handle) == CONNECTION_BAD)
            }
        }
        if let error { throw error }
    }

    /// PQcancel returns after the server has signalled the backend, so the cancellation cannot hit a later statement.
    private func cancelAndDrain(_ handle: OpaquePointer) {
        guard self.cancel(handle) else { return self.close() }
        // Whatever goes wrong now leaves the connection unusable, which the next statement finds out.
        while let rest = try? self.nextResult(handle) { PQclear(rest) }
    }

    /// PQcancel makes a connection of its own and waits for the other end without a limit, hence on another thread.
    private func cancel(_ handle: OpaquePointer) -> Bool {
        guard let cancel = PQgetCancel(handle) else { return false }
        let request = CancelRequest(pointer: cancel)
        let isSent = Monitor(false)
        _ = WorkerThread(name: "postgres-cancel") {
            request.send()
            isSent.withLock { $0 = true }
        }
        return isSent.wait(atMost: self.settings.responseTimeout) { $0 ? true : nil } ?? false
    }
}

// Unchecked: handed over to the one thread that sends it.
private struct CancelRequest: @unchecked Sendable {
    let pointer: OpaquePointer

    func send() {
        var reason = [CChar](repeating: 0, count: 256)
        _ = PQcancel(self.pointer, &reason, Int32(reason.count))
        PQfreeCancel(self.pointer)
    }
}
