import CLibPQ

extension Connection {
    /// Sends what libpq holds back; libpq never waits for the network itself, because it would do so without a limit.
    func flush(_ handle: OpaquePointer) throws(PostgresError) {
        while true {
            switch PQflush(handle) {
            case 0: return
            case 1: try self.wait(.writing, handle)
            default: throw self.failure(handle)
            }
            // A server that cannot get rid of what it sends reads nothing either.
            _ = PQconsumeInput(handle)
        }
    }

    /// The next result of what was sent, nil after the last; the time to wait counts anew with each piece that arrives.
    func nextResult(_ handle: OpaquePointer) throws(PostgresError) -> OpaquePointer? {
        while PQisBusy(handle) == 1 {
            try self.wait(.reading, handle)
            let isAlive = PQconsumeInput(handle) == 1
            // libpq before 17 reads at most half of a TLS record of 16 kB, and poll does not see the other half.
            if isAlive, PQsslInUse(handle) == 1 { _ = PQconsumeInput(handle) }
            if !isAlive, PQisBusy(handle) == 1 { throw self.failure(handle) }
        }
        return PQgetResult(handle)
    }

    private func wait(_ direction: Poll.Direction, _ handle: OpaquePointer) throws(PostgresError) {
        let deadline = ContinuousClock.now + self.settings.responseTimeout
        switch Poll.wait(direction, PQsocket(handle), self.abandon?.readDescriptor, until: deadline) {
        case .ready(_, second: false):
            return
        case .ready:
            self.close()
            throw PostgresError(kind: .closed, message: "the statement was given up, because the program ends")
        case .timedOut:
            self.close()
            throw PostgresError(
                kind: .connection,
                message: "the server gave no answer within \(self.settings.responseTimeout)",
                hint: "the network is silent, or the statement waits for a lock: see pg_stat_activity"
            )
        }
    }
}
