package import NIOCore
package import NIOHTTP1
import NIOWebSocket

/// Runs NIO's RFC 6455 handshake but installs our own pipeline: no `WebSocketFrameEncoder`, because frames reach the
/// channel already encoded and shared.
package struct Upgrader<Outcome: Sendable>: NIOTypedHTTPServerProtocolUpgrader {
    package typealias UpgradeResult = Outcome

    package let supportedProtocol = "websocket"
    package let requiredUpgradeHeaders: [String] = []

    private let handshake: NIOTypedWebSocketServerUpgrader<Void>
    private let install: @Sendable (any Channel, HTTPRequestHead) -> EventLoopFuture<Outcome>

    /// - Parameters:
    ///   - decide: headers to add to the 101 response (`Sec-WebSocket-Protocol`), or `nil` to refuse.
    ///   - install: called on the event loop after the 101 response; calls ``WebSocketConnection/install(on:)``.
    package init(
        decide: @escaping @Sendable (any Channel, HTTPRequestHead) -> EventLoopFuture<HTTPHeaders?>,
        install: @escaping @Sendable (any Channel, HTTPRequestHead) -> EventLoopFuture<Outcome>
    ) {
        // Its own pipeline handler is never called: `upgrade` below does not go through it.
        self.handshake = NIOTypedWebSocketServerUpgrader(
            shouldUpgrade: decide,
            upgradePipelineHandler: { channel, _ in channel.eventLoop.makeSucceededVoidFuture() }
        )
        self.install = install
    }

    package func buildUpgradeResponse(
        channel: any Channel,
        upgradeRequest: HTTPRequestHead,
        initialResponseHeaders: HTTPHeaders
    ) -> EventLoopFuture<HTTPHeaders> {
        self.handshake.buildUpgradeResponse(
            channel: channel,
            upgradeRequest: upgradeRequest,
            initialResponseHeaders: initialResponseHeaders
        )
    }

    package func upgrade(channel: any Channel, upgradeRequest: HTTPRequestHead) -> EventLoopFuture<Outcome> {
        self.install(channel, upgradeRequest)
    }
}
