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

    @Option(help: "Configuration file (YAML); its keys are the names of these options.", completion: .file(extensions: ["yml", "yaml"]))
    var config: String?

    @Option(help: "This node's name, unique among the gateways of one database (default: host name and process).")
    var node: String?

    @Option(help: "Public key (PEM) that tokens are signed with: RS256, ES256 or EdDSA.", completion: .file())
    var jwtPublicKeyFile: String?

    @Option(help: "JWK set (RFC 7517) that tokens are signed with.", completion: .file())
    var jwtJwksFile: String?

    @Option(help: "File that holds the HMAC secret; JOBFEED_JWT_SECRET holds it directly.", completion: .file())
    var jwtSecretFile: String?

    @Option(help: "Algorithms to accept, comma separated (default: all that the keys are made for).")
    var jwtAlgorithms: String?

    @Option(help: "Claim that names the user (default sub); a dot leads into an object.")
    var jwtUserClaim: String?

    @Option(help: "Claim that says account or operator (default access).")
    var jwtAccessClaim: String?

    @Option(help: "Values of the access claim that mean an ordinary user (default account).")
    var jwtAccountValues: String?

    @Option(help: "Values of the access claim that mean an operator (default operator).")
    var jwtOperatorValues: String?

    @Option(help: "Issuer (iss) that tokens must have.")
    var jwtIssuer: String?

    @Option(help: "Audience (aud) that tokens must be for.")
    var jwtAudience: String?

    @Option(help: "Origins of web pages that may connect, comma separated, besides the gateway's own; * admits all.")
    var allowedOrigins: String?

    @Option(help: "Seconds of silence after which a heartbeat is sent (default 25).")
    var heartbeatSeconds: Int?

    @Option(help: "Database sessions for snapshots and replays (default 4).")
    var poolSize: Int?

    @Option(help: "Subscriptions that one connection may hold (default 128).")
    var maxSubscriptions: Int?

    @Option(help: "Bytes that one message of a client may have (default 65536).")
    var maxMessageBytes: Int?

    @Option(help: "Seconds that the database may take to be there at the start (default 10).")
    var startTimeout: Int?

    @Option(help: "Seconds that clients may take to leave after SIGTERM (default 10).")
    var drainSeconds: Int?

    @Option(help: "trace, debug, info, notice, warning, error or critical (default info).")
    var logLevel: String?

    func settings() async throws -> Settings {
        try await Settings(self)
    }
}

/// Options as they hold after flags, environment and file were put together.
struct Settings {
    private let reader: ConfigReader

    init(_ options: ServeOptions) async throws {
        var flags: [AbsoluteConfigKey: ConfigValue] = [:]
        func text(_ key: String, _ value: String?) {
            if let value { flags[[key]] = ConfigValue(.string(value), isSecret: false) }
        }
        func number(_ key: String, _ value: Int?) {
            if let value { flags[[key]] = ConfigValue(.int(value), isSecret: false) }
        }
        text("host", options.host)
        number("port", options.port)
        text("node", options.node)
        text("jwt-public-key-file", options.jwtPublicKeyFile)
        text("jwt-jwks-file", options.jwtJwksFile)
        text("jwt-secret-file", options.jwtSecretFile)
        text("jwt-algorithms", options.jwtAlgorithms)
        text("jwt-user-claim", options.jwtUserClaim)
        text("jwt-access-claim", options.jwtAccessClaim)
        text("jwt-account-values", options.jwtAccountValues)
        text("jwt-operator-values", options.jwtOperatorValues)
        text("jwt-issuer", options.jwtIssuer)
        text("jwt-audience", options.jwtAudience)
        text("allowed-origins", options.allowedOrigins)
        number("heartbeat-seconds", options.heartbeatSeconds)
        number("pool-size", options.poolSize)
        number("max-subscriptions", options.maxSubscriptions)
        number("max-message-bytes", options.maxMessageBytes)
        number("start-timeout", options.startTimeout)
        number("drain-seconds", options.drainSeconds)
        text("log-level", options.logLevel)
        let environment = EnvironmentVariablesProvider()
        var providers: [any ConfigProvider] = [
            InMemoryProvider(values: flags), environment.prefixKeys(with: "jobfeed"),
        ]
        if let file = options.config ?? ProcessInfo.processInfo.environment["JOBFEED_CONFIG"] {
            do {
                providers.append(try await FileProvider<YAMLSnapshot>(filePath: FilePath(file)))
            } catch {
                throw Console.fail("cannot read the configuration file \(file): \(error)", Exit.configuration)
            }
        }
        self.reader = ConfigReader(providers: providers)
    }

