import EmbeddedPostgres
import LibPQ
import Testing

@Suite struct SettingsTests {
    @Test(arguments: [
        "postgresql://user:tiger-secret@127.0.0.1:1/db",
        "host=127.0.0.1 port=1 user=user password=tiger-secret",
        "host=127.0.0.1 port=1 user=user password='tiger-secret",
        "postgresql://user:tiger-secret%zz@127.0.0.1:1/db",
        "postgresql://user:part@tiger-secret@127.0.0.1:1/db",
        "postgresql://user:tiger-secret/x@127.0.0.1:1/db",
        "postgresql://user:[tiger-secret@127.0.0.1:1/db",
        "postgresql://user:\"tiger-secret\"]@[127.0.0.1:1/db",
        "host=127.0.0.1 port=1 password tiger-secret",
        "host=127.0.0.1 port=tiger-secret",
    ])
    func neverShowAPassword(conninfo: String) throws {
        let settings = ConnectionSettings(conninfo: conninfo, applicationName: "tests", connectTimeout: .seconds(2))
        let error = try #require(postgresError { _ = try Connection.open(settings) })
        #expect(error.kind == .connection)

        var dumped = ""
        dump(settings, to: &dumped)
        dump(error, to: &dumped)
        for text in ["\(settings)", String(reflecting: settings), "\(error)", String(reflecting: error), dumped] {
            #expect(!text.contains("tiger-secret"), "\(text)")
        }
    }

    @Test func aWrongPasswordIsRefusedWithoutBeingShown() throws {
        let cluster = try Server.cluster()
        let admin = try Server.connect()
        try admin.execute("CREATE ROLE tiger LOGIN PASSWORD 'right'")
        try admin.execute("CREATE DATABASE tigers")
        let rule = "host tigers tiger 127.0.0.1/32 scram-sha-256"
        try admin.execute(
            """
            COPY (SELECT '\(rule)' UNION ALL SELECT 'host all all 127.0.0.1/32 trust')
            TO '\(cluster.dataDirectory)/pg_hba.conf';
            SELECT pg_reload_conf()
            """
        )
        let base = cluster.url(database: "tigers", user: "tiger")
        func open(_ password: String) throws -> Connection {
            let url = base.replacing("tiger@", with: "tiger:\(password)@")
            return try Connection.open(ConnectionSettings(conninfo: url, applicationName: "tests"))
        }
        try waitUntil { postgresError { _ = try open("wrong-secret") } != nil }
        let error = try #require(postgresError { _ = try open("wrong-secret") })
        #expect(error.kind == .connection)
        #expect(error.message.contains("password authentication failed"))
        #expect(!error.description.contains("wrong-secret"))
        #expect(try open("right").query("SELECT current_user").string(0, 0) == "tiger")
    }

    @Test func nothingListensAtAFreePort() {
        let settings = ConnectionSettings(conninfo: "host=127.0.0.1 port=1", applicationName: "tests")
        let error = postgresError { _ = try Connection.open(settings) }
        #expect(error?.message.contains("Connection refused") == true)
    }

    @Test func theApplicationCanBeRenamed() throws {
        let settings = try Server.settings(application: "first").with(applicationName: "second")
        let connection = try Connection.open(settings)
        #expect(try connection.query("SELECT current_setting('application_name')").string(0, 0) == "second")
    }
}
