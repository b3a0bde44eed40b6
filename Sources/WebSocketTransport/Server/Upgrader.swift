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
    private let malformed: @Sendable (HTTPRequestHead) -> Void
    private let install: @Sendable (any Channel, HTTPRequestHead) -> EventLoopFuture<Outcome>

    /// - Parameters:
    ///   - decide: headers to add to the 101 response (`Sec-WebSocket-Protocol`), or `nil` to refuse.
    ///   - malformed: called on the event loop before a request is refused for its version or key.
    ///   - install: called on the event loop after the 101 response; calls ``WebSocketConnection/install(on:)``.
    package init(
        decide: @escaping @Sendable (any Channel, HTTPRequestHead) -> EventLoopFuture<HTTPHeaders?>,
        malformed: @escaping @Sendable (HTTPRequestHead) -> Void = { _ in },
        install: @escaping @Sendable (any Channel, HTTPRequestHead) -> EventLoopFuture<Outcome>
    ) {
        // Its own pipeline handler is never called: `upgrade` below does not go through it.
        self.handshake = NIOTypedWebSocketServerUpgrader(
            shouldUpgrade: decide,
            upgradePipelineHandler: { channel, _ in channel.eventLoop.makeSucceededVoidFuture() }
        )
        self.malformed = malformed
        self.install = install
    }

    package func buildUpgradeResponse(
        channel: any Channel,
        upgradeRequest: HTTPRequestHead,
        initialResponseHeaders: HTTPHeaders
    ) -> EventLoopFuture<HTTPHeaders> {
        // RFC 6455 §4.2.1; the handshake checks the same, and fails without saying what was wrong.
        if upgradeRequest.headers["sec-websocket-version"] != ["13"]
            || upgradeRequest.headers["sec-websocket-key"].count != 1
        {
            self.malformed(upgradeRequest)
        }
        return self.handshake.buildUpgradeResponse(
            channel: channel,
            upgradeRequest: upgradeRequest,
            initialResponseHeaders: initialResponseHeaders
        )
    }

    package func upgrade(channel: any Channel, upgradeRequest: HTTPRequestHead) -> EventLoopFuture<Outcome> {
        self.install(channel, upgradeRequest)
    }
}
