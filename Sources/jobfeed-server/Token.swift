import ArgumentParser
import Foundation
import Gateway

struct Token: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print a token for development, signed with JOBFEED_JWT_SECRET (HS256).",
        discussion: """
            Example:
              export JOBFEED_TOKEN=$(JOBFEED_JWT_SECRET=… jobfeed-server token --user alice --ttl 1h)
            """
    )

    @Option(help: "Whom the token speaks for (claim sub).")
    var user: String

    @Option(help: "account or operator.")
    var access = "account"

    @Option(help: "A further claim, as NAME=VALUE; repeat it for several, or for a list. NAME= is an empty list.")
    var claim: [String] = []

    @Option(help: "How long it is good: a number and s, m, h or d.")
    var ttl = "1h"

    @Option(help: "File that holds the HMAC secret; JOBFEED_JWT_SECRET holds it directly.", completion: .file())
    var jwtSecretFile: String?

    func validate() throws {
        guard !self.user.isEmpty else { throw ValidationError("--user may not be empty") }
        guard Identity.Access(rawValue: self.access) != nil else {
            throw ValidationError("--access is \"\(self.access)\"; it has to be account or operator")
        }
        _ = try ClaimOption.parsed(self.claim)
        guard Self.seconds(self.ttl) != nil else {
            throw ValidationError("--ttl is \"\(self.ttl)\"; write for example 90s, 15m, 1h or 7d")
        }
    }

    func run() async throws {
        let seconds = Self.seconds(self.ttl) ?? 0
        let secret = try await Settings(texts: ["jwt-secret-file": self.jwtSecretFile]).keys().secret
        guard let secret else {
            throw Console.fail("set JOBFEED_JWT_SECRET to the secret of the gateway", Exit.configuration)
        }
        guard secret.utf8.count >= KeySource.minimumSecretBytes else {
            throw Console.fail(
                "JOBFEED_JWT_SECRET has \(secret.utf8.count) bytes; the gateway asks for \(KeySource.minimumSecretBytes)",
                Exit.configuration
            )
        }
        Console.out(
            try await TokenMint(secret: secret).mint(
                user: self.user,
                access: self.access,
                seconds: seconds,
                claims: ClaimOption.parsed(self.claim)
            )
        )
    }

    /// `90`, `90s`, `15m`, `1h`, `7d`.
    static func seconds(_ text: String) -> Int? {
        let units = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        let unit = text.last.flatMap { units[String($0)] }
        guard let count = Int(unit == nil ? text[...] : text.dropLast()), count > 0,
            case (let seconds, false) = count.multipliedReportingOverflow(by: unit ?? 1)
        else { return nil }
        return seconds
    }
}
