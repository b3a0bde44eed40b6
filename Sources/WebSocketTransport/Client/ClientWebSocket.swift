import NIOCore
import NIOWebSocket
import Synchronization

/// An open connection of a client; dropping it, or the consumer of its messages, closes it.
package final class ClientWebSocket: Sendable {
    /// What the server selected of the subprotocols offered.
    package let subprotocol: String?
    /// To be iterated once; ends when the connection is closed, after which `closeReason` says why.
    package let messages: ClientMessages

    private let channel: any Channel
    private let session: NIOLoopBound<ClientSession>
    private let outcome: ClientOutcome

    init(
        subprotocol: String?,
        messages: ClientMessages,
        channel: any Channel,
        session: NIOLoopBound<ClientSession>,
        outcome: ClientOutcome
    ) {
        self.subprotocol = subprotocol
        self.messages = messages
        self.channel = channel
        self.session = session
        self.outcome = outcome
    }

    package var closeReason: CloseReason? {
        self.outcome.closeReason.withLock { $0 }
    }

    /// Returns when the socket took the message, so that a sender is as slow as its connection.
    package func send(text: String) async throws(WebSocketClientError) {
        let message = ByteBuffer(string: text)
        let (session, eventLoop) = (self.session, self.channel.eventLoop)
        do {
            try await eventLoop.flatSubmit { session.value.send(message, on: eventLoop) }.get()
        } catch {
            throw error as? WebSocketClientError ?? .closed(self.closeReason ?? .connectionLost)
        }
    }

    /// Returns when the connection is gone, which takes a silent server `closeTimeout` at most.
    package func close(code: UInt16 = 1000, reason: String = "") async {
        let session = self.session
        self.channel.eventLoop.execute { session.value.close(code: code, reason: reason) }
        try? await self.channel.closeFuture.get()
    }
}
