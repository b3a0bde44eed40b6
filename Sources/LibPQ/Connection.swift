import CLibPQ

/// One session with PostgreSQL; every call blocks, and only one thread at a time may make one.
package final class Connection {
    package enum TransactionStatus: Sendable, Hashable {
        case idle
        /// A statement has been sent and not been answered.
        case active
        case inTransaction
        /// In a transaction that can only be rolled back.
        case failed
        case unknown
    }

    package let settings: ConnectionSettings
    private var handle: OpaquePointer?
    private let farewell = Farewell()
    /// Statements by name: prepared in this session, or, where no session lasts, to be sent whole.
    private var prepared: [String: String] = [:]
    /// Once signalled, no statement waits for its answer any more.
    let abandon: Wakeup?
    /// Whether a statement has left for the server since the pool last set this to false.
    var hasSent = false

    /// - Parameter abandon: a signal gives up the statement that runs and refuses later ones; it is never cleared.
    package static func open(
        _ settings: ConnectionSettings,
        abandon: Wakeup? = nil
    ) throws(PostgresError) -> Connection {
        let connection = Connection(settings, abandon)
        try connection.connect()
        return connection
    }

    private init(_ settings: ConnectionSettings, _ abandon: Wakeup?) {
        self.settings = settings
        self.abandon = abandon
    }

    deinit {
        self.close()
    }

    /// Ends the session; every later call throws `.closed` until `reset`.
    package func close() {
        PQfinish(self.handle)
        self.handle = nil
        self.prepared.removeAll()
    }

    /// Ends the session and opens another one with the same settings.
    package func reset() throws(PostgresError) {
        self.close()
        try self.connect()
    }

    /// Whether a statement can be sent now: connected, and not inside a failed transaction.
    package var isUsable: Bool {
        switch self.transactionStatus {
        case .idle, .inTransaction: true
        case .active, .failed, .unknown: false
        }
    }

    package var transactionStatus: TransactionStatus {
        guard let handle = self.handle, PQstatus(handle) == CONNECTION_OK else { return .unknown }
        return switch PQtransactionStatus(handle) {
        case PQTRANS_IDLE: .idle
        case PQTRANS_ACTIVE: .active
        case PQTRANS_INTRANS: .inTransaction
        case PQTRANS_INERROR: .failed
        default: .unknown
        }
    }

    /// Zero when closed.
    package var backendPID: Int32 {
        self.handle.map { PQbackendPID($0) } ?? 0
    }

    package var serverVersion: Int {
        self.handle.map { Int(PQserverVersion($0)) } ?? 0
    }

    /// Whether `prepare` has succeeded for this name in this session; a reopened connection starts with none.
    package func isPrepared(_ name: String) -> Bool {
        self.prepared[name] != nil
    }

    func didPrepare(_ name: String, _ sql: String) {
        self.prepared[name] = sql
    }

    /// The text of a statement that could not be prepared, because the session may be another one by now.
    func unprepared(_ name: String) -> String? {
        self.settings.isPooled ? self.prepared[name] : nil
    }

    func live() throws(PostgresError) -> OpaquePointer {
        guard let handle = self.handle else { throw .closed }
        return handle
    }

    /// Before the first statement for a borrower the socket is looked at: libpq reports a failed write only after
    /// reading the answer, when nobody can tell any more whether the statement ran.
    func readyToSend() throws(PostgresError) -> OpaquePointer {
        if !self.hasSent, let loss = self.loss() { throw loss }
        return try self.live()
    }

    /// The error libpq keeps for the connection; a FATAL that the server sent while we were idle says more.
    func failure(_ handle: OpaquePointer) -> PostgresError {
        let isBad = PQstatus(handle) == CONNECTION_BAD
        if isBad, let reason = self.farewell.reason { return reason }
        return PostgresError(
            kind: isBad ? .connection : .server,
            message: PostgresError.trimmed(PQerrorMessage(handle))
        )
    }

    /// Reads what has arrived without waiting; the error when the server has gone or is about to.
    func consumeInput(_ handle: OpaquePointer) -> PostgresError? {
        guard PQconsumeInput(handle) == 1 else { return self.failure(handle) }
        // Parses what has been read: an ErrorResponse to an idle session becomes a notice.
        _ = PQisBusy(handle)
        return self.farewell.reason
    }

    /// Why an idle session is of no use any more; looks at the socket without asking the server.
    package func loss() -> PostgresError? {
        guard let handle = self.handle else { return .closed }
        guard PQstatus(handle) == CONNECTION_OK else { return self.failure(handle) }
        // A FATAL comes first and the end of the stream after it: read until nothing is left.
        while self.farewell.reason == nil, Poll.isReadable(PQsocket(handle)) {
            if let loss = self.consumeInput(handle) { return loss }
        }
        return self.farewell.reason
    }

    private func connect() throws(PostgresError) {
        let parameters = try self.settings.parameters()
        let keywords = try CStrings(parameters.map { $0.keyword } + [nil], named: { _ in "a keyword" })
        let values = try CStrings(parameters.map { $0.value } + [nil], named: { parameters[$0].keyword })

        guard let handle = PQconnectdbParams(keywords.pointers, values.pointers, 1) else {
            throw PostgresError(kind: .connection, message: "libpq is out of memory")
        }
        guard PQstatus(handle) == CONNECTION_OK else {
            let message = Self.withoutPassword(PostgresError.trimmed(PQerrorMessage(handle)), handle)
            PQfinish(handle)
            throw PostgresError(kind: .connection, message: message)
        }
        self.handle = handle
        self.farewell.listen(to: handle)
        do throws(PostgresError) {
            // Otherwise a write waits without a limit for a network that takes nothing.
            guard PQsetnonblocking(handle, 1) == 0 else { throw self.failure(handle) }
            // A statement that was given up, perhaps while it waits for a lock, ends on the server too.
            guard !self.settings.isPooled else { return }
            if self.serverVersion >= 140_000 { try self.execute("SET client_connection_check_interval = '2s'") }
            guard let role = self.settings.role else { return }
            try self.execute("SET ROLE " + self.quotedIdentifier(role))
        } catch {
            self.close()
            throw error
        }
    }

    /// libpq is not known to print one; a password that equals the user name or the like is no secret to hide.
    private static func withoutPassword(_ message: String, _ handle: OpaquePointer) -> String {
        guard let password = PQpass(handle).map({ String(cString: $0) }), !password.isEmpty else { return message }
        let known = [PQuser(handle), PQdb(handle), PQhost(handle)].compactMap { $0.map { String(cString: $0) } }
        guard !known.contains(password) else { return message }
        return message.split(separator: password, omittingEmptySubsequences: false).joined(separator: "***")
    }
}

@available(*, unavailable)
extension Connection: Sendable {}
