import ArgumentParser
import Configuration
import Foundation
import Gateway
import LibPQ
import Logging
import SystemPackage

/// What `serve` and `check` can be told; each option is a flag, an environment variable and a key of the file.
struct ServeOptions: ParsableArguments {
    @Option(help: "Address to listen on (default 127.0.0.1).")
    var host: String?

    @Option(help: "Port to listen on; 0 picks a free one (default 8080).")
    var port: Int?

    @Option(help: "Certificate chain (PEM) to serve TLS with; read again on SIGHUP.", completion: .file())
    var tlsCert: String?

    @Option(help: "Private key (PEM, without passphrase) of the certificate.", completion: .file())
    var tlsKey: String?

    @Option(
        help: "Configuration file (YAML); its keys are the names of these options.",
        completion: .file(extensions: ["yml", "yaml"])
    )
    var config: String?

    @Option(help: "This node's name, unique among the gateways of one database (default: host name and process).")
    var node: String?

    @Option(help: "Public key (PEM) that tokens are signed with: RS256, ES256 or EdDSA.", completion: .file())
    var jwtPublicKeyFile: String?

    @Option(help: "JWK set (RFC 7517) that tokens are signed with.", completion: .file())
    var jwtJwksFile: String?

    @Option(help: "Address (https) of the JWK set that tokens are signed with; fetched again and again.")
    var jwtJwksUrl: String?

    @Option(help: "Authorities (PEM) to trust at that address besides the system's.", completion: .file())
    var jwtJwksCaFile: String?

    @Option(help: "File that holds the HMAC secret; JOBFEED_JWT_SECRET holds it directly.", completion: .file())
    var jwtSecretFile: String?

    @Option(help: "Algorithms to accept, comma separated (default: all that the keys are made for).")
    var jwtAlgorithms: String?

    @Option(help: "Claim that names the user (default sub); a dot leads into an object.")
    var jwtUserClaim: String?

    @Option(help: "Claim that says account or operator (default access).")
    var jwtAccessClaim: String?

    @Option(help: "Values of the access claim that mean an ordinary user (default account); * is all but operators'.")
    var jwtAccountValues: String?

    @Option(help: "Values of the access claim that mean an operator (default operator).")
    var jwtOperatorValues: String?

    @Option(help: "Name of the operators whose tokens name no user (default: such tokens are refused).")
    var jwtOperatorUser: String?

    @Option(help: "Table of SurrealDB that users are records of: the claim user:⟨a-b⟩ is the user a-b.")
    var jwtUserTable: String?

    @Option(help: "What other claims must say: NAME=VALUE, comma separated (such as token_type=access).")
    var jwtRequiredClaims: String?

    @Option(help: "Issuer (iss) that tokens must have; several are separated by commas.")
    var jwtIssuer: String?

    @Option(help: "Audience (aud) that tokens must be for; one of several, separated by commas.")
    var jwtAudience: String?

    @Option(help: "Origins of web pages that may connect, comma separated, besides the gateway's own; * admits all.")
    var allowedOrigins: String?

    @Option(help: "Seconds of silence after which a heartbeat is sent (default 25).")
    var heartbeatSeconds: Int?

    @Option(help: "Seconds between pings; a client that answers none that long, or for 20 s, is closed (default 25).")
    var pingSeconds: Int?

    @Option(help: "Database sessions for snapshots and replays (default 4).")
    var poolSize: Int?

    @Option(help: "WebSockets that this node serves (default: what the limit of open files allows, at most 50000).")
    var maxConnections: Int?

    @Option(help: "WebSockets of one user (default: three quarters of max-connections).")
    var maxConnectionsPerUser: Int?

    @Option(help: "WebSockets from one address, or IPv6 network of 64 bits (default 0, any number: as behind a proxy).")
    var maxConnectionsPerAddress: Int?

    @Option(help: "Connections that may be on their way to become WebSockets (default 4096).")
    var maxHandshakes: Int?

    @Option(help: "Commands that one connection may send a second, after a burst of ten times as many (default 200).")
    var maxCommandsPerSecond: Int?

    @Option(help: "Subscriptions that one connection may hold (default 128).")
    var maxSubscriptions: Int?

    @Option(help: "Bytes that one message of a client may have (default 65536).")
    var maxMessageBytes: Int?

    @Option(help: "on or off: compress messages for clients that offer permessage-deflate (default on).")
    var compression: String?

    @Option(help: "Bytes from which a message is compressed (default 1024).")
    var compressionThreshold: Int?

