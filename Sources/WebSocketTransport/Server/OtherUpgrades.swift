package import NIOCore
package import NIOHTTP1

/// Drops the wish of a connection's first request for a protocol that is not spoken here, as RFC 9110 §7.8 allows.
///
/// NIO's upgrade handler loses the head of such a request (2.101.2), and Java's HTTP client wishes for `h2c` with each.
package final class OtherUpgrades: ChannelInboundHandler, RemovableChannelHandler {
    package typealias InboundIn = HTTPServerRequestPart
    package typealias InboundOut = HTTPServerRequestPart

    package init() {}

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .head(var head) = self.unwrapInboundIn(data) else { return context.fireChannelRead(data) }
        if !head.headers[canonicalForm: "upgrade"].contains(where: { $0.lowercased() == "websocket" }) {
            head.headers.remove(name: "upgrade")
        }
        let pipeline = context.pipeline
        context.fireChannelRead(self.wrapInboundOut(.head(head)))
        // What comes after an upgrade is no HTTP.
        pipeline.syncOperations.removeHandler(self, promise: nil)
    }
}
