import Logging

/// The connection of one pool thread, used only there: opened when first needed and again after a loss.
final class PooledConnection {
    private static let firstPause = Duration.milliseconds(50)
    private static let longestPause = Duration.seconds(3)

    private let settings: ConnectionSettings
    private let logger: Logger
    private let queue: WorkQueue
    private let abandon: Wakeup
    private var connection: Connection?
    /// Nil as long as the last attempt to connect succeeded.
    private var pause: Duration?

    init(settings: ConnectionSettings, logger: Logger, queue: WorkQueue, abandon: Wakeup) {
        self.settings = settings
        self.logger = logger
        self.queue = queue
        self.abandon = abandon
    }

    func close() {
        self.connection?.close()
        self.connection = nil
    }

    /// Runs `body`, a second time if its first connection was lost before a statement had been sent.
    func lend<T>(to body: (Connection) throws -> T) throws -> T {
        let connection = try self.liveConnection()
        connection.hasSent = false
        do {
            defer { self.takeBack(connection) }
            return try body(connection)
        } catch let error as PostgresError where error.kind == .connection && !connection.hasSent {
            self.logger.debug("running a body again: its connection was lost before it sent a statement")
        }
        let another = try self.liveConnection()
        defer { self.takeBack(another) }
        return try body(another)
    }

    private func takeBack(_ connection: Connection) {
        let pid = connection.backendPID
        if connection.transactionStatus == .inTransaction || connection.transactionStatus == .failed {
            try? connection.execute("ROLLBACK")
        }
        guard connection.transactionStatus != .idle else { return }
        self.logger.warning("a connection to PostgreSQL was lost", metadata: ["pid": "\(pid)"])
        self.close()
    }

    private func liveConnection() throws -> Connection {
        if let connection = self.connection {
            guard let loss = connection.loss() else { return connection }
            self.logger.warning("an idle connection to PostgreSQL was lost", metadata: ["error": "\(loss)"])
            self.close()
        }
        if let pause = self.pause, !self.queue.pause(for: pause * Double.random(in: 0.5...1)) {
            throw PoolError.shutdown
        }
        do {
            let connection = try Connection.open(self.settings, abandon: self.abandon)
            self.connection = connection
            self.pause = nil
            return connection
        } catch {
            let longer = self.pause.map { min($0 * 2, Self.longestPause) } ?? Self.firstPause
            self.pause = longer
            self.logger.warning("cannot connect to PostgreSQL", metadata: ["error": "\(error)"])
            throw error
        }
    }
}
