import NIOCore
import NIOHTTP1

/// Builds the channel of one connection attempt, on its event loop.
struct ClientPipeline {
    let channel: any Channel
    let configuration: WebSocketClient.Configuration

    func install(
        endpoint: Endpoint,
        headers: [(String, String)],
        subprotocols: [String],
        timeout: Duration
    ) throws -> EventLoopFuture<ClientWebSocket> {
        let (channel, eventLoop) = (self.channel, self.channel.eventLoop)
        let outcome = ClientOutcome()
        let session = ClientSession(outcome: outcome)
        let bound = NIOLoopBound(session, eventLoop: eventLoop)
        let high = max(self.configuration.bufferedMessages, 1)
        let messages = ClientMessages.Producer.makeSequence(
            backPressureStrategy: .init(lowWatermark: max(high / 2, 1), highWatermark: high),
            finishOnDeinit: true,
            delegate: ClientMessages.Demand(session: bound, eventLoop: eventLoop, outcome: outcome)
        )
        session.source = messages.source
        let sequence = ClientMessages(base: messages.sequence)

        let encoder = HTTPRequestEncoder()
        let decoder = ByteToMessageHandler(HTTPResponseDecoder(leftOverBytesStrategy: .forwardBytes))
        let promise = eventLoop.makePromise(of: String?.self)
        let handshake = ClientHandshake(
            endpoint: endpoint,
            headers: headers,
            subprotocols: subprotocols,
            deflate: self.configuration.deflate,
            timeout: timeout,
            promise: promise
        ) { context, deflate in
            var configuration = self.configuration.connection
            configuration.deflate = deflate
            let connection = WebSocketConnection(
                configuration: configuration,
                session: session,
                isServer: false,
                eventLoop: eventLoop
            )
            let pipeline = context.pipeline.syncOperations
            return pipeline.removeHandler(encoder).and(pipeline.removeHandler(decoder)).assumeIsolated().flatMapThrowing
            {
                _ in
                try connection.install(on: context.channel)
            }
        }
        do {
            try channel.pipeline.syncOperations.addHandlers(encoder, decoder, handshake)
        } catch {
            promise.fail(error)
            throw error
        }
        return promise.futureResult.map { subprotocol in
            ClientWebSocket(
                subprotocol: subprotocol,
                messages: sequence,
                channel: channel,
                session: bound,
                outcome: outcome
            )
        }
    }
}