    func text(_ key: String) throws -> String? {
        do {
            return try self.reader.fetchlessString(key)
        } catch {
            throw Console.fail("option \(key): \(error)", Exit.configuration)
        }
    }

    func list(_ key: String) throws -> [String] {
        try self.text(key)?.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) } ?? []
    }

    func number(_ key: String, default fallback: Int, in range: ClosedRange<Int>) throws -> Int {
        let value: Int
        do {
            value = try self.reader.requiredOrNilInt(key) ?? fallback
        } catch {
            throw Console.fail("option \(key) has to be a whole number", Exit.configuration)
        }
        guard range.contains(value) else {
            throw Console.fail(
                "option \(key) is \(value); it has to be from \(range.lowerBound) to \(range.upperBound)", Exit.configuration)
        }
        return value
    }

    func file(_ key: String) throws -> String? {
        guard let path = try self.text(key) else { return nil }
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw Console.fail("option \(key): cannot read \(path)", Exit.configuration)
        }
        return text
    }

    var logger: Logger {
        get throws {
            var logger = Logger(label: "jobfeed")
            let name = try self.text("log-level") ?? "info"
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
        let node = try self.text("node") ?? "\(process.hostName.prefix(30))-\(process.processIdentifier)"
        var configuration = GatewayConfiguration(
            node: node, database: Self.database(purpose: "jobfeed/\(node)/check"),
            eventLoops: max(1, process.activeProcessorCount))
        configuration.host = try self.text("host") ?? "127.0.0.1"
        configuration.port = try self.number("port", default: 8080, in: 0...65_535)
        configuration.keys = try self.keys()
        configuration.tokens = try self.tokenRules()
        configuration.allowedOrigins = Set(try self.list("allowed-origins"))
        configuration.heartbeat = .seconds(try self.number("heartbeat-seconds", default: 25, in: 1...3600))
        configuration.poolSize = try self.number("pool-size", default: 4, in: 1...100)
        configuration.subscriptionsPerConnection = try self.number("max-subscriptions", default: 128, in: 1...100_000)
        configuration.messageBytes = try self.number("max-message-bytes", default: 65_536, in: 1024...(1 << 24))
        configuration.startTimeout = .seconds(try self.number("start-timeout", default: 10, in: 0...86_400))
        configuration.drain = .seconds(try self.number("drain-seconds", default: 10, in: 0...3600))
        return configuration
    }

    func keys() throws -> KeySource {
        var keys = KeySource()
        keys.secret =
            try self.text("jwt-secret") ?? self.file("jwt-secret-file")?.trimmingCharacters(in: .whitespacesAndNewlines)
        keys.publicKeyPEM = try self.file("jwt-public-key-file")
        keys.jwks = try self.file("jwt-jwks-file")
        keys.algorithms = try self.list("jwt-algorithms")
        return keys
    }

    private func tokenRules() throws -> TokenRules {
        var rules = TokenRules()
        rules.userClaim = try self.text("jwt-user-claim") ?? rules.userClaim
        rules.accessClaim = try self.text("jwt-access-claim") ?? rules.accessClaim
        let accounts = try self.list("jwt-account-values")
        if !accounts.isEmpty { rules.accountValues = Set(accounts) }
        let operators = try self.list("jwt-operator-values")
        if !operators.isEmpty { rules.operatorValues = Set(operators) }
        rules.issuer = try self.text("jwt-issuer")
        rules.audience = try self.text("jwt-audience")
        return rules
    }

    static func database(purpose: String) -> ConnectionSettings {
        ConnectionSettings(conninfo: ProcessInfo.processInfo.environment["DATABASE_URL"], applicationName: purpose)
    }
}

extension ConfigReader {
    /// `nil` when nobody says anything; throws when what they say is no text.
    fileprivate func fetchlessString(_ key: String) throws -> String? {
        if let number = self.int(forKey: ConfigKey([key])) { return String(number) }
        return self.string(forKey: ConfigKey([key]))
    }

    fileprivate func requiredOrNilInt(_ key: String) throws -> Int? {
        if let number = self.int(forKey: ConfigKey([key])) { return number }
        guard self.string(forKey: ConfigKey([key])) != nil else { return nil }
        throw ValidationError("not a number")
    }
}
