import WebSocketTransport

/// What a session writes to; lives on its event loop.
protocol ClientConnection: AnyObject {
    /// Bytes that the socket has not taken yet.
    var queuedBytes: Int { get }

    func send(_ frame: OutboundFrame)

    /// Sends and flushes.
    ///
    /// - Returns: `false`, with nothing done, when something waits to be sent or flushed before it.
    func sendNow(_ frame: OutboundFrame) -> Bool

    func flush()

    func close(code: UInt16, reason: String)
}

extension WebSocketConnection: ClientConnection {}
