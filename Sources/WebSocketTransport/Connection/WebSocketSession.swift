package import NIOCore

/// What a connection tells its owner, always on the connection's event loop.
///
/// `drained` and `closed` never come from inside a call of `send`, `flush` or `close`, so that a caller may iterate over connections.
package protocol WebSocketSession: AnyObject {
    func opened(_ connection: WebSocketConnection)
    func received(text: ByteBuffer)
    /// The session decides what a binary message is worth; its bytes are gone.
    func receivedBinary()
    /// The same with its bytes, when the configuration keeps them.
    func received(binary: ByteBuffer)
    /// The server is shutting down: the session decides when to close with 1001.
    func draining()
    /// The queue is empty again and the socket takes more.
    func drained()
    /// Exactly once, as soon as nothing can be sent or received any more; the socket may live some seconds longer.
    func closed(_ reason: CloseReason)
}

extension WebSocketSession {
    package func drained() {}

    package func received(binary: ByteBuffer) { self.receivedBinary() }
}
