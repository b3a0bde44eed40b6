extension PostgresCluster {
    /// How a private cluster is set up; the defaults suit tests.
    package struct Options: Sendable {
        /// Nil takes a free one.
        package var port: Int?
        /// Nil takes a fresh directory that is removed when the cluster stops or its owner dies; a named one is kept.
        package var directory: String?
        /// Lines for postgresql.conf; they win over ours.
        package var settings: [String: String]
        /// Whether commits wait for the disk; without, a crash of the machine loses the cluster.
        package var durable: Bool
        /// False copies the server's log to standard error.
        package var quiet: Bool
        /// The directory of `initdb` and `postgres`; nil searches for it.
        package var binaries: String?
        package var startTimeout: Duration

        package init(
            port: Int? = nil,
            directory: String? = nil,
            settings: [String: String] = [:],
            durable: Bool = false,
            quiet: Bool = true,
            binaries: String? = nil,
            startTimeout: Duration = .seconds(60)
        ) {
            self.port = port
            self.directory = directory
            self.settings = settings
            self.durable = durable
            self.quiet = quiet
            self.binaries = binaries
            self.startTimeout = startTimeout
        }
    }

    package enum StopMode: Sendable, Hashable {
        /// Ends all sessions and writes a checkpoint.
        case fast
        /// Like a crash: the next start recovers from the log.
        case immediate
    }
}
