import LibPQ
import WebSocketTransport

/// What several metrics make of one event.
extension GatewayMetrics {
    func connectionOpened() {
        self.connections.increment()
        self.connectionsOpened.increment()
    }

    func connectionClosed(_ reason: CloseReason) {
        self.connections.decrement()
        self.disconnects.increment(Disconnect(reason))
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

    @Sendable
    func deflated(_ plainBytes: Int, _ sentBytes: Int) {
        self.deflatePlainBytes.increment(by: plainBytes)
        self.deflateSentBytes.increment(by: sentBytes)
    }

    func httpResponse(status: Int) {
        self.httpResponses.increment(HTTPStatusLabel.of(status))
    }

    func count(_ event: RemoteKeys.Event) {
        switch event {
        case .fetched(let set):
            self.keyFetches.increment(.ok)
            self.keys.set(set.keys.count)
        case .failed(let failure): self.keyFetches.increment(KeyFetchOutcome(failure.kind))
        case .unknownKey: self.unknownKeys.increment()
        }
    }
}
