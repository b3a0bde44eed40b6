import JobFeedProtocol
import NIOCore
import WebSocketTransport

/// One open connection as the client's core sees it.
struct FeedSocket: Sendable {
    /// The next text, or `nil` when the connection is gone.
    var next: @Sendable () async -> [UInt8]?
    var send: @Sendable (String) async -> Void
    var close: @Sendable () async -> Void
    /// Why the connection is gone.
    var end: @Sendable () -> Disconnection
}

/// What prevented a connection.
struct DialError: Error, Sendable, Equatable {
    var end: Disconnection
}

extension FeedSocket {
    static let path = "v1/feed"
    static let subprotocol = "jobfeed.v1"

    static func connect(
        url: String,
        token: String,
        configuration: JobFeedClient.Configuration,
        group: any EventLoopGroup
    ) async throws(DialError) -> FeedSocket {
        var transport = WebSocketClient.Configuration()
        transport.additionalCAFile = configuration.additionalCAFile
        // The session machine listens for the heartbeat; a consumer that holds up reading must not look like silence.
        transport.connection.idleTimeout = nil
        let socket: ClientWebSocket
        do {
            socket = try await WebSocketClient.connect(
                url: url,
                path: Self.path,
                headers: [("Authorization", "Bearer \(token)")],
                subprotocols: [Self.subprotocol],
                configuration: transport,
                group: group,
                connectTimeout: configuration.connectTimeout
            )
        } catch {
            throw DialError(end: Disconnection(error))
        }
        let messages = MessageReader(socket.messages.makeAsyncIterator())
        return FeedSocket(
            next: { await messages.next() },
            send: { try? await socket.send(text: $0) },
            close: { await socket.close() },
            end: { Disconnection(socket.closeReason) }
        )
    }
}

/// Carries the one iterator into a closure; only the reading task calls it.
private final class MessageReader: @unchecked Sendable {
    private var iterator: ClientMessages.AsyncIterator

    init(_ iterator: ClientMessages.AsyncIterator) {
        self.iterator = iterator
    }

    func next() async -> [UInt8]? {
        await self.iterator.next()?.bytes
    }
}

extension Disconnection {
    init(_ reason: CloseReason?) {
        switch reason?.initiator {
        case .peer?: self = .closed(code: reason?.code ?? 1005, reason: reason?.reason ?? "")
        case .local? where reason?.code == 1009:
            let message = "the server sent a message that is too large to hold; ask for fewer columns or rows"
            self = .gaveUp(JobFeedError(code: .stepTooLarge, message: message))
        case .local?: self = .lost("closed by this side: \(reason?.reason ?? "")")
        case .transport?, nil: self = .lost("the connection was lost")
        }
    }

    init(_ error: WebSocketClientError) {
        switch error {
        case .invalidURL, .invalidHeader:
            self = .gaveUp(JobFeedError(code: .invalidConfiguration, message: "\(error)"))
        case .status(let code, let phrase, let retryAfter, let body):
            let problem = (try? JSONValue(parsing: body))?.objectValue
            let detail = problem?["detail"]?.stringValue ?? problem?["title"]?.stringValue ?? phrase
            self = .refusedUpgrade(status: code, detail: detail.isEmpty ? nil : detail, retryAfter: retryAfter)
        case .nameNotResolved, .refused, .unreachable, .tls, .timeout, .handshakeInvalid, .closed:
            self = .lost("\(error)")
        }
    }
}
