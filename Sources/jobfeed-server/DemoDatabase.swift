import EmbeddedPostgres
import Foundation
import JobFeedSchema
import LibPQ

/// The demo's private PostgreSQL, reached by a socket in its own directory and not over the network.
struct DemoDatabase: Sendable {
    static let name = "jobfeed"
    static let superuser = "postgres"
    static let runnerRole = "demo_runner"
    static let gatewayRole = "demo_gateway"

    private let cluster: PostgresCluster
    var socketDirectory: String { self.cluster.directory }
    var port: Int { self.cluster.port }

    static func start() throws(EmbeddedPostgresError) -> Self {
        // Settings for other servers; PGHOSTADDR would even win over the host of our own connection strings.
        for name in ProcessInfo.processInfo.environment.keys where name.hasPrefix("PG") { unsetenv(name) }
        // Everybody who can connect is trusted, so only those who may enter the directory can.
        return Self(cluster: try PostgresCluster.start(.init(settings: ["listen_addresses": ""])))
    }

    private init(cluster: PostgresCluster) {
        self.cluster = cluster
    }

    func url(user: String, database: String = Self.name) -> String {
        let host = self.socketDirectory.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
        return "postgres://\(user)@/\(database)?host=\(host)&port=\(self.port)"
    }

    func settings(user: String, purpose: String) -> ConnectionSettings {
        ConnectionSettings(conninfo: self.url(user: user), applicationName: purpose)
    }

    /// Creates the database with the schema, the login roles and the users' threads.
    func install() throws(PostgresError) {
        let root = try Connection.open(
            ConnectionSettings(
                conninfo: self.url(user: Self.superuser, database: "postgres"),
                applicationName: "jobfeed/install"
            )
        )
        defer { root.close() }
        try root.execute("CREATE DATABASE \(Self.name)")
        let owner = try Connection.open(self.settings(user: Self.superuser, purpose: "jobfeed/install"))
        defer { owner.close() }
        try owner.execute(SchemaScript.install(referenceTables: true))
        try owner.execute(
            """
            CREATE ROLE \(Self.gatewayRole) LOGIN;
            GRANT jobfeed_gateway TO \(Self.gatewayRole);
            CREATE ROLE \(Self.runnerRole) LOGIN;
            GRANT SELECT, INSERT, UPDATE, DELETE ON public.job, public.thread TO \(Self.runnerRole);
            """
        )
        for thread in DemoThread.all {
            _ = try owner.query(
                "INSERT INTO public.thread (title, author) VALUES ($1, $2)",
                [thread.title, thread.author]
            )
        }
    }

    /// Ends the server and removes its files.
    func stop() {
        self.cluster.stop(mode: .immediate)
    }
}

/// A thread that a user has written and that jobs are assigned to; its id is its place in the list, from 1.
struct DemoThread: Sendable {
    let title: String
    let author: String

    static let all = [
        Self(title: "Halloween cards", author: "alice"),
        Self(title: "Photos of the new collection", author: "alice"),
        Self(title: "Newsletter", author: "alice"),
        Self(title: "Product video", author: "bob"),
        Self(title: "Customers of the trade fair", author: "bob"),
    ]

    /// The thread that now and then changes hands.
    static let wandering = 2
}
