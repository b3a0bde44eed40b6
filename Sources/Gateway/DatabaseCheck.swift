import Feed
package import LibPQ
package import Logging

/// Finds out before anybody connects whether the database can be served from, and says what to do when it cannot.
package struct DatabaseCheck: Sendable {
    package enum Failure: Error, Sendable {
        /// Nobody answers; it may come back.
        case unavailable(PostgresError)
        /// It answers, but has to be set up first.
        case configuration(message: String)

        package var message: String {
            switch self {
            case .unavailable(let error): "the database cannot be reached: \(error)"
            case .configuration(let message): message
            }
        }
    }

    package struct Report: Sendable {
        package let serverVersion: Int
        package let feeds: [String]
        /// What works but should be otherwise.
        package let warning: String?
        /// Settings that also take on the runtime role.
        package let settings: ConnectionSettings
        /// Whether notifications arrive. They do not behind a pooler that lends sessions by the transaction.
        package let canListen: Bool
    }

    private let settings: ConnectionSettings
    private let logger: Logger

    package init(settings: ConnectionSettings, logger: Logger) {
        self.settings = settings
        self.logger = logger
    }

    package func waitUntilUsable(timeout: Duration) async throws(Failure) -> Report {
        let deadline = ContinuousClock.now + timeout
        var said = false
        while true {
            do throws(Failure) {
                let report = try await self.run()
                if let warning = report.warning { self.logger.warning("\(warning)") }
                return report
            } catch {
                guard case .unavailable(let reason) = error, .now < deadline, !Task.isCancelled else { throw error }
                if !said { self.logger.warning("Waiting for the database", metadata: ["error": "\(reason)"]) }
                said = true
                try? await Task.sleep(for: .milliseconds(250))
            }
        }
    }

    package func run() async throws(Failure) -> Report {
        let settings = self.settings
        let result = await withCheckedContinuation { continuation in
            let thread = WorkerThread(name: "jobfeed-check") {
                continuation.resume(returning: Swift.Result { () throws(Failure) in try Self.check(settings) })
            }
            _ = thread
        }
        return try result.get()
    }

    private static func check(_ settings: ConnectionSettings) throws(Failure) -> Report {
        do {
            return try Self.report(settings)
        } catch let error as PostgresError where error.message.contains("unsupported startup parameter") {
            // PgBouncer's words.
            do {
                return try Self.report(settings.pooled(true))
            } catch {
                throw Self.failure(error)
            }
        } catch {
            throw Self.failure(error)
        }
    }

    private static func failure(_ error: any Error) -> Failure {
        if let failure = error as? Failure { return failure }
        guard var error = error as? PostgresError else { return .configuration(message: "\(error)") }
        if let hint = DatabaseAdvice.hint(for: error) {
            error.hint = hint
            return .configuration(message: "the database refuses: \(error)")
        }
        return Self.isPassing(error) ? .unavailable(error) : .configuration(message: "\(error)")
    }

    private static func report(_ settings: ConnectionSettings) throws -> Report {
        let connection = try Connection.open(settings)
        defer { connection.close() }
        let warning = try Self.checkInstallation(connection)
        var settings = settings.with(role: Gateway.role)
        let gateway = try Connection.open(settings)
        defer { gateway.close() }
        let version = try gateway.query("SELECT version FROM jobfeed.installation").int64(0, 0) ?? 0
        guard version >= Gateway.schemaVersion else {
            throw Failure.configuration(
                message: "the schema jobfeed in this database has version \(version), this program needs "
                    + "\(Gateway.schemaVersion); run `jobfeed-server install` as the role that owns the tables"
            )
        }
        let feeds = try Catalog.load(gateway).keys.sorted()
        let canListen = try Self.canListen(settings, ringing: gateway)
        if !canListen { settings = settings.pooled(true) }
        return Report(
            serverVersion: connection.serverVersion,
            feeds: feeds,
            warning: warning,
            settings: settings,
            canListen: canListen
        )
    }

    /// - Returns: what works but should be otherwise.
    private static func checkInstallation(_ connection: Connection) throws -> String? {
        let installed = try connection.query(
            """
            SELECT to_regclass('jobfeed.installation') IS NOT NULL,
                   coalesce((SELECT pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = $1), false),
                   current_user, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
            """,
            [Gateway.role]
        )
        let user = installed.string(0, 2) ?? "?"
        guard installed.bool(0, 0) == true else {
            throw Failure.configuration(
                message:
                    "jobfeed is not installed in this database; run `jobfeed-server install` as the role that owns the tables"
            )
        }
        guard installed.bool(0, 1) == true else {
            throw Failure.configuration(
                message: "role \(user) may not act as \(Gateway.role); run: GRANT \(Gateway.role) TO \(user)"
            )
        }
        guard installed.bool(0, 3) == true else { return nil }
        return "role \(user) is a superuser; the gateway acts as \(Gateway.role), but a login of its own (GRANT "
            + "\(Gateway.role) TO …) would be worth less to a thief"
    }

    /// Whether a notification that one session sends arrives at another.
    private static func canListen(_ settings: ConnectionSettings, ringing connection: Connection) throws -> Bool {
        let listener: Listener
        do {
            listener = try Listener.open(settings, channel: "jobfeed_check", wakeup: try Wakeup())
        } catch {
            guard error.kind == .server else { throw error }
            return false
        }
        defer { listener.close() }
        _ = try connection.query("SELECT pg_notify('jobfeed_check', '')")
        if case .notified = listener.wait(.seconds(2)) { return true }
        return false
    }

    /// No server, one that starts or stops, or too many connections: worth another try. A wrong password or database is not.
    private static func isPassing(_ error: PostgresError) -> Bool {
        if let state = error.sqlState {
            return state.hasPrefix("57P") || state.hasPrefix("53") || state.hasPrefix("08")
        }
        // libpq 15 has no SQLSTATE for a refused login, only the server's words; these pass by themselves.
        let passing = ["starting up", "shutting down", "recovery", "too many", "remaining connection slots"]
        let isRefusal = error.message.contains("FATAL:") && !passing.contains(where: error.message.contains)
        return error.kind == .connection && !isRefusal
    }
}
