import ArgumentParser
import JobFeedClient
import JobFeedProtocol

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

struct TailCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tail",
        abstract: "Print the changes of jobs as they happen.",
        discussion: """
            The channel is FEED (all jobs you may see), FEED:STATUS[,STATUS…], FEED/KEY (one job) or FEED#counts. \
            The token comes from --token-file or the variable JOBFEED_TOKEN, never from the command line, where \
            others could read it.

            EXAMPLES
              jobfeed tail
              jobfeed tail jobs:pending,processing --columns path,progress
              jobfeed tail jobs --filter 'path=eq./spookify&retries=gt.2'
              jobfeed tail jobs --json | jq -r 'select(.op == "leave") | .key'
              jobfeed tail jobs/42 --until-terminal && echo finished

            Lines go to stdout, the state of the connection to stderr. After a lost connection the tail goes on where \
            it was. When it is stopped it prints the cursor for --since.

            EXIT STATUS
              0   stopped by Ctrl-C or SIGTERM; with --until-terminal: the job succeeded
              1   with --until-terminal: the job failed, was deleted, or does not exist
              64  the command line, or the channel, filter or columns in it, cannot be used
              69  no connection within --connect-timeout
              77  the server refused: bad token, or not allowed
            """
    )

    @Argument(help: "What to follow.")
    var channel = "jobs"

    @Option(help: "Only rows that match: col=op.value joined by &; eq neq gt gte lt lte in like ilike is, not.")
    var filter: String?

    @Option(help: ArgumentHelp("Only these columns, besides the key and the status.", valueName: "a,b"))
    var columns: String?

    @Flag(help: "One JSON object per change; the states of the connection as JSON on stderr.")
    var json = false

    @Option(help: ArgumentHelp("Begin with the changes since this cursor.", valueName: "cursor"))
    var since: String?

    @Flag(help: "Exit when the job, or every job of the channel, has come to an end.")
    var untilTerminal = false

    @Option(help: "The newest so many rows at the start, 1 to 10000.")
    var limit = 1000

    @Option(help: ArgumentHelp("Progress at most so many times a second per job.", valueName: "hz"))
    var maxRate: Double?

    @Option(help: "The gateway; default $JOBFEED_URL or http://127.0.0.1:8080.")
    var url: String?

    @Option(help: ArgumentHelp("A file with the token, read again for each connection.", valueName: "file"))
    var tokenFile: String?

    @Option(
        help: ArgumentHelp(
            "Authorities (PEM) to trust besides the system's; default $JOBFEED_CA_FILE or $SSL_CERT_FILE.",
            valueName: "file"
        )
    )
    var caFile: String?

    @Option(
        help: ArgumentHelp("Give up (69) without a first connection by then; default: never.", valueName: "seconds")
    )
    var connectTimeout: Double?

    @Flag(help: "No colours; also by NO_COLOR and TERM=dumb.")
    var noColor = false

    @Option(help: ArgumentHelp("The column that holds the status.", valueName: "column"))
    var statusColumn = "status"

    @Option(help: ArgumentHelp("States that end a job well.", valueName: "a,b"))
    var successStates = Statuses.defaultSuccess.joined(separator: ",")

    @Option(help: ArgumentHelp("States that end a job badly.", valueName: "a,b"))
    var failureStates = Statuses.defaultFailure.joined(separator: ",")

    func validate() throws {
        do {
            let channel = try Channel(parsing: self.channel)
            if self.untilTerminal, case .counts = channel {
                throw ValidationError("--until-terminal needs jobs; \(channel) only counts them.")
            }
        } catch let error as ChannelError {
            throw ValidationError("\(error).")
        }
        guard Subscribe.limits.contains(self.limit) else {
            throw ValidationError("--limit is \(self.limit); it must be from 1 to 10000.")
        }
        guard self.maxRate.map({ $0 > 0 && $0.isFinite }) ?? true else {
            throw ValidationError("--max-rate must be greater than 0.")
        }
        guard self.connectTimeout.map({ $0 > 0 && $0 < 1e6 }) ?? true else {
            throw ValidationError("--connect-timeout must be greater than 0, in seconds.")
        }
        guard self.columns.map({ !Self.list($0).isEmpty }) ?? true else {
            throw ValidationError("--columns names no column; write it like path,progress.")
        }
        if self.untilTerminal, self.since != nil {
            throw ValidationError("--until-terminal needs the current rows, so it does not go with --since.")
        }
    }

    func run() async throws {
        let environment = ProcessInfo.processInfo.environment
        let token = try TokenSource(file: self.tokenFile, environment: environment)
        let isPlain =
            self.noColor || environment["NO_COLOR"].map { !$0.isEmpty } ?? false || environment["TERM"] == "dumb"
        let isTerminal = Terminal.output.isTerminal && environment["TERM"] != "dumb"
        var statuses = Statuses()
        statuses.success = Set(Self.list(self.successStates))
        statuses.failure = Set(Self.list(self.failureStates))
        let renderer = Renderer(
            format: self.json ? .json : .lines,
            style: Style(isColored: isTerminal && !isPlain && !self.json),
            hasLiveBlock: isTerminal && !self.json,
            statuses: statuses,
            statusColumn: self.statusColumn,
            localTime: Terminal.localTime
        )
        let channel = try Channel(parsing: self.channel)
        let tail = Tail(
            url: self.url ?? environment["JOBFEED_URL"].flatMap { $0.isEmpty ? nil : $0 } ?? "http://127.0.0.1:8080",
            token: token,
            options: SubscribeOptions(
                channel: self.channel,
                filter: self.filter,
                columns: self.columns.map(Self.list),
                resume: self.since,
                limit: self.limit,
                maxRate: self.maxRate
            ),
            renderer: renderer,
            watch: self.untilTerminal
                ? TerminalWatch(channel: channel, statuses: statuses, statusColumn: self.statusColumn) : nil,
            connectTimeout: self.connectTimeout.map { .seconds($0) },
            additionalCAFile: self.caFile
                ?? ["JOBFEED_CA_FILE", "SSL_CERT_FILE"].compactMap { environment[$0] }.first { !$0.isEmpty }
        )
        try await tail.run()
    }

    private static func list(_ text: String) -> [String] {
        text.split(separator: ",").map { $0.trimmingPrefix { $0 == " " } }.map(String.init).filter { !$0.isEmpty }
    }
}
