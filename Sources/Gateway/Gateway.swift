import Foundation
import Hummingbird
import HummingbirdCore
import LibPQ
package import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import WebSocketTransport

/// The composition root: the only place that knows how reader, hub, sessions and HTTP belong together.
package struct Gateway {
    package static let role = "jobfeed_gateway"
    /// The oldest schema that can be read; an upgrade installs the schema first.
    static let schemaVersion = 4

    private let configuration: GatewayConfiguration
    private let logger: Logger

    package init(_ configuration: GatewayConfiguration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
    }

    /// Runs until SIGTERM or SIGINT.
    ///
    /// - Parameter onListening: called once connections are accepted, with the address.
    package func run(onListening: @escaping @Sendable (_ host: String, _ port: Int) -> Void) async throws {
        let configuration = self.configuration
        let registry = configuration.metrics
        let metrics = GatewayMetrics(registry)
        let revocations = Revocations()
        let claims = KeptClaims()
        let keyLog = KeyLog(logger: self.logger, source: configuration.keys)
        let authenticator = try await configuration.keys.authenticator(
            rules: configuration.tokens,
            revocations: revocations,
            claims: claims
        ) { event in
            metrics.count(event)
            keyLog.write(event)
        }
        if let warning = configuration.keys.warning(configuration.tokens) { self.logger.warning("\(warning)") }
        let certificate = try configuration.tls.map { try ServerCertificate($0, logger: self.logger) }
        let stop = await StopSignal.trap()
        let check = DatabaseCheck(settings: configuration.database, logger: self.logger)
        let usable = try await stop.unlessRequested {
            try await check.waitUntilUsable(timeout: configuration.startTimeout)
        }
        guard let report = usable else { return }
        let database = report.settings
        if !report.canListen {
            self.logger.warning(
                """
                LISTEN does not work on this connection, which seems to go through a transaction pooler: polling instead. \
                Changes arrive up to a quarter of a second late and the database is asked all the time. Give the gateway \
                a direct connection
                """
            )
        }

        let group = MultiThreadedEventLoopGroup(numberOfThreads: configuration.eventLoops)
        let loops = Array(group.makeIterator())
        var shards: [NIOLoopBound<Shard>] = []
        for loop in loops {
            shards.append(
                try await loop.submit {
                    let shard = Shard(eventLoop: loop, ringBytes: configuration.ringBytes, metrics: metrics)
                    return NIOLoopBound(shard, eventLoop: loop)
                }.get()
            )
        }
        let hub = Hub(shards: shards, loops: loops)
        let interest = FilterInterest()
        let health = ReaderHealth()
        let abandon = try Wakeup()
        let reader = try FeedReader(
            settings: database,
            canListen: report.canListen,
            node: configuration.node,
            hub: hub,
            interest: interest,
            revocations: revocations,
            claims: claims,
            health: health,
            // Rows take several times as much in memory as in the log.
            preloadBytes: configuration.ringBytes / 8,
            abandon: abandon,
            metrics: metrics,
            logger: self.logger
        )
        let keeper = LogKeeper(
            settings: database,
            node: configuration.node,
            retention: configuration.retention,
            health: health,
            abandon: abandon,
            metrics: metrics,
            logger: self.logger
        )
        let pool = try ConnectionPool(
            settings: database.with(applicationName: "jobfeed/\(configuration.node)/snapshot"),
            size: configuration.poolSize,
            maximumWaiting: 10_000,
            logger: self.logger,
            observe: metrics.poolEvent
        )
        let census = ConnectionCensus(limits: configuration.connections)
        var limits = SessionContext.Limits()
        limits.commandsPerSecond = configuration.commandsPerSecond
        limits.subscriptions = configuration.subscriptionsPerConnection
        limits.messageBytes = configuration.messageBytes
        let sessionContext = SessionContext(
            node: configuration.node,
            limits: limits,
            census: census,
            heartbeat: configuration.heartbeat,
            authenticator: authenticator,
            revocations: revocations,
            pool: pool,
            replays: LogReplays(pool: pool),
            interest: interest,
            reader: reader,
            health: health,
            metrics: metrics,
            logger: self.logger
        )
        let context = Shared(sessionContext)
        registry.onRender {
            metrics.process.collect()
            metrics.users.set(census.users)
            metrics.snapshotQueue.set(pool.waiting)
            if let age = authenticator.remote?.age { metrics.keysAge.set(age) }
            if let asOf = health.status.asOf {
                metrics.asOfLag.set(max(0, Date().timeIntervalSince1970 - Double(asOf) / 1e6))
            }
        }
        let clocks =
            zip(loops, shards).map { loop, shard in Self.startClock(loop, shard) }
            + loops.map { loop in LoopLag.start(on: loop, metrics.loopLag) }
        reader.start()
        let webSocket = GatewayChannel.configuration(
            messageBytes: configuration.messageBytes,
            pingInterval: configuration.pingInterval
        )
        let admission = Admission(
            authenticator: authenticator,
            origins: configuration.origins,
            isSecure: certificate != nil
        )
        let routes = Routes(
            health: health,
            node: configuration.node,
            authenticator: authenticator,
            demoTokens: configuration.demoTokens,
            registry: registry,
            metrics: metrics,
            requests: FeedRequests(admission: admission, hub: hub, shared: context)
        )
        let deflate = configuration.compressionThreshold.map { threshold in
            PerMessageDeflate(thresholdBytes: threshold, observe: metrics.deflated)
        }
        let application = Application(
            responder: routes.router().buildResponder(),
            server: HTTPServerBuilder { responder in
                GatewayChannel(
                    responder: responder,
                    admission: admission,
                    census: census,
                    hub: hub,
                    context: context,
                    webSocket: webSocket,
                    certificate: certificate,
                    deflate: deflate
                )
            },
            configuration: .init(
                address: .hostname(configuration.host, port: configuration.port),
                serverName: nil,
                // Everybody comes back at once after a restart; the kernel takes less if it is told so.
                backlog: 4096
            ),
            onServerRunning: { channel in
                onListening(configuration.host, channel.localAddress?.port ?? configuration.port)
            },
            eventLoopGroupProvider: .shared(group),
            logger: self.logger
        )
        // The last is stopped first: sockets close after the server was told to.
        var services: [any Service] = [census, application]
        if let keys = authenticator.remote { services.append(keys) }
        if let certificate { services.append(await CertificateReloader(certificate)) }
        let running = services
        let outcome = await Self.outcome {
            let isReading: Void? = try await stop.unlessRequested {
                try await Self.waitForFirstRead(health, timeout: configuration.startTimeout)
            }
            guard isReading != nil else { return }
            keeper.start()
            var services = ServiceGroupConfiguration(services: running, logger: self.logger)
            services.maximumGracefulShutdownDuration = configuration.drain
            let group = ServiceGroup(configuration: services)
            await stop.onRequest { await group.triggerGracefulShutdown() }
            try await group.run()
        }
        for clock in clocks { clock.cancel() }
        await withCheckedContinuation { continuation in
            DispatchQueue.global().asyncAfter(deadline: .now() + 2) { abandon.signal() }
            DispatchQueue.global().async {
                reader.stop()
                keeper.stop()
                continuation.resume()
            }
        }
        await pool.shutdown()
        try? await group.shutdownGracefully()
        try outcome.get()
    }

    /// Whoever connects finds the feeds known.
    private static func waitForFirstRead(_ health: ReaderHealth, timeout: Duration) async throws {
        let deadline = ContinuousClock.now + timeout
        while health.status.lastRead == nil {
            guard ContinuousClock.now < deadline else {
                let message = health.status.lastError ?? "the log could not be read in time"
                throw DatabaseCheck.Failure.unavailable(PostgresError(kind: .connection, message: message))
            }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    private static func startClock(_ loop: any EventLoop, _ shard: NIOLoopBound<Shard>) -> RepeatedTask {
        loop.scheduleRepeatedTask(initialDelay: .milliseconds(500), delay: .milliseconds(500)) { _ in
            shard.value.tick(now: loop.now, wallClockSeconds: Date().timeIntervalSince1970)
        }
    }

    private static func outcome(_ body: () async throws -> Void) async -> Swift.Result<Void, any Error> {
        do {
            return .success(try await body())
        } catch {
            return .failure(error)
        }
    }
}
