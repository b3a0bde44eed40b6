import ArgumentParser
import Foundation
import LibPQ

struct Kick: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "End the sessions of a user, or of one token, on every gateway.",
        discussion: """
            Open sessions are closed with 4504 within a second. Until --lasts is over, tokens of the user that were issued \
            before now (claim iat; also those without one), or the token with this jti, are refused with 401. Choose it \
            as long as tokens live. Run it as the role that installed jobfeed; in SQL: jobfeed.kick.

            Examples:
              DATABASE_URL=postgres://owner@db/app jobfeed-server kick --user alice
              DATABASE_URL=postgres://owner@db/app jobfeed-server kick --token-id 5f0c… --lasts 7d
            """
    )

    @Option(help: "The user, as the token's user claim names them.")
    var user: String?

    @Option(help: "The token, as its claim jti names it.")
    var tokenID: String?

    @Option(help: "How long tokens are refused: a number and s, m, h or d.")
    var lasts = "1d"

    func validate() throws {
        guard [self.user, self.tokenID].compactMap({ $0 }).count == 1 else {
            throw ValidationError("name either --user or --token-id")
        }
        guard !(self.user?.isEmpty ?? false), !(self.tokenID?.isEmpty ?? false) else {
            throw ValidationError("--user and --token-id may not be empty")
        }
        guard let seconds = Token.seconds(self.lasts), seconds <= 10 * 366 * 86_400 else {
            throw ValidationError("--lasts is \"\(self.lasts)\"; write for example 15m, 1h or 7d, up to ten years")
        }
    }

    func run() async throws {
        let seconds = String(Token.seconds(self.lasts) ?? 86_400)
        let parameter = self.user == nil ? "token_id" : "user_name"
        let sql = "SELECT jobfeed.kick(\(parameter) => $1, lasts => make_interval(secs => $2::float8))"
        do throws(PostgresError) {
            let connection = try Connection.open(Settings.database(purpose: "jobfeed/kick"))
            defer { connection.close() }
            _ = try connection.query(sql, [self.user ?? self.tokenID, seconds])
        } catch {
            throw Self.failure(error)
        }
        let whom = self.user.map { "user \"\($0)\"" } ?? "token \"\(self.tokenID ?? "")\""
        Console.out("\(whom) is revoked for \(self.lasts); every gateway ends open sessions within a second")
    }

    private static func failure(_ error: PostgresError) -> ExitCode {
        switch (error.kind, error.sqlState) {
        case (.connection, _): Console.fail("the database cannot be reached: \(error)", Exit.unavailable)
        case (_, "42883"), (_, "3F000"):
            Console.fail(
                "jobfeed is not installed in this database, or older than this program; run `jobfeed-server install`",
                Exit.configuration
            )
        case (_, "42501"):
            Console.fail(
                "this role may not revoke sessions; connect as the role that installed jobfeed (\(error.message))",
                Exit.configuration
            )
        default: Console.fail("nobody was revoked: \(error)", Exit.configuration)
        }
    }
}
