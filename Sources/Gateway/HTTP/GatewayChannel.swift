import Feed
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1
import WebSocketTransport

/// Serves HTTP/1.1 through the router and hands accepted upgrades to a session on the channel's event loop.
struct GatewayChannel: ServerChildChannel, HTTPChannelHandler {
    enum Outcome: Sendable {
        case http(NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>)
        case refused(NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>, Problem)
        case webSocket
    }

    struct Value: ServerChildChannelValue {
        let channel: any Channel
        let outcome: EventLoopFuture<Outcome>
        /// Closes a peer that connects and then says nothing, or says something that is not HTTP.
        let handshakeDeadline: Scheduled<Void>
    }

    let responder: HTTPChannelHandler.Responder
    let admission: Admission
    let census: ConnectionCensus
    let hub: Hub
    let context: Shared<SessionContext>
    let webSocket: Shared<WebSocketConnection.Configuration>
    /// `nil`: plain text.
    let certificate: ServerCertificate?
    /// `nil`: messages are not compressed.
    let deflate: PerMessageDeflate?
    let handshakeTimeout: TimeAmount = .seconds(10)
    let idleTimeout: Duration = .seconds(60)

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            try ReadBuffers.install(on: channel)
            if let certificate { try channel.pipeline.syncOperations.addHandler(certificate.handler) }
            let seat = self.census.enter(channel.remoteAddress)
            if let seat { channel.closeFuture.whenComplete { _ in self.census.leave(seat) } }
            let decision = NIOLoopBoundBox<Admission.Decision?>(nil, eventLoop: channel.eventLoop)
            let upgrader = Upgrader<Outcome>(
                deflate: self.deflate,
                decide: { channel, head in
                    if let seat, let refusal = self.census.refusal(of: seat) {
                        decision.value = .refused(self.problem(refusal))
                        return channel.eventLoop.makeSucceededFuture(nil)
                    }
                    return channel.eventLoop.makeFutureWithTask { await self.admission.decide(head) }.map { verdict in
                        decision.value = verdict
                        guard let seat, case .accepted(let accepted) = verdict else { return nil }
                        let user = (accepted.identity?.user).map { ByteText($0) }
                        if let refusal = self.census.upgrade(seat, user: user) {
                            decision.value = .refused(self.problem(refusal))
                            return nil
                        }
                        return accepted.responseHeaders
                    }
                },
                malformed: { _, fault in
                    let problem: Problem =
                        switch fault {
                        case .version: .upgradeRequired
                        case .key: .badRequest("send one Sec-WebSocket-Key")
                        case .extensions: .badRequest("Sec-WebSocket-Extensions is malformed (RFC 6455, section 9.1)")
                        }
                    decision.value = .refused(problem)
                },
                install: { channel, _, deflate in
                    channel.eventLoop.makeCompletedFuture {
                        guard let seat, case .accepted(let accepted) = decision.value else {
                            preconditionFailure("upgraded without a decision")
                        }
                        try self.install(accepted, seat, deflate, on: channel)
                        return .webSocket
                    }
                }
            )
            var pipeline = NIOUpgradableHTTPServerPipelineConfiguration(
                upgradeConfiguration: .init(
                    upgraders: [upgrader],
                    notUpgradingCompletionHandler: { channel in
                        channel.eventLoop.makeCompletedFuture {
                            if let seat { self.census.becameHTTP(seat) }
                            let http = try self.http(channel, seat, logger)
                            if case .refused(let problem) = decision.value { return .refused(http, problem) }
                            return .http(http)
                        }
                    }
                )
            )
            // The async channel serialises requests, and answers what cannot be parsed itself.
            pipeline.enablePipelining = false
            pipeline.enableErrorHandling = false
            pipeline.enableResponseHeaderValidation = false
            let outcome = try channel.pipeline.syncOperations.configureUpgradableHTTPServerPipeline(
                configuration: pipeline
            )
            let handlers = channel.pipeline.syncOperations
            let upgrade = try handlers.handler(type: NIOTypedHTTPServerUpgradeHandler<Outcome>.self)
            try handlers.addHandler(OtherUpgrades(), position: .before(upgrade))
            let patience = seat == nil ? .zero : self.handshakeTimeout
            let deadline = channel.eventLoop.scheduleTask(in: patience) { channel.close(promise: nil) }
            return Value(channel: channel, outcome: outcome, handshakeDeadline: deadline)
        }
    }

    private func http(
        _ channel: any Channel,
        _ seat: ConnectionCensus.Seat?,
        _ logger: Logger
    ) throws -> NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart> {
        if let seat { try EventStreamConnection(seat: seat).install(on: channel) }
        try channel.pipeline.syncOperations.addHandler(HTTP1ToHTTPServerCodec(secure: self.certificate != nil))
        try channel.pipeline.syncOperations.addHandler(
            HTTPConnectionStateHandler(idleTimeout: self.idleTimeout, logger: logger)
        )
        return try NIOAsyncChannel(
            wrappingChannelSynchronously: channel,
            configuration: .init(isOutboundHalfClosureEnabled: true)
        )
    }

    private func problem(_ refusal: ConnectionCensus.Refusal) -> Problem {
        self.context.value.metrics.refusals.increment(refusal)
        return Problem(refusal, self.census.limits)
    }

    private func install(
        _ accepted: Admission.Accepted,
        _ seat: ConnectionCensus.Seat,
        _ deflate: PerMessageDeflate?,
        on channel: any Channel
    ) throws {
        guard let shard = self.hub.shard(of: channel.eventLoop) else {
            preconditionFailure("a connection on an event loop that has no shard")
        }
        let session = Session(
            tongue: self.tongue(accepted.dialect, shard.value),
            identity: accepted.identity,
            seat: seat,
            context: self.context,
            shard: shard.value,
            eventLoop: channel.eventLoop
        )
        let connection = WebSocketConnection(
            configuration: self.configuration(deflate, accepted.dialect),
            session: session,
            eventLoop: channel.eventLoop
        )
        try connection.install(on: channel)
    }

    private func tongue(_ dialect: Admission.Dialect, _ shard: Shard) -> any Tongue {
        switch dialect {
        case .native: NativeTongue.shared
        case .supabase(let upgrade):
            SupabaseTongue(upgrade, limit: self.context.value.limits.subscriptions) { shard.catalog }
        }
    }

    private func configuration(
        _ deflate: PerMessageDeflate?,
        _ dialect: Admission.Dialect
    ) -> Shared<WebSocketConnection.Configuration> {
        let keepsBinary = if case .supabase = dialect { true } else { false }
        guard deflate != nil || keepsBinary else { return self.webSocket }
        var configuration = self.webSocket.value
        configuration.deflate = deflate
        configuration.keepsBinary = keepsBinary
        return Shared(configuration)
    }

    static func configuration(
        messageBytes: Int,
        pingInterval: Duration
    ) -> Shared<WebSocketConnection.Configuration> {
        var configuration = WebSocketConnection.Configuration()
        configuration.maxMessageBytes = messageBytes
        // The session's outbox hands over little at once and has the bound; a single frame may be of any size.
        configuration.maxQueuedBytes = .max
        configuration.pingInterval = pingInterval
        configuration.pongTimeout = min(configuration.pongTimeout, pingInterval)
        return Shared(configuration)
    }

    func handle(value: Value, logger: Logger) async {
        await withTaskCancellationHandler {
            do {
                let outcome = try await value.outcome.get()
                value.handshakeDeadline.cancel()
                switch outcome {
                case .http(let http): await self.handleHTTP(asyncChannel: http, logger: logger)
                case .refused(let http, let problem): try await self.refuse(http, problem)
                // A task that waits for the end of each takes 5 KB; the census waits for all.
                case .webSocket: break
                }
            } catch {
                // A failed upgrade leaves nobody else who would close the socket.
                value.handshakeDeadline.cancel()
                value.channel.close(promise: nil)
            }
        } onCancel: {
            value.channel.close(promise: nil)
        }
    }

    private func refuse(
        _ http: NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>,
        _ problem: Problem
    ) async throws {
        self.context.value.metrics.httpResponse(status: problem.status.code)
        try await http.executeThenClose { _, outbound in
            var headers = problem.headers
            let body = problem.body
            headers[.connection] = "close"
            headers[.contentLength] = String(body.count)
            try await outbound.write(.head(HTTPResponse(status: problem.status, headerFields: headers)))
            try await outbound.write(.body(ByteBuffer(bytes: body)))
            try await outbound.write(.end(nil))
        }
    }
}
