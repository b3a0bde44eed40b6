import CLibPQ

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// A session that LISTENs on one channel; blocking, owned by one thread.
package final class Listener {
    package enum Event: Sendable {
        case notified(count: Int)
        case woken
        case timedOut
        /// The session is gone: close this listener, open another, then read what was missed.
        case lost(PostgresError)
    }

    private let connection: Connection
    private let wakeup: Wakeup

    /// Throws when the session does not keep its LISTEN, as behind a pooler in transaction mode.
    package static func open(
        _ settings: ConnectionSettings,
        channel: String,
        wakeup: Wakeup,
        abandon: Wakeup? = nil
    ) throws(PostgresError) -> Listener {
        // Its statements take no time, so that a long silence means nothing else.
        let patience = min(settings.responseTimeout, .seconds(10))
        let connection = try Connection.open(settings.with(responseTimeout: patience), abandon: abandon)
        try connection.execute("LISTEN " + connection.quotedIdentifier(channel))
        let listening = try connection.query(
            "SELECT count(*) FROM pg_catalog.pg_listening_channels() AS channel WHERE channel = $1",
            [channel]
        )
        guard listening.int64(0, 0) == 1 else {
            throw PostgresError(
                kind: .server,
                message: "LISTEN did not last beyond its statement: the connection goes through a transaction pooler",
                hint: "give the listener a direct connection to PostgreSQL"
            )
        }
        return Listener(connection, wakeup)
    }

    private init(_ connection: Connection, _ wakeup: Wakeup) {
        self.connection = connection
        self.wakeup = wakeup
    }

    package var backendPID: Int32 { self.connection.backendPID }

    package func close() {
        self.connection.close()
    }

    /// Waits for notifications, a signal of the wakeup or the timeout; notifications that have arrived come first.
    package func wait(_ timeout: Duration) -> Event {
        let deadline = ContinuousClock.now + timeout
        while true {
            let handle: OpaquePointer
            do { handle = try self.connection.live() } catch { return .lost(error) }
            // Before poll(2): with TLS, bytes that have been read may wait inside libpq, where poll cannot see them.
            let loss = self.connection.consumeInput(handle)
            let count = Self.takeNotifications(handle)
            if count > 0 { return .notified(count: count) }
            if let loss { return .lost(loss) }

            switch Poll.wait(.reading, PQsocket(handle), self.wakeup.readDescriptor, until: deadline) {
            case .timedOut:
                return .timedOut
            case .ready(first: false, second: true):
                self.wakeup.clear()
                return .woken
            case .ready:
                continue
            }
        }
    }

    /// Forgets the notifications that have arrived, without waiting.
    package func drain() -> Event {
        guard let handle = try? self.connection.live() else { return .lost(.closed) }
        let loss = self.connection.consumeInput(handle)
        let count = Self.takeNotifications(handle)
        if let loss { return .lost(loss) }
        return count > 0 ? .notified(count: count) : .timedOut
    }

    /// Asks the server for a sign of life; a session that does not give one in time is closed.
    package func check() throws(PostgresError) {
        try self.connection.execute("SELECT 1")
    }

    private static func takeNotifications(_ handle: OpaquePointer) -> Int {
        var count = 0
        while let notification = PQnotifies(handle) {
            PQfreemem(notification)
            count += 1
        }
        return count
    }
}

@available(*, unavailable)
extension Listener: Sendable {}
