import ArgumentParser
import Foundation
import Gateway
import Logging
import Tracing

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run a gateway: follow the log of attached tables and serve subscribers.",
        discussion: """
            Logs go to standard error; one line `listening on http://HOST:PORT` (https with --tls-cert) goes to standard \
            output once connections are accepted. SIGHUP reads the certificate again. SIGTERM drains: clients are told to go elsewhere (1001), then the process ends with 0.
            Exit codes: 64 usage, 69 database or port not available, 78 configuration.

            Example:
              DATABASE_URL=postgres://app@db/app JOBFEED_JWT_SECRET=$(openssl rand -hex 32) jobfeed-server serve --port 8080
            """
    )

    @OptionGroup var options: ServeOptions

    func run() async throws {
        LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
        OpenFiles.raise()
        let settings = try await self.options.settings()
        let configuration = try settings.gateway()
        let logger = try settings.logger
        if logger.logLevel <= .debug { InstrumentationSystem.bootstrap(LogTracer(logger: logger)) }
        try await GatewayRun(configuration, logger).run { host, port in
            let scheme = configuration.tls == nil ? "http" : "https"
            Console.out("listening on \(scheme)://\(host.contains(":") ? "[\(host)]" : host):\(port)")
        }
    }
}

/// Runs a gateway and turns its failures into messages and exit codes.
struct GatewayRun {
    private let gateway: Gateway
    private let configuration: GatewayConfiguration

    init(_ configuration: GatewayConfiguration, _ logger: Logger) {
        self.configuration = configuration
        self.gateway = Gateway(configuration, logger: logger)
    }

    func run(onListening: @escaping @Sendable (_ host: String, _ port: Int) -> Void) async throws {
        do {
            try await self.gateway.run(onListening: onListening)
        } catch let error as KeyError {
            throw Console.fail(error.message, Exit.configuration)
        } catch let error as CertificateError {
            throw Console.fail(error.message, Exit.configuration)
        } catch let failure as DatabaseCheck.Failure {
            switch failure {
            case .unavailable: throw Console.fail(failure.message, Exit.unavailable)
            case .configuration: throw Console.fail(failure.message, Exit.configuration)
            }
        } catch let error where Self.isAddressInUse(error) {
            throw Console.fail(
                "port \(self.configuration.port) on \(self.configuration.host) is taken; choose another with --port, or 0 for a free one",
                Exit.unavailable
            )
        }
    }

    private static func isAddressInUse(_ error: any Error) -> Bool {
        "\(error)".contains("Address already in use") || "\(error)".contains("errno: 98")
            || "\(error)".contains("errno: 48")
    }
}
