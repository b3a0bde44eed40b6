import Foundation

/// What the demo shows once it is ready; the first two lines are for programs.
struct DemoScreen {
    let host: String
    let port: Int
    let database: DemoDatabase
    let alice: String
    let operatorToken: String

    var text: String {
        """
        database \(self.database.url(user: DemoDatabase.superuser))
        listening on http://\(Self.bracketed(self.host)):\(self.port)

        Open the page:
          \(self.url)/

        Or follow the jobs in another terminal, as alice, who sees her own:
          \(self.tail(self.alice))

        as an operator, who sees all of them:
          \(self.tail(self.operatorToken))

        Change something by hand (tables thread and job):
          \(self.psql)

        Ctrl-C stops everything and removes the database.
        \(self.warning)
        """
    }

    private var isLocal: Bool {
        ["localhost", "::1"].contains(self.host) || self.host.hasPrefix("127.")
    }

    private var warning: String {
        guard !self.isLocal else { return "" }
        return "\nCareful: whoever can reach \(self.host) gets a token of every user, the operator's too.\n"
    }

    private var url: String {
        let everywhere = ["0.0.0.0", "::", "*"].contains(self.host)
        return "http://\(everywhere ? "localhost" : Self.bracketed(self.host)):\(self.port)"
    }

    private var psql: String {
        let database = self.database
        let place = "-h \(database.socketDirectory) -p \(database.port)"
        return "psql \(place) -U \(DemoDatabase.superuser) \(DemoDatabase.name)"
    }

    private func tail(_ token: String) -> String {
        "JOBFEED_URL=\(self.url) JOBFEED_TOKEN=\(token) \(Self.client) tail jobs"
    }

    /// The client beside this program, named in the way that this program was.
    private static var client: String {
        let own = CommandLine.arguments.first ?? "jobfeed-server"
        guard let slash = own.lastIndex(of: "/") else { return "jobfeed" }
        let path = own[...slash] + "jobfeed"
        return path.contains { " '\"\\$".contains($0) } ? "'\(path.replacing("'", with: "'\\''"))'" : String(path)
    }

    private static func bracketed(_ host: String) -> String {
        host.contains(":") ? "[\(host)]" : host
    }
}
