public import NIOCore
public import NIOPosix
import WebSocketTransport

/// A connection to a jobfeed gateway that mends itself, shared by any number of subscriptions.
///
/// It connects when the first subscription begins, and closes when the last one has ended.
///
/// ```swift
/// let client = JobFeedClient(url: "https://jobs.example.com") { try await session.accessToken() }
/// var store = RowStore()
/// for try await event in client.subscribe(SubscribeOptions(channel: "jobs")) {
///     store.apply(event)
/// }
/// ```
public final class JobFeedClient: Sendable {
    /// Answers a token (a JWT) that is valid now: asked before each connection and ahead of the expiry of an open one.
    ///
    /// Throwing ``JobFeedError`` ends all subscriptions with it; any other error is taken as passing, and the provider
    /// is asked again after a while.
    public typealias TokenProvider = @Sendable () async throws -> String

    /// The bounds of a client.
    public struct Configuration: Sendable {
        /// For TCP, and again for TLS and the handshake.
        public var connectTimeout: Duration = .seconds(10)
        /// Reading pauses while events of so many bytes wait for their consumers.
        public var bufferedBytes = 4 << 20
        /// The largest snapshot or batch that is gathered in memory; beyond it the subscription ends with
        /// ``JobFeedError/Code/stepTooLarge``.
        public var maximumStepBytes = 256 << 20
        /// A PEM file with authorities to trust beside those of the system.
        public var additionalCAFile: String?

        public init() {}
    }

    let core: ClientCore

    /// - Parameters:
    ///   - url: `http`, `https`, `ws` or `wss`; the path `/v1/feed` is appended.
    ///   - configuration: Bounds; the defaults suit a terminal and a service.
    ///   - eventLoopGroup: Where the socket lives.
    ///   - token: See ``TokenProvider``.
    public init(
        url: String,
        configuration: Configuration = Configuration(),
        eventLoopGroup: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        token: @escaping TokenProvider
    ) {
        self.core = ClientCore(
            configuration: configuration,
            token: token,
            random: { Double.random(in: 0...1) },
            dial: { token async throws(DialError) in
                try await FeedSocket.connect(
                    url: url,
                    token: token,
                    configuration: configuration,
                    group: eventLoopGroup
                )
            }
        )
    }

    init(core: ClientCore) {
        self.core = core
    }

    deinit {
        self.core.shutdown()
    }

    /// Begins to follow a view. Each call is a subscription of its own, for one consumer, over the one connection.
    public func subscribe(_ options: SubscribeOptions) -> Subscription {
        let (id, items) = self.core.subscribe(options)
        return Subscription(id: id, client: self, items: items)
    }

    /// Closes the connection and ends all subscriptions with ``JobFeedError/Code/clientClosed``.
    public func shutdown() {
        self.core.shutdown()
    }
}
