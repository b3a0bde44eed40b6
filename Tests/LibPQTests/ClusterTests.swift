import EmbeddedPostgres
import Foundation
import LibPQ
import Testing

@Suite struct ClusterTests {
    private static let childVariable = "JOBFEED_TEST_CLUSTER_CHILD"

    private func connect(_ cluster: PostgresCluster) throws -> Connection {
        try Connection.open(ConnectionSettings(conninfo: cluster.url(), applicationName: "tests"))
    }

    @Test func keepsItsDataOverRestartsAndLeavesNothingBehind() throws {
        let cluster = try PostgresCluster.start(.init(settings: ["work_mem": "3MB", "cluster_name": "it's"]))
        #expect(try self.connect(cluster).query("SHOW work_mem").string(0, 0) == "3MB")
        #expect(try self.connect(cluster).query("SHOW cluster_name").string(0, 0) == "it's")
        try self.connect(cluster).execute("CREATE TABLE kept (n int)")
        for mode in [PostgresCluster.StopMode.fast, .immediate] {
            let connection = try self.connect(cluster)
            cluster.stopServer(mode: mode)
            #expect(postgresError { try connection.execute("SELECT 1") }?.kind == .connection)
            #expect(postgresError { _ = try self.connect(cluster) }?.kind == .connection)
            try cluster.startServer()
            #expect(try self.connect(cluster).query("SELECT count(*) FROM kept").int64(0, 0) == 0)
        }
        try cluster.restart()
        cluster.stop()
        cluster.stop(mode: .immediate)
        #expect(!FileManager.default.fileExists(atPath: cluster.directory))
        #expect(throws: EmbeddedPostgresError.stopped) { try cluster.startServer() }
    }

    @Test func keepsANamedDirectory() throws {
        let directory = "/tmp/jobfeed-named-\(UInt32.random(in: 0 ... .max))"
        defer { try? FileManager.default.removeItem(atPath: directory) }
        for run in 0..<2 {
            let cluster = try PostgresCluster.start(.init(directory: directory))
            let rows = try self.connect(cluster).query("SELECT count(*) FROM pg_class WHERE relname = 'kept'")
            #expect(rows.int64(0, 0) == Int64(run))
            if run == 0 { try self.connect(cluster).execute("CREATE TABLE kept (n int)") }
            cluster.stop()
        }
        #expect(FileManager.default.fileExists(atPath: directory + "/data/PG_VERSION"))
    }

    @Test func quotesTheLogWhenItCannotStart() throws {
        let error = #expect(throws: EmbeddedPostgresError.self) {
            try PostgresCluster.start(.init(settings: ["work_mem": "a lot"]))
        }
        #expect(error?.description.contains("invalid value for parameter \"work_mem\"") == true)
        let taken = try Server.cluster().port
        let other = #expect(throws: EmbeddedPostgresError.self) { try PostgresCluster.start(.init(port: taken)) }
        #expect(other?.description.contains("Address already in use") == true)
    }

    /// Kills a process that owns a cluster, which is this test in a process of its own, and sees the cluster go.
    @Test func diesWithItsOwner() throws {
        if let report = ProcessInfo.processInfo.environment[Self.childVariable] {
            let cluster = try PostgresCluster.start()
            let lock = try self.connect(cluster).query("SELECT pg_read_file('postmaster.pid')").string(0, 0) ?? ""
            let pid = lock.prefix { $0.isNumber }
            try "\(pid) \(cluster.directory)".write(toFile: report, atomically: true, encoding: .utf8)
            while true { pause() }
        }
        let report = "/tmp/jobfeed-report-\(UInt32.random(in: 0 ... .max))"
        defer { try? FileManager.default.removeItem(atPath: report) }
        let owner = Process()
        owner.executableURL = URL(fileURLWithPath: CommandLine.arguments[0])
        owner.arguments = ["--testing-library", "swift-testing", "--filter", "diesWithItsOwner"]
        owner.environment = ProcessInfo.processInfo.environment.merging([Self.childVariable: report]) { $1 }
        owner.standardOutput = FileHandle.nullDevice
        try owner.run()
        defer { kill(owner.processIdentifier, SIGKILL) }
        try waitUntil(.seconds(120)) { FileManager.default.fileExists(atPath: report) || !owner.isRunning }
        let words = try String(contentsOfFile: report, encoding: .utf8).split(separator: " ").map(String.init)
        let (pid, directory) = (try #require(pid_t(words[0])), words[1])
        #expect(kill(pid, 0) == 0)
        #expect(FileManager.default.fileExists(atPath: directory + "/data/PG_VERSION"))

        kill(owner.processIdentifier, SIGKILL)
        try waitUntil { kill(pid, 0) != 0 && !FileManager.default.fileExists(atPath: directory) }
    }
}
