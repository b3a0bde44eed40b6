package import NIOCore
import NIOWebSocket

extension WebSocketConnection {
    /// Makes an upgraded channel a WebSocket: decoder and this handler at the end of its pipeline, options set.
    /// If it throws, the channel is gone and the session hears nothing.
    package func install(on channel: any Channel) throws {
        if let options = channel.syncOptions {
            // HTTP servers may allow half closure; a WebSocket peer that half-closes is gone.
            try options.setOption(.allowRemoteHalfClosure, value: false)
            let (low, high) = (self.configuration.writeBufferLowWaterMark, self.configuration.writeBufferHighWaterMark)
            try options.setOption(.writeBufferWaterMark, value: .init(low: low, high: high))
        }
        let decoder = WebSocketFrameDecoder(maxFrameSize: self.configuration.maxMessageBytes)
        try channel.pipeline.syncOperations.addHandlers(ByteToMessageHandler(decoder), self)
    }
}