    @Option(help: "Seconds of silence after which a database session that owes an answer is given up (default 30).")
    var databaseResponseSeconds: Int?

    @Option(help: "Seconds that the database may take to be there at the start (default 10).")
    var startTimeout: Int?

    @Option(help: "Seconds that clients may take to leave after SIGTERM (default 10).")
    var drainSeconds: Int?

    @Option(help: "Seconds for which changes are kept, so that clients can resume (default 86400, a day).")
    var retentionSeconds: Int?

    @Option(help: "Bytes that the log of changes may take in the database; wins over time (default 1073741824).")
    var retentionBytes: Int?

    @Option(help: "Seconds that a change stays in the log whatever its size, for live gateways (default 60).")
    var retentionGraceSeconds: Int?

    @Option(help: "Bytes of recent changes kept in memory for resumes without the database (default 33554432).")
    var ringBytes: Int?

    @Option(help: "trace, debug, info, notice, warning, error or critical (default info).")
    var logLevel: String?

    func settings() async throws -> Settings {
        let texts = [
            "host": self.host, "node": self.node, "jwt-public-key-file": self.jwtPublicKeyFile,
            "jwt-jwks-file": self.jwtJwksFile, "jwt-secret-file": self.jwtSecretFile,
            "jwt-jwks-url": self.jwtJwksUrl, "jwt-jwks-ca-file": self.jwtJwksCaFile,
            "jwt-algorithms": self.jwtAlgorithms,
            "jwt-user-claim": self.jwtUserClaim, "jwt-access-claim": self.jwtAccessClaim,
            "jwt-account-values": self.jwtAccountValues, "jwt-operator-values": self.jwtOperatorValues,
            "jwt-operator-user": self.jwtOperatorUser, "jwt-user-table": self.jwtUserTable,
            "jwt-required-claims": self.jwtRequiredClaims,
            "jwt-issuer": self.jwtIssuer, "jwt-audience": self.jwtAudience, "allowed-origins": self.allowedOrigins,
            "tls-cert": self.tlsCert, "tls-key": self.tlsKey, "log-level": self.logLevel,
            "compression": self.compression,
        ]
        let numbers = [
            "port": self.port, "heartbeat-seconds": self.heartbeatSeconds, "ping-seconds": self.pingSeconds,
            "pool-size": self.poolSize,
            "max-connections": self.maxConnections, "max-connections-per-user": self.maxConnectionsPerUser,
            "max-connections-per-address": self.maxConnectionsPerAddress, "max-handshakes": self.maxHandshakes,
            "max-commands-per-second": self.maxCommandsPerSecond,
            "max-subscriptions": self.maxSubscriptions, "max-message-bytes": self.maxMessageBytes,
            "compression-threshold": self.compressionThreshold,
            "start-timeout": self.startTimeout, "drain-seconds": self.drainSeconds,
            "retention-seconds": self.retentionSeconds, "retention-bytes": self.retentionBytes,
            "retention-grace-seconds": self.retentionGraceSeconds, "ring-bytes": self.ringBytes,
            "database-response-seconds": self.databaseResponseSeconds,
        ]
        return try await Settings(texts: texts, numbers: numbers, file: self.config)
    }
}

/// Options as they hold after flags, environment and file were put together.
struct Settings {
    private let reader: ConfigReader

    /// - Parameters:
    ///   - texts: flags by the name of their option; `nil` where the flag was not given.
    ///   - file: the configuration file, unless JOBFEED_CONFIG names it.
    init(texts: [String: String?], numbers: [String: Int?] = [:], file: String? = nil) async throws {
        var flags: [AbsoluteConfigKey: ConfigValue] = [:]
        for case (let key, let value?) in texts { flags[[key]] = ConfigValue(.string(value), isSecret: false) }
        for case (let key, let value?) in numbers { flags[[key]] = ConfigValue(.int(value), isSecret: false) }
        var providers: [any ConfigProvider] = [
            InMemoryProvider(values: flags), EnvironmentVariablesProvider().prefixKeys(with: "jobfeed"),
        ]
        if let file = file ?? ProcessInfo.processInfo.environment["JOBFEED_CONFIG"] {
            do {
                providers.append(try await FileProvider<YAMLSnapshot>(filePath: FilePath(file)))
            } catch {
                // What follows the first line quotes the file, which may hold a secret there.
                let reason = "\(error)".prefix { !$0.isNewline }
                throw Console.fail("cannot read the configuration file \(file): \(reason)", Exit.configuration)
            }
        }
        self.reader = ConfigReader(providers: providers)
    }

