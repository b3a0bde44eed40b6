import EmbeddedPostgres
import LibPQ
import Logging

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// The server of all tests here; it ends with the process.
enum Server {
    private static let started = Swift.Result { try PostgresCluster.start() }

    static func cluster() throws -> PostgresCluster { try self.started.get() }

    static func settings(application: String = "tests", role: String? = nil) throws -> ConnectionSettings {
        ConnectionSettings(conninfo: try self.cluster().url(), applicationName: application, role: role)
    }

    static func connect(role: String? = nil) throws -> Connection {
        try Connection.open(self.settings(role: role))
    }
}

/// A connection pool that is shut down after the body, whatever happens.
func withPool<T>(
    _ settings: ConnectionSettings,
    size: Int = 1,
    maximumWaiting: Int = 10,
    observe: @escaping @Sendable (ConnectionPool.Event) -> Void = { _ in },
    _ body: (ConnectionPool) async throws -> T
) async throws -> T {
    let pool = try ConnectionPool(
        settings: settings,
        size: size,
        maximumWaiting: maximumWaiting,
        logger: .init(label: "test"),
        observe: observe
    )
    do {
        let value = try await body(pool)
        await pool.shutdown()
        return value
    } catch {
        await pool.shutdown()
        throw error
    }
}

struct ConditionTimedOut: Error {}

/// Looks again and again until the condition holds.
func waitUntil(_ timeout: Duration = .seconds(30), _ condition: () throws -> Bool) throws {
    let deadline = ContinuousClock.now + timeout
    while try !condition() {
        guard ContinuousClock.now < deadline else { throw ConditionTimedOut() }
        usleep(2_000)
    }
}

/// The same for asynchronous tests, whose threads are few and must not be blocked.
func eventually(_ timeout: Duration = .seconds(30), _ condition: () throws -> Bool) async throws {
    let deadline = ContinuousClock.now + timeout
    while try !condition() {
        guard ContinuousClock.now < deadline else { throw ConditionTimedOut() }
        try await Task.sleep(for: .milliseconds(2))
    }
}

/// The error a body throws, or nil.
func postgresError(_ body: () throws -> Void) -> PostgresError? {
    do {
        try body()
        return nil
    } catch {
        return error as? PostgresError
    }
}
