package import LibPQ

/// Everything a gateway is told; the executable reads it from flags, environment and file.
package struct GatewayConfiguration: Sendable {
    package var host = "127.0.0.1"
    package var port = 8080
    /// `nil`: clients are served in plain text.
    package var tls: CertificateFiles? = nil
    /// Unique among the nodes of one database; part of `application_name`.
    package var node: String
    package var database: ConnectionSettings
    package var keys = KeySource()
    package var tokens = TokenRules()
    package var heartbeat: Duration = .seconds(25)
    package var pingInterval: Duration = .seconds(25)
    /// Sessions for snapshots and replays, besides the two of the reader.
    package var poolSize = 4
    package var origins = AllowedOrigins()
    package var retention = Retention()
    /// Of recent changes, kept for resumes without the database.
    package var ringBytes = 32 << 20
    package var connections = ConnectionLimits()
    package var subscriptionsPerConnection = 128
    package var commandsPerSecond = 200
    package var messageBytes = 65_536
    /// Messages of so many bytes are compressed for clients that offer it; `nil`: none is.
    package var compressionThreshold: Int? = 1024
    package var eventLoops: Int
    /// How long clients may take to leave after SIGTERM.
    package var drain: Duration = .seconds(10)
    /// How long the database may take to be there at the start.
    package var startTimeout: Duration = .seconds(10)
    /// What `/metrics` shows; the same as the process's swift-metrics, if libraries are to be seen there.
    package var metrics = PrometheusRegistry()
    package var demoTokens: (@Sendable () async throws -> [UInt8])? = nil

    package init(node: String, database: ConnectionSettings, eventLoops: Int) {
        self.node = node
        self.database = database
        self.eventLoops = eventLoops
    }
}
