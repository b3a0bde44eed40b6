import ArgumentParser
import EmbeddedPostgres
import Foundation
import Gateway
import LibPQ
import Logging

struct Demo: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run everything from nothing: a private PostgreSQL, simulated jobs, a gateway and its page.",
        discussion: """
            Needs only the PostgreSQL programs on this machine. The users alice and bob each have threads whose jobs they \
            see; an operator sees all jobs. Ctrl-C stops everything and removes the database. For local development \
            only: the page hands out tokens to whoever opens it.

            On standard output: `database postgres://…` (superuser of the private database, for this machine only), then \
            `listening on http://HOST:PORT`, then commands to paste. Exit code 69 when the port is taken or PostgreSQL \
            cannot be started.

            Example:
              jobfeed-server demo --port 8080 --rate 60
            """
    )

    @Option(help: "Address to listen on.")
    var host = "127.0.0.1"

    @Option(help: "Port to listen on; 0 picks a free one.")
    var port = 8080

    @Option(help: "New jobs per minute, 1 to 6000.")
    var rate = 30

    @Option(help: "Number from which jobs, payloads and failures are made; the same number gives the same jobs.")
    var seed: UInt64 = 1

    @Flag(help: "No simulated jobs: only the schema and the threads of alice and bob.")
    var noRunner = false

    @Option(help: "What of the gateway's log is shown: trace, debug, info, notice, warning, error or critical.")
    var logLevel = "warning"

    func validate() throws {
        guard !self.host.isEmpty else { throw ValidationError("--host may not be empty") }
        guard 0...65_535 ~= self.port else { throw ValidationError("--port has to be from 0 to 65535") }
        guard 1...6_000 ~= self.rate else { throw ValidationError("--rate has to be from 1 to 6000") }
        guard Logger.Level(rawValue: self.logLevel) != nil else {
            let levels = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("--log-level is \"\(self.logLevel)\"; levels are \(levels)")
        }
    }

    func run() async throws {
        if let refusal = DemoPort.refusal(host: self.host, port: self.port) {
            throw Console.fail(refusal, Exit.unavailable)
        }
        LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
        var logger = Logger(label: "jobfeed")
        logger.logLevel = Logger.Level(rawValue: self.logLevel) ?? .warning

        Console.error("starting PostgreSQL…")
        let database: DemoDatabase
        do throws(EmbeddedPostgresError) {
            database = try DemoDatabase.start()
        } catch {
            throw Console.fail("\(error)", Exit.unavailable)
        }
        defer { database.stop() }
        let runner = try self.prepared(database, logger)
        defer { runner?.stop() }

        Console.error("starting the gateway…")
        let secret = Self.randomSecret()
        let configuration = self.gateway(database, secret)
        let (alice, root) = try await (
            Self.token("alice", "account", secret), Self.token("operator", "operator", secret)
        )
        try await GatewayRun(configuration, logger).run { host, port in
            let screen = DemoScreen(host: host, port: port, database: database, alice: alice, operatorToken: root)
            Console.out(screen.text)
        }
        Console.error("stopping…")
    }

    private func prepared(_ database: DemoDatabase, _ logger: Logger) throws -> DemoRunner? {
        do throws(PostgresError) {
            Console.error("installing the schema…")
            try database.install()
            guard !self.noRunner else { return nil }
            Console.error("writing a history of jobs…")
            try DemoHistory(seed: self.seed).write(to: database)
            return DemoRunner(database, rate: self.rate, seed: self.seed, logger: logger)
        } catch {
            throw Console.fail("the private database cannot be set up: \(error)", Exit.unavailable)
        }
    }

    private func gateway(_ database: DemoDatabase, _ secret: String) -> GatewayConfiguration {
        var configuration = GatewayConfiguration(
            node: "demo",
            database: database.settings(user: DemoDatabase.gatewayRole, purpose: "jobfeed/demo/check"),
            eventLoops: max(1, ProcessInfo.processInfo.activeProcessorCount)
        )
        configuration.host = self.host
        configuration.port = self.port
        configuration.keys.secret = secret
        configuration.drain = .seconds(2)
        configuration.demoTokens = {
            var users: [DemoTokens.User] = []
            for (name, access) in [("alice", "account"), ("bob", "account"), ("operator", "operator")] {
                users.append(.init(name: name, access: access, token: try await Self.token(name, access, secret)))
            }
            return [UInt8](try JSONEncoder().encode(DemoTokens(users: users, feed: "jobs")))
        }
        return configuration
    }

    private static func token(_ user: String, _ access: String, _ secret: String) async throws -> String {
        try await TokenMint(secret: secret).mint(user: user, access: access, seconds: 12 * 3600)
    }

    private static func randomSecret() -> String {
        var generator = SystemRandomNumberGenerator()
        // 80 digits: HS512 wants a secret of at least 64 bytes.
        return String((0..<80).map { _ in "0123456789abcdef".randomElement(using: &generator) ?? "0" })
    }
}

/// What the page asks for at `/demo/tokens`.
private struct DemoTokens: Encodable {
    struct User: Encodable {
        let name: String
        let access: String
        let token: String
    }

    let users: [User]
    let feed: String
}
