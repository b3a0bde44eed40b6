import ArgumentParser
import Foundation
import JobFeedSchema
import LibPQ

struct Install: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Install or upgrade the schema `jobfeed`, in one transaction.",
        discussion: """
            Run it as the role that owns the tables to be attached and may create roles (CREATEROLE). Running it again \
            changes nothing. Then attach a table:
              SELECT jobfeed.attach('jobs', 'public.job', status => 'status', owner => 'assigned_to.author');

            Example:
              DATABASE_URL=postgres://owner@db/app jobfeed-server install
            """
    )

    @Flag(help: "Also create public.thread and public.job and attach them as feed `jobs`.")
    var referenceTables = false

    @Flag(help: "Print the SQL instead of running it.")
    var dryRun = false

    func run() async throws {
        let script = SchemaScript.install(referenceTables: self.referenceTables)
        if self.dryRun { return Console.out(script) }
        do throws(PostgresError) {
            let connection = try Connection.open(Settings.database(purpose: "jobfeed/install"))
            defer { connection.close() }
            try connection.execute(script)
        } catch {
            let isAway = error.kind == .connection
            throw Console.fail(
                "\(isAway ? "the database cannot be reached" : "nothing was installed"): \(error)",
                isAway ? Exit.unavailable : Exit.configuration
            )
        }
        Console.out("jobfeed schema version \(SchemaScript.version) is installed")
    }
}
