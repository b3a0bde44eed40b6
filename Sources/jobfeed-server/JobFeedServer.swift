import ArgumentParser
import Foundation

/// The executable's root command.
@main
struct JobFeedServer: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jobfeed-server",
        abstract:
            "Live job updates from Postgres over WebSockets: each user sees exactly the rows the row rule allows.",
        discussion: """
            DATABASE_URL, or libpq's own environment (PGHOST, PGUSER, .pgpass, PGSERVICE …), names the database.
            Every option is also an environment variable (--heartbeat-seconds is JOBFEED_HEARTBEAT_SECONDS) and a key of \
            the file given with --config (heartbeat-seconds: 25); flags win over the environment, that over the file.

            First steps:
              jobfeed-server demo                              # everything, with a database of its own
              DATABASE_URL=postgres://… jobfeed-server install # as the role that owns the tables
              DATABASE_URL=postgres://… JOBFEED_JWT_SECRET=… jobfeed-server serve
              JOBFEED_JWT_SECRET=… jobfeed-server token --user alice
            """,
        version: "0.1.0",
        subcommands: [
            Serve.self, Install.self, Attach.self, Token.self, Check.self, WhyCommand.self, Kick.self, Demo.self,
        ]
    )
}

/// Exit codes by the names of sysexits.h.
enum Exit {
    static let usage = ExitCode(64)
    static let noInput = ExitCode(66)
    static let unavailable = ExitCode(69)
    static let configuration = ExitCode(78)
}

/// Standard output and error, without buffering.
enum Console {
    static func out(_ line: String) {
        FileHandle.standardOutput.write(Data((line + "\n").utf8))
    }

    static func error(_ line: String) {
        FileHandle.standardError.write(Data((line + "\n").utf8))
    }

    /// Says what went wrong and how to leave.
    static func fail(_ message: String, _ code: ExitCode) -> ExitCode {
        self.error("jobfeed-server: \(message)")
        return code
    }
}
