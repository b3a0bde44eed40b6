import CLibPQ

extension Connection {
    /// Sends `statements` (such as `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`) and a prepared query in one round
    /// trip and leaves the transaction open; on an error it is rolled back.
    package func beginThenQueryPrepared(
        _ statements: [String],
        _ name: String,
        _ parameters: [String?] = []
    ) throws(PostgresError) -> Result {
        for statement in statements { try Self.check(statement) }
        if let sql = self.unprepared(name) { return try self.beginThenQuery(statements, sql, parameters) }
        let values = try Self.bound(parameters)
        let handle = try self.readyToSend()
        guard PQenterPipelineMode(handle) == 1 else { throw self.failure(handle) }
        guard
            statements.allSatisfy({ PQsendQueryParams(handle, $0, 0, nil, nil, nil, nil, 0) == 1 }),
            PQsendQueryPrepared(handle, name, Int32(values.count), values.pointers, nil, nil, 0) == 1,
            PQpipelineSync(handle) == 1
        else {
            // Half a pipeline cannot be taken back.
            let error = self.failure(handle)
            self.close()
            throw error
        }
        self.hasSent = true
        try self.flush(handle)

        let (rows, error) = try self.pipelineResults(handle)
        guard PQexitPipelineMode(handle) == 1 else {
            PQclear(rows)
            let reason = error ?? self.failure(handle)
            self.close()
            throw reason
        }
        if let error {
            PQclear(rows)
            if self.transactionStatus == .failed || self.transactionStatus == .inTransaction {
                try self.execute("ROLLBACK")
            }
            throw error
        }
        guard let rows else { throw self.failure(handle) }
        return Result(rows)
    }

    /// The same in two round trips: PgBouncer 1.18 does not answer a pipeline.
    private func beginThenQuery(
        _ statements: [String],
        _ sql: String,
        _ parameters: [String?]
    ) throws(PostgresError) -> Result {
        do {
            try self.execute(statements.joined(separator: "; "))
            return try self.query(sql, parameters)
        } catch {
            if self.transactionStatus == .failed || self.transactionStatus == .inTransaction {
                try self.execute("ROLLBACK")
            }
            throw error
        }
    }

    /// Each command ends with a null result and the pipeline with `PGRES_PIPELINE_SYNC`; after an error the commands
    /// left are answered `PGRES_PIPELINE_ABORTED`.
    private func pipelineResults(
        _ handle: OpaquePointer
    ) throws(PostgresError) -> (rows: OpaquePointer?, error: PostgresError?) {
        var rows: OpaquePointer?
        var error: PostgresError?
        var consecutiveNulls = 0
        while consecutiveNulls < 2 {
            let result: OpaquePointer?
            do {
                result = try self.nextResult(handle)
            } catch {
                PQclear(rows)
                throw error
            }
            guard let next = result else {
                consecutiveNulls += 1
                continue
            }
            consecutiveNulls = 0
            switch PQresultStatus(next) {
            case PGRES_PIPELINE_SYNC:
                PQclear(next)
                return (rows, error)
            case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_EMPTY_QUERY:
                PQclear(rows)
                rows = next
            case PGRES_PIPELINE_ABORTED:
                PQclear(next)
            default:
                error = error ?? PostgresError(result: next, connectionIsBad: PQstatus(handle) == CONNECTION_BAD)
                PQclear(next)
            }
        }
        return (rows, error ?? self.failure(handle))
    }
}