    func text(_ key: String) -> String? {
        // YAML reads 12345 as a number; whoever asks for a text means its digits.
        if let number = self.reader.int(forKey: ConfigKey([key])) { return String(number) }
        return self.reader.string(forKey: ConfigKey([key]))
    }

    func list(_ key: String) -> [String] {
        self.text(key)?.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) } ?? []
    }

    func number(_ key: String, default fallback: Int, in range: ClosedRange<Int>) throws -> Int {
        let number = self.reader.int(forKey: ConfigKey([key]))
        if number == nil, let text = self.reader.string(forKey: ConfigKey([key])) {
            throw Console.fail("option \(key) is \"\(text)\"; it has to be a whole number", Exit.configuration)
        }
        let value = number ?? fallback
        guard range.contains(value) else {
            throw Console.fail(
                "option \(key) is \(value); it has to be from \(range.lowerBound) to \(range.upperBound)",
                Exit.configuration
            )
        }
        return value
    }

    func isOn(_ key: String, default fallback: Bool) throws -> Bool {
        // YAML reads on and off as it likes: as texts, or as true and false.
        if let value = self.reader.bool(forKey: ConfigKey([key])) { return value }
        switch self.text(key) {
        case nil: return fallback
        case "on": return true
        case "off": return false
        case let text?: throw Console.fail("option \(key) is \"\(text)\"; it has to be on or off", Exit.configuration)
        }
    }

    func file(_ key: String) throws -> String? {
        guard let path = self.text(key) else { return nil }
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw Console.fail("option \(key): cannot read \(path)", Exit.configuration)
        }
        return text
    }

    var logger: Logger {
        get throws {
            var logger = Logger(label: "jobfeed")
            let name = self.text("log-level") ?? "info"
            guard let level = Logger.Level(rawValue: name) else {
                let levels = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
                throw Console.fail("option log-level is \"\(name)\"; levels are \(levels)", Exit.configuration)
            }
            logger.logLevel = level
            return logger
        }
    }

    func gateway() throws -> GatewayConfiguration {
        let process = ProcessInfo.processInfo
        let node = self.text("node") ?? "\(process.hostName.prefix(30))-\(process.processIdentifier)"
        var configuration = GatewayConfiguration(
            node: node,
            database: Self.database(purpose: "jobfeed/\(node)/check").with(
                responseTimeout: .seconds(try self.number("database-response-seconds", default: 30, in: 1...3600))
            ),
            eventLoops: max(1, process.activeProcessorCount)
        )
        configuration.host = self.text("host") ?? "127.0.0.1"
        configuration.port = try self.number("port", default: 8080, in: 0...65_535)
        configuration.tls = try self.tls()
        configuration.keys = try self.keys()
        configuration.tokens = try self.tokenRules()
        do throws(OriginError) {
            configuration.origins = try AllowedOrigins(self.list("allowed-origins"))
        } catch {
            throw Console.fail(error.message, Exit.configuration)
        }
        configuration.heartbeat = .seconds(try self.number("heartbeat-seconds", default: 25, in: 1...3600))
        configuration.pingInterval = .seconds(try self.number("ping-seconds", default: 25, in: 1...3600))
        configuration.poolSize = try self.number("pool-size", default: 4, in: 1...100)
        configuration.connections = try self.connectionLimits(poolSize: configuration.poolSize)
        configuration.commandsPerSecond = try self.number("max-commands-per-second", default: 200, in: 1...100_000)
        configuration.subscriptionsPerConnection = try self.number("max-subscriptions", default: 128, in: 1...100_000)
        configuration.messageBytes = try self.number("max-message-bytes", default: 65_536, in: 1024...(1 << 24))
        let threshold = try self.number("compression-threshold", default: 1024, in: 64...(1 << 24))
        configuration.compressionThreshold = try self.isOn("compression", default: true) ? threshold : nil
        configuration.startTimeout = .seconds(try self.number("start-timeout", default: 10, in: 0...86_400))
        configuration.drain = .seconds(try self.number("drain-seconds", default: 10, in: 0...3600))
        configuration.retention.age = .seconds(
            try self.number("retention-seconds", default: 86_400, in: 1...315_360_000)
        )
        configuration.retention.bytes = Int64(
            try self.number("retention-bytes", default: 1 << 30, in: (1 << 16)...(1 << 50))
        )
        configuration.retention.grace = .seconds(
            try self.number("retention-grace-seconds", default: 60, in: 0...86_400)
        )
        configuration.ringBytes = try self.number("ring-bytes", default: 32 << 20, in: 0...(1 << 40))
        return configuration
    }

    private func connectionLimits(poolSize: Int) throws -> ConnectionLimits {
        var limits = ConnectionLimits()
        // The pool, the reader's two, the keeper's, the loops', the files.
        let files = OpenFiles.limit - poolSize - 100
        limits.handshakes = try self.number("max-handshakes", default: 4096, in: 1...1_000_000)
        limits.total = try self.number(
            "max-connections",
            default: max(1, min(50_000, files - files / 20)),
            in: 1...10_000_000
        )
        guard limits.total <= files else {
            throw Console.fail(
                "option max-connections is \(limits.total), but this process may open \(OpenFiles.limit) files; "
                    + "raise that limit (ulimit -n, LimitNOFILE) or lower the option to \(files) or less",
                Exit.configuration
            )
        }
        let perUser = max(1, limits.total / 4 * 3)
        limits.perUser = try self.number("max-connections-per-user", default: perUser, in: 1...10_000_000)
        let perAddress = try self.number("max-connections-per-address", default: 0, in: 0...10_000_000)
        limits.perAddress = perAddress == 0 ? nil : perAddress
        return limits
    }

    private func tls() throws -> CertificateFiles? {
        switch (self.text("tls-cert"), self.text("tls-key")) {
        case (nil, nil): return nil
        case (let certificate?, let key?): return CertificateFiles(certificate: certificate, key: key)
        case (_?, nil):
            throw Console.fail("tls-cert is given without tls-key; TLS takes both", Exit.configuration)
        case (nil, _?):
            throw Console.fail("tls-key is given without tls-cert; TLS takes both", Exit.configuration)
        }
    }

    func keys() throws -> KeySource {
        var keys = KeySource()
        keys.secret =
            try self.text("jwt-secret") ?? self.file("jwt-secret-file")?.trimmingCharacters(in: .whitespacesAndNewlines)
        keys.publicKeyPEM = try self.file("jwt-public-key-file")
        keys.jwks = try self.file("jwt-jwks-file")
        do throws(KeyError) {
            keys.remote = try self.text("jwt-jwks-url").map { url throws(KeyError) in
                try KeySetFetcher(try KeySetURL(url), authoritiesFile: self.text("jwt-jwks-ca-file"))
            }
        } catch {
            throw Console.fail(error.message, Exit.configuration)
        }
        keys.algorithms = self.list("jwt-algorithms")
        return keys
    }

    private func tokenRules() throws -> TokenRules {
        var rules = TokenRules()
        rules.userClaim = try self.given("jwt-user-claim") ?? rules.userClaim
        rules.userTable = try self.given("jwt-user-table")
        rules.operatorUser = try self.given("jwt-operator-user")
        rules.accessClaim = try self.given("jwt-access-claim") ?? rules.accessClaim
        rules.accountValues = try self.names("jwt-account-values") ?? rules.accountValues
        rules.operatorValues = try self.names("jwt-operator-values") ?? rules.operatorValues
        rules.issuers = try self.names("jwt-issuer") ?? []
        rules.audiences = try self.names("jwt-audience") ?? []
        rules.required = try (self.names("jwt-required-claims") ?? []).sorted().map { text in
            guard let claim = RequiredClaim(text) else {
                throw Console.fail(
                    "option jwt-required-claims has \"\(text)\"; write NAME=VALUE, for example token_type=access",
                    Exit.configuration
                )
            }
            return claim
        }
        return rules
    }

    /// What is set to nothing was meant to be set: an empty `jwt-issuer` must not accept every issuer.
    private func given(_ key: String) throws -> String? {
        guard let text = self.text(key) else { return nil }
        guard !text.allSatisfy(\.isWhitespace) else {
            throw Console.fail("option \(key) is empty; give it a value or leave it out", Exit.configuration)
        }
        return text
    }

    private func names(_ key: String) throws -> Set<String>? {
        guard try self.given(key) != nil else { return nil }
        let names = Set(self.list(key).filter { !$0.isEmpty })
        guard !names.isEmpty else {
            throw Console.fail("option \(key) names nothing; give it a value or leave it out", Exit.configuration)
        }
        return names
    }

    static func database(purpose: String) -> ConnectionSettings {
        ConnectionSettings(conninfo: ProcessInfo.processInfo.environment["DATABASE_URL"], applicationName: purpose)
    }
}
