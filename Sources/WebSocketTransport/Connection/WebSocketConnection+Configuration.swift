extension WebSocketConnection {
    /// The bounds of one connection; every one of them ends in a close code.
    package struct Configuration: Sendable {
        /// Larger messages are closed with 1009.
        package var maxMessageBytes = 65_536
        /// Whether binary messages are kept; otherwise only that there was one is told.
        package var keepsBinary = false
        /// What the handshake agreed on; the limit above holds for a message as it comes and as it is decompressed.
        package var deflate: PerMessageDeflate?
        /// Frames waiting for a socket that takes no more, beyond the high water mark below.
        package var maxQueuedBytes = 1 << 20
        /// How long a socket may take no more before it is closed with `slowConsumer`.
        package var stallTimeout: Duration = .seconds(30)
        package var slowConsumer = CloseFrame(code: 4000, reason: "slow_consumer")
        /// `nil` sends no pings.
        package var pingInterval: Duration? = .seconds(25)
        package var pongTimeout: Duration = .seconds(20)
        package var pongTimedOut = CloseFrame(code: 4002, reason: "pong_timeout")
        /// Closes when no frame at all was received for so long; `nil` never does.
        package var idleTimeout: Duration?
        package var idleTimedOut = CloseFrame(code: 4002, reason: "idle_timeout")
        /// How long the peer may take to answer a Close frame.
        package var closeTimeout: Duration = .seconds(5)
        package var writeBufferLowWaterMark = 32 << 10
        package var writeBufferHighWaterMark = 128 << 10

        package init() {}
    }
}
