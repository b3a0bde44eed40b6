import Foundation
import Synchronization

/// A PostgreSQL server of our own, made from the programs on this machine; it dies with this process, however that
/// ends.
package final class PostgresCluster: Sendable {
    private enum Server {
        case running
        case down
        case gone
    }

    package let port: Int
    /// Holds the data, the socket and `server.log`.
    package let directory: String
    package var dataDirectory: String { self.directory + "/data" }
    package var logFile: String { self.directory + "/server.log" }

    private let supervisor: Supervisor
    private let startTimeout: Duration
    private let server = Mutex(Server.down)

    /// Returns when the server accepts connections.
    package static func start(_ options: Options = .init()) throws(EmbeddedPostgresError) -> PostgresCluster {
        let binaries = try Self.chosen(options.binaries, PostgresBinaries.directory)
        let user = try UnprivilegedUser.needed()
        let directory = try ClusterDirectory.make(options.directory, for: user)
        let supervisor: Supervisor
        do {
            supervisor = try Supervisor(
                binaries: binaries,
                directory: directory,
                isTemporary: options.directory == nil,
                user: user
            )
        } catch {
            if options.directory == nil { try? FileManager.default.removeItem(atPath: directory) }
            throw error
        }
        do {
            try Self.initialize(directory, supervisor, user)
            if !options.quiet { supervisor.follow() }
            return try Self.started(directory, supervisor, options)
        } catch {
            supervisor.end()
            throw error
        }
    }

    private static func initialize(
        _ directory: String,
        _ supervisor: Supervisor,
        _ user: UnprivilegedUser?
    ) throws(EmbeddedPostgresError) {
        guard !FileManager.default.fileExists(atPath: directory + "/data/PG_VERSION") else { return }
        switch supervisor.initialize() {
        case 0:
            return
        case nil:
            let who = user.map { "the user \($0.name)" } ?? "we"
            throw .unusableDirectory(path: directory, reason: "\(who) may not enter it")
        default:
            throw .initdbFailed(log: ClusterDirectory.logTail(directory))
        }
    }

    /// Another process may take a free port between our look and PostgreSQL's: then the next one is tried.
    private static func started(
        _ directory: String,
        _ supervisor: Supervisor,
        _ options: Options
    ) throws(EmbeddedPostgresError) -> PostgresCluster {
        var attemptsLeft = options.port == nil ? 5 : 1
        while true {
            attemptsLeft -= 1
            let port = try Self.chosen(options.port, ClusterDirectory.freePort)
            try ClusterDirectory.configure(directory, port: port, options)
            let cluster = PostgresCluster(port, directory, supervisor, options.startTimeout)
            do {
                try cluster.startServer()
                return cluster
            } catch {
                guard attemptsLeft > 0, error.description.contains("could not bind") else { throw error }
            }
        }
    }

    /// `??` does not know typed throws.
    private static func chosen<T>(
        _ choice: T?,
        _ fallback: () throws(EmbeddedPostgresError) -> T
    ) throws(EmbeddedPostgresError) -> T {
        if let choice { choice } else { try fallback() }
    }

    private init(_ port: Int, _ directory: String, _ supervisor: Supervisor, _ startTimeout: Duration) {
        self.port = port
        self.directory = directory
        self.supervisor = supervisor
        self.startTimeout = startTimeout
    }

    /// The socket is for the loopback interface, where everybody on this machine is trusted.
    package func url(database: String = "postgres", user: String = "postgres") -> String {
        func encoded(_ name: String) -> String {
            name.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? name
        }
        return "postgresql://\(encoded(user))@127.0.0.1:\(self.port)/\(encoded(database))"
    }

    /// Ends the cluster for good and removes a temporary directory; later calls do nothing.
    package func stop(mode: StopMode = .fast) {
        self.server.withLock { server in
            if server == .running { self.shutDown(mode) }
            if server != .gone { self.supervisor.end() }
            server = .gone
        }
    }

    /// Stops the server and keeps its data for `startServer`.
    package func stopServer(mode: StopMode = .fast) {
        self.server.withLock { server in
            guard server == .running else { return }
            self.shutDown(mode)
            server = .down
        }
    }

    package func startServer() throws(EmbeddedPostgresError) {
        try self.server.withLock { server throws(EmbeddedPostgresError) in
            switch server {
            case .running: return
            case .gone: throw .stopped
            case .down: break
            }
            try self.waitUntilReady()
            server = .running
        }
    }

    package func restart(mode: StopMode = .fast) throws(EmbeddedPostgresError) {
        self.stopServer(mode: mode)
        try self.startServer()
    }

    private func shutDown(_ mode: StopMode) {
        self.supervisor.signalServer(mode == .fast ? "INT" : "QUIT")
        // A session that does not end keeps a fast shutdown waiting.
        if !self.supervisor.serverExited(within: .seconds(30)) {
            self.supervisor.signalServer("KILL")
            _ = self.supervisor.serverExited(within: .seconds(30))
        }
    }

    private func waitUntilReady() throws(EmbeddedPostgresError) {
        let deadline = ContinuousClock.now + self.startTimeout
        self.supervisor.startServer()
        while !ClusterDirectory.isReady(self.directory) {
            if self.supervisor.serverExited(within: .milliseconds(10)) {
                throw .startFailed(reason: "it exited", log: ClusterDirectory.logTail(self.directory))
            }
            guard ContinuousClock.now < deadline else {
                self.shutDown(.immediate)
                let reason = "it was not ready after \(self.startTimeout)"
                throw .startFailed(reason: reason, log: ClusterDirectory.logTail(self.directory))
            }
        }
    }
}
