import NIOCore
import Synchronization

/// The client's side of a connection; lives on the connection's event loop.
final class ClientSession: WebSocketSession {
    var source: ClientMessages.Producer.Source?
    private let outcome: ClientOutcome
    private var connection: WebSocketConnection?
    private var isPaused = false
    private var waiting: [EventLoopPromise<Void>] = []

    init(outcome: ClientOutcome) {
        self.outcome = outcome
    }

    func opened(_ connection: WebSocketConnection) {
        self.connection = connection
    }

    func received(text: ByteBuffer) {
        switch self.source?.yield(ClientMessage(bytes: Array(text.readableBytesView))) {
        case .stopProducing:
            self.isPaused = true
            self.connection?.setReading(false)
        case .produceMore, .dropped, nil:
            break
        }
    }

    func receivedBinary() {
        self.connection?.close(code: 1003, reason: "binary messages are not understood")
    }

    func draining() {
        self.connection?.close(code: 1001, reason: "")
    }

    func drained() {
        let waiting = self.waiting
        self.waiting = []
        for promise in waiting {
            promise.succeed()
        }
    }

    func closed(_ reason: CloseReason) {
        self.outcome.closeReason.withLock { $0 = $0 ?? reason }
        if self.isPaused {
            // The peer's Close and its FIN must be read even when nobody reads messages.
            self.connection?.setReading(true)
        }
        self.connection = nil
        self.source?.finish()
        self.source = nil
        let waiting = self.waiting
        self.waiting = []
        for promise in waiting {
            promise.fail(WebSocketClientError.closed(reason))
        }
    }

    /// Completes when the socket has taken what was sent before, or fails with ``WebSocketClientError/closed(_:)``.
    func send(_ text: ByteBuffer, on eventLoop: any EventLoop) -> EventLoopFuture<Void> {
        guard let connection = self.connection, connection.isOpen else {
            return eventLoop.makeFailedFuture(
                WebSocketClientError.closed(self.outcome.closeReason.withLock { $0 } ?? .connectionLost)
            )
        }
        connection.send(text: text)
        connection.flush()
        guard connection.isCongested else {
            return eventLoop.makeSucceededVoidFuture()
        }
        let promise = eventLoop.makePromise(of: Void.self)
        self.waiting.append(promise)
        return promise.futureResult
    }

    func close(code: UInt16, reason: String) {
        self.connection?.close(code: code, reason: reason)
    }

    func moreWanted() {
        if self.isPaused {
            self.isPaused = false
            self.connection?.setReading(true)
        }
    }

    func consumerLeft() {
        self.connection?.close(code: 1000, reason: "")
    }
}

/// How a client's connection ended, readable from anywhere.
final class ClientOutcome: Sendable {
    let closeReason = Mutex<CloseReason?>(nil)
}
