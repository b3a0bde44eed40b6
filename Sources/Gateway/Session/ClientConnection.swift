import WebSocketTransport

/// What a session writes to; lives on its event loop.
protocol ClientConnection: AnyObject {
    /// Bytes that the socket has not taken yet.
    var queuedBytes: Int { get }

    func send(_ frame: OutboundFrame)

    func flush()

    func close(code: UInt16, reason: String)
}

extension WebSocketConnection: ClientConnection {}
