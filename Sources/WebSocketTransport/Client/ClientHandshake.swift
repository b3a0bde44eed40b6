import NIOCore
import NIOHTTP1
import NIOSSL
import NIOWebSocket

/// Asks for the upgrade, checks the answer, and then makes way for the frames.
final class ClientHandshake: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private static let maximumBodyBytes = 16 << 10

    private enum State {
        case waiting
        case accepted(Accepted)
        case refused(HTTPResponseHead, body: [UInt8])
        /// The HTTP handlers are leaving; frames that came along with the answer wait, because the decoder also looks at
        /// writes and traps on one that is no HTTP.
        case upgrading([NIOAny])
        case finished
    }

    private struct Accepted {
        let subprotocol: String?
        let deflate: PerMessageDeflate?
    }

    private let endpoint: Endpoint
    private let head: HTTPRequestHead
    private let subprotocols: [String]
    private let deflate: PerMessageDeflate?
    private let timeout: Duration
    /// Used for its key only: it knows the SHA-1 that RFC 6455 section 4.1 asks for.
    private let key: NIOWebSocketClientUpgrader
    private let promise: EventLoopPromise<String?>
    /// Takes the HTTP handlers out of the pipeline and then puts those of the WebSocket in.
    private let upgrade: (ChannelHandlerContext, PerMessageDeflate?) -> EventLoopFuture<Void>.Isolated
    private var state = State.waiting
    private var hasSentRequest = false
    private var deadline: Scheduled<Void>?

    init(
        endpoint: Endpoint,
        headers: [(String, String)],
        subprotocols: [String],
        deflate: PerMessageDeflate?,
        timeout: Duration,
        promise: EventLoopPromise<String?>,
        upgrade: @escaping (ChannelHandlerContext, PerMessageDeflate?) -> EventLoopFuture<Void>.Isolated
    ) {
        self.endpoint = endpoint
        self.subprotocols = subprotocols
        self.deflate = deflate
        self.timeout = timeout
        self.promise = promise
        self.upgrade = upgrade
        self.key = NIOWebSocketClientUpgrader { channel, _ in channel.eventLoop.makeSucceededVoidFuture() }
        var fields = HTTPHeaders([("Host", endpoint.hostHeader), ("Connection", "Upgrade"), ("Upgrade", "websocket")])
        self.key.addCustom(upgradeRequestHeaders: &fields)
        if !subprotocols.isEmpty {
            fields.add(name: "Sec-WebSocket-Protocol", value: subprotocols.joined(separator: ", "))
        }
        if deflate != nil {
            fields.add(name: "Sec-WebSocket-Extensions", value: PerMessageDeflate.offer)
        }
        fields.add(contentsOf: headers)
        self.head = HTTPRequestHead(version: .http1_1, method: .GET, uri: endpoint.target, headers: fields)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive {
            self.sendRequest(context)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.finish(.handshakeInvalid("the connection ended before the answer"))
    }

    func channelActive(context: ChannelHandlerContext) {
        self.sendRequest(context)
        context.fireChannelActive()
    }

    private func sendRequest(_ context: ChannelHandlerContext) {
        guard !self.hasSentRequest else {
            return
        }
        self.hasSentRequest = true
        let timeout = TimeAmount(self.timeout)
        self.deadline = context.eventLoop.assumeIsolated().scheduleTask(in: timeout) {
            self.finish(.timeout(host: self.endpoint.host, port: self.endpoint.port, after: self.timeout))
            context.close(promise: nil)
        }
        context.write(self.wrapOutboundOut(.head(self.head)), promise: nil)
        context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.state {
        case .waiting:
            guard case .head(let head) = self.unwrapInboundIn(data) else {
                return
            }
            guard head.status == .switchingProtocols else {
                self.state = .refused(head, body: [])
                return
            }
            do throws(WebSocketClientError) {
                self.state = .accepted(try self.check(head))
            } catch {
                self.finish(error)
                context.close(promise: nil)
            }
        case .accepted(let accepted):
            guard case .end = self.unwrapInboundIn(data) else {
                return
            }
            self.state = .upgrading([])
            self.startFrames(accepted, context)
        case .refused(let head, var body):
            switch self.unwrapInboundIn(data) {
            case .head:
                break
            case .body(let part):
                body += part.readableBytesView.prefix(Self.maximumBodyBytes - body.count)
                self.state = .refused(head, body: body)
                guard body.count == Self.maximumBodyBytes else {
                    return
                }
            case .end:
                break
            }
            self.finish(.init(head, body: body))
            context.close(promise: nil)
        case .upgrading(var early):
            early.append(data)
            self.state = .upgrading(early)
        case .finished:
            break
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        if case .refused(let head, let body) = self.state {
            self.finish(.init(head, body: body))
        }
        self.finish(.handshakeInvalid("the connection ended before the answer"))
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case is NIOSSLError, is NIOSSLExtraError, is BoringSSLError, is NIOSSLCloseTimedOutError:
            let isUntrusted = "\(error)".contains("CERTIFICATE_VERIFY_FAILED")
            let detail = isUntrusted ? "its certificate is not trusted, has expired or is for another name" : "\(error)"
            self.finish(.tls(host: self.endpoint.host, detail: detail))
        case is HTTPParserError:
            self.finish(.handshakeInvalid("its answer is not HTTP (\(error))"))
        default:
            self.finish(.unreachable(host: self.endpoint.host, port: self.endpoint.port, detail: "\(error)"))
        }
        context.close(promise: nil)
    }

    private func startFrames(_ accepted: Accepted, _ context: ChannelHandlerContext) {
        self.upgrade(context, accepted.deflate).whenComplete { result in
            guard case .success = result, case .upgrading(let early) = self.state else {
                self.finish(.handshakeInvalid("the connection ended right after the answer"))
                context.close(promise: nil)
                return
            }
            self.state = .finished
            self.deadline?.cancel()
            self.promise.succeed(accepted.subprotocol)
            for data in early {
                context.fireChannelRead(data)
            }
            context.fireChannelReadComplete()
            context.pipeline.syncOperations.removeHandler(self, promise: nil)
        }
    }

    private func check(_ head: HTTPResponseHead) throws(WebSocketClientError) -> Accepted {
        guard head.headers[canonicalForm: "upgrade"].contains(where: { $0.lowercased() == "websocket" }) else {
            throw .handshakeInvalid("its 101 response does not say \"Upgrade: websocket\"")
        }
        guard self.key.shouldAllowUpgrade(upgradeResponse: head) else {
            throw .handshakeInvalid("its Sec-WebSocket-Accept does not match our key")
        }
        let selected = head.headers["Sec-WebSocket-Protocol"]
        guard selected.count <= 1, selected.allSatisfy(self.subprotocols.contains) else {
            throw .handshakeInvalid(
                "it selected the subprotocol \"\(selected.joined(separator: ", "))\", not one of ours"
            )
        }
        return Accepted(subprotocol: selected.first, deflate: try self.agreement(head))
    }

    private func agreement(_ head: HTTPResponseHead) throws(WebSocketClientError) -> PerMessageDeflate? {
        let fields = head.headers["Sec-WebSocket-Extensions"]
        guard let deflate else {
            guard fields.isEmpty else {
                throw .handshakeInvalid("it uses an extension that was not offered")
            }
            return nil
        }
        do {
            return try deflate.accepted(by: fields)
        } catch {
            throw .handshakeInvalid(error.detail)
        }
    }

    private func finish(_ error: WebSocketClientError) {
        if case .finished = self.state {
            return
        }
        self.state = .finished
        self.deadline?.cancel()
        self.promise.fail(error)
    }
}

extension WebSocketClientError {
    fileprivate init(_ head: HTTPResponseHead, body: [UInt8]) {
        self = .status(
            code: Int(head.status.code),
            phrase: head.status.reasonPhrase,
            // RFC 9110 §10.2.3; a date instead of seconds is not looked at.
            retryAfter: head.headers.first(name: "Retry-After").flatMap { UInt16($0) }.map { .seconds($0) },
            body: body
        )
    }
}
