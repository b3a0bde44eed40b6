import Feed
import LibPQ
import Synchronization
import WebSocketTransport

/// What several metrics make of one event.
extension GatewayMetrics {
    func connectionOpened() {
        self.connections.increment()
        self.connectionsOpened.increment()
    }

    /// Once for each connection, when its user is known.
    func authenticated(_ identity: Identity) {
        self.users.set(self.userTable.add(ByteText(identity.user)))
    }

    /// - Parameter identity: `nil` if it was never known.
    func connectionClosed(_ identity: Identity?, _ reason: CloseReason) {
        self.connections.decrement()
        self.disconnects.increment(Disconnect(reason))
        if let identity { self.users.set(self.userTable.remove(ByteText(identity.user))) }
    }

    @Sendable
    func poolEvent(_ event: ConnectionPool.Event) {
        switch event {
        case .ran(let waited, let used):
            self.poolWait.record(waited)
            self.poolUse.record(used)
        case .refused: self.poolRefusals.increment()
        }
    }

    func httpResponse(status: Int) {
        self.httpResponses.increment(HTTPStatusLabel.of(status))
    }
}

/// How many connections each user has on this node.
final class UserTable: Sendable {
    private let connections = Mutex<[ByteText: Int]>([:])

    /// The number of users afterwards.
    func add(_ user: ByteText) -> Int {
        self.connections.withLock { connections in
            connections[user, default: 0] += 1
            return connections.count
        }
    }

    /// The number of users afterwards.
    func remove(_ user: ByteText) -> Int {
        self.connections.withLock { connections in
            let left = (connections[user] ?? 0) - 1
            connections[user] = left > 0 ? left : nil
            return connections.count
        }
    }
}
