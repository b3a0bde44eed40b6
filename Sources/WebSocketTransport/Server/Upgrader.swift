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
    private let deflate: PerMessageDeflate?
    private let malformed: @Sendable (HTTPRequestHead, HandshakeFault) -> Void
    private let install: @Sendable (any Channel, HTTPRequestHead, PerMessageDeflate?) -> EventLoopFuture<Outcome>

    /// - Parameters:
    ///   - deflate: accepted where it is offered; `nil` declines every extension.
    ///   - decide: headers to add to the 101 response (`Sec-WebSocket-Protocol`), or `nil` to refuse.
    ///   - malformed: called on the event loop before a request is refused for one of its header fields.
    ///   - install: called on the event loop after the 101 response, with the compression agreed on; calls
    ///     ``WebSocketConnection/install(on:)``.
    package init(
        deflate: PerMessageDeflate? = nil,
        decide: @escaping @Sendable (any Channel, HTTPRequestHead) -> EventLoopFuture<HTTPHeaders?>,
        malformed: @escaping @Sendable (HTTPRequestHead, HandshakeFault) -> Void = { _, _ in },
        install: @escaping @Sendable (any Channel, HTTPRequestHead, PerMessageDeflate?) -> EventLoopFuture<Outcome>
    ) {
        // Its own pipeline handler is never called: `upgrade` below does not go through it.
        self.handshake = NIOTypedWebSocketServerUpgrader(
            shouldUpgrade: decide,
            upgradePipelineHandler: { channel, _ in channel.eventLoop.makeSucceededVoidFuture() }
        )
        self.deflate = deflate
        self.malformed = malformed
        self.install = install
    }

    package func buildUpgradeResponse(
        channel: any Channel,
        upgradeRequest: HTTPRequestHead,
        initialResponseHeaders: HTTPHeaders
    ) -> EventLoopFuture<HTTPHeaders> {
        let extensions = self.extensions(upgradeRequest)
        // RFC 6455 §4.2.1; the handshake checks the first two as well, and fails without saying what was wrong.
        let fault: HandshakeFault? =
            if upgradeRequest.headers["sec-websocket-version"] != ["13"] {
                .version
            } else if upgradeRequest.headers["sec-websocket-key"].count != 1 {
                .key
            } else if case .malformed = extensions {
                .extensions
            } else {
                nil
            }
        if let fault {
            self.malformed(upgradeRequest, fault)
            return channel.eventLoop.makeFailedFuture(fault)
        }
        return self.handshake.buildUpgradeResponse(
            channel: channel,
            upgradeRequest: upgradeRequest,
            initialResponseHeaders: initialResponseHeaders
        ).map { headers in
            guard case .accepted(_, let header) = extensions else {
                return headers
            }
            var headers = headers
            headers.add(name: "Sec-WebSocket-Extensions", value: header)
            return headers
        }
    }

    package func upgrade(channel: any Channel, upgradeRequest: HTTPRequestHead) -> EventLoopFuture<Outcome> {
        // The request is the same as above, and so is the answer to it.
        guard case .accepted(let deflate, _) = self.extensions(upgradeRequest) else {
            return self.install(channel, upgradeRequest, nil)
        }
        return self.install(channel, upgradeRequest, deflate)
    }

    private func extensions(_ request: HTTPRequestHead) -> PerMessageDeflate.Answer {
        self.deflate?.answer(to: request.headers["sec-websocket-extensions"]) ?? .declined
    }
}

/// What is wrong with the header fields of a request to upgrade.
package enum HandshakeFault: Error {
    case version
    case key
    case extensions
}
