import ArgumentParser
import Foundation
import Gateway
import Logging

struct Check: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check what `serve` would be told: keys, certificate, database, schema, role, feeds.",
        discussion: "Takes the options of `serve`; exits with 0 when a gateway could start, 69 or 78 when not."
    )

    @OptionGroup var options: ServeOptions

    func run() async throws {
        LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
        OpenFiles.raise()
        let settings = try await self.options.settings()
        let configuration = try settings.gateway()
        let logger = try settings.logger
        do {
            let authenticator = try await configuration.keys.authenticator(rules: configuration.tokens)
            Console.out("keys      ok")
            if let warning = configuration.keys.warning(configuration.tokens) {
                Console.error("jobfeed-server: warning: \(warning)")
            }
            if let remote = authenticator.remote {
                Console.out("jwks      ok, \(try await remote.load()) keys from \(remote.location.name)")
            }
            if let tls = try configuration.tls?.read() {
                if let warning = tls.warning(now: Date()) { Console.error("jobfeed-server: warning: \(warning)") }
                Console.out("tls       ok, valid until \(tls.validUntil.ISO8601Format())")
            }
            let report = try await DatabaseCheck(settings: configuration.database, logger: logger).run()
            if let warning = report.warning { Console.error("jobfeed-server: warning: \(warning)") }
            Console.out("database  ok, PostgreSQL \(report.serverVersion / 10_000).\(report.serverVersion % 10_000)")
            Console.out(
                report.canListen
                    ? "listen    ok"
                    : "listen    does not work: this seems to be a transaction pooler; the gateway would poll"
            )
            Console.out(
                "feeds     \(report.feeds.isEmpty ? "none; attach a table with jobfeed.attach" : report.feeds.joined(separator: ", "))"
            )
        } catch let error as KeyError {
            throw Console.fail(error.message, Exit.configuration)
        } catch let failure as KeyFetchFailure {
            let location = configuration.keys.remote?.location.name ?? ""
            throw Console.fail("the keys at \(location) cannot be had: \(failure.message)", Exit.unavailable)
        } catch let error as CertificateError {
            throw Console.fail(error.message, Exit.configuration)
        } catch let failure as DatabaseCheck.Failure {
            guard case .unavailable = failure else { throw Console.fail(failure.message, Exit.configuration) }
            throw Console.fail(failure.message, Exit.unavailable)
        }
    }
}
