import ArgumentParser
import Foundation
import Gateway
import Logging

struct WhyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "why",
        abstract: "Say why a user was sent, or not sent, the changes of one job.",
        discussion: """
            Goes through the job's changes in the log, as the gateway does: who owned it then, which filter, mask or rule \
            decided, and what was sent. It connects as `serve` does and writes nothing. By default it names columns \
            and the status, not what rows hold.
            Exit codes: 64 usage, 66 no such job or feed, 69 database not available, 78 configuration.

            Examples:
              jobfeed-server why --user alice --job 42
              jobfeed-server why --user alice --job 42 --channel jobs:pending --filter 'path=eq./send' --since 2h
              jobfeed-server why --user alice --job 42 --since "$CURSOR"   # what a client that stored it is replayed
              jobfeed-server why --user root --access operator --job 42 --values
              jobfeed-server why --user alice --job 42 --json | jq -c 'select(.is_sent == false)'
            """
    )

    @Option(help: "Who asks: the user claim (sub) of the token, to the letter.")
    var user: String

    @Option(help: "The job's key, as the feed spells it.")
    var job: String

    @Option(help: "The feed (default: the channel's, or jobs).")
    var feed: String?

    @Option(help: "Only later changes: 30m, 2h, 7d, a time (ISO 8601, UTC unless it says), or a client's cursor.")
    var since: String?

    @Option(help: "account or operator.")
    var access = "account"

    @Option(help: "The channel of the subscription (default: the whole feed).")
    var channel: String?

    @Option(help: "The filter of the subscription.")
    var filter: String?

    @Option(help: "The columns of the subscription, comma separated (default: all visible).")
    var columns: String?

    @Option(help: "A claim of the token that the feed asks for, as NAME=VALUE; repeat it for several.")
    var claim: [String] = []

    @Flag(help: "Print values, too, of columns that the user may see.")
    var values = false

    @Flag(help: "One JSON object per line.")
    var json = false

    @Flag(help: "No colours; also by NO_COLOR and TERM=dumb.")
    var noColor = false

    func validate() throws {
        guard !self.user.isEmpty else { throw ValidationError("--user may not be empty") }
        guard !self.job.isEmpty else { throw ValidationError("--job may not be empty") }
        for (name, text) in [("user", self.user), ("job", self.job)] where text.unicodeScalars.contains("\0") {
            throw ValidationError("--\(name) holds a NUL character, which PostgreSQL text cannot hold")
        }
        _ = try ClaimOption.parsed(self.claim)
        guard Identity.Access(rawValue: self.access) != nil else {
            throw ValidationError("--access is \"\(self.access)\"; it has to be account or operator")
        }
        if let feed, let channel, channel != feed, !":/#".contains(where: { channel.hasPrefix("\(feed)\($0)") }) {
            throw ValidationError("--channel \"\(channel)\" is not one of --feed \"\(feed)\"; leave --feed out")
        }
        _ = try self.start()
    }

    func run() async throws {
        LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
        do {
            let check = DatabaseCheck(
                settings: Settings.database(purpose: "jobfeed/why"),
                logger: Logger(label: "jobfeed")
            )
            let report = try await Why(
                settings: try await check.run().settings,
                question: try self.question(),
                withValues: self.values
            ).report()
            if self.json {
                for line in report.json { Console.out(line) }
            } else {
                Console.out(report.text(colour: self.isColoured))
            }
        } catch let failure as DatabaseCheck.Failure {
            guard case .unavailable = failure else { throw Console.fail(failure.message, Exit.configuration) }
            throw Console.fail(failure.message, Exit.unavailable)
        } catch let error as WhyError {
            switch error {
            case .usage(let message): throw Console.fail(message, Exit.usage)
            case .notFound(let message): throw Console.fail(message, Exit.noInput)
            case .unavailable(let message): throw Console.fail(message, Exit.unavailable)
            case .configuration(let message): throw Console.fail(message, Exit.configuration)
            }
        }
    }

    private func question() throws -> WhyQuestion {
        var question = WhyQuestion(
            user: self.user,
            access: Identity.Access(rawValue: self.access) ?? .account,
            job: self.job,
            channel: self.channel ?? self.feed ?? "jobs",
            filter: self.filter,
            columns: self.columns?.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) },
            since: try self.start()
        )
        question.claims = try ClaimOption.parsed(self.claim)
        return question
    }

    private func start() throws -> WhyQuestion.Since {
        guard let since else { return .always }
        if let seconds = Token.seconds(since) { return .ago(seconds: seconds) }
        if let micros = Self.micros(since) { return .time(micros) }
        // Letters and digits that could be one; whether it is one is part of the answer.
        guard since.utf8.count >= 16,
            since.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "-_".contains($0)) })
        else {
            throw ValidationError(
                "--since is \"\(since)\"; write 30m, 2h, 7d, a time such as 2026-11-21T09:00:00Z, or a cursor"
            )
        }
        return .cursor(since)
    }

    /// `2026-11-21`, `2026-11-21 09:00`, `2026-11-21T09:00:00.123456Z`, `…+02:00`.
    static func micros(_ text: String) -> Int64? {
        let style = Date.ISO8601FormatStyle(timeZone: .gmt)
        let time = text.replacing(" ", with: "T")
        let full = time.contains("T") ? time : "\(time)T00:00:00"
        var candidates = [full, "\(full)Z", "\(full):00Z"]
        if full.hasSuffix("Z") { candidates.append("\(full.dropLast()):00Z") }
        for candidate in candidates {
            for isFractional in [false, true] {
                let parser = style.year().month().day().timeZone(separator: .colon)
                    .time(includingFractionalSeconds: isFractional)
                if let date = try? parser.parse(candidate) {
                    let seconds = date.timeIntervalSince1970
                    return abs(seconds) < 1e11 ? Int64((seconds * 1e6).rounded()) : nil
                }
            }
        }
        return nil
    }

    private var isColoured: Bool {
        let environment = ProcessInfo.processInfo.environment
        let isOff =
            self.noColor || environment["NO_COLOR"].map { !$0.isEmpty } ?? false || environment["TERM"] == "dumb"
        return !isOff && isatty(1) == 1
    }
}
