import Foundation

/// Finds the directory that holds `initdb` and `postgres`.
enum PostgresBinaries {
    static func directory() throws(EmbeddedPostgresError) -> String {
        var searched: [String] = []
        for candidate in Self.candidates() where !searched.contains(candidate) {
            searched.append(candidate)
            if let directory = Self.installation(at: candidate) { return directory }
        }
        throw .notInstalled(searched: searched)
    }

    /// Where the links of `initdb` lead, as PostgreSQL finds its share directory relative to its program.
    private static func installation(at directory: String) -> String? {
        let initdb = URL(fileURLWithPath: directory + "/initdb").resolvingSymlinksInPath()
        guard FileManager.default.isExecutableFile(atPath: initdb.path) else { return nil }
        let home = initdb.deletingLastPathComponent().path
        return FileManager.default.isExecutableFile(atPath: home + "/postgres") ? home : nil
    }

    private static func candidates() -> [String] {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
        var candidates = path.split(separator: ":").map(String.init)
        if let configured = Self.configuredDirectory(searching: candidates) { candidates.append(configured) }
        candidates += Self.versions(in: "/usr/lib/postgresql").map { "/usr/lib/postgresql/\($0)/bin" }
        for prefix in ["/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew"] {
            let formulae = Self.versions(in: prefix + "/opt", prefix: "postgresql@")
            candidates += formulae.map { "\(prefix)/opt/postgresql@\($0)/bin" }
            candidates.append("\(prefix)/opt/postgresql/bin")
        }
        return candidates
    }

    private static func configuredDirectory(searching path: [String]) -> String? {
        let found = path.map { $0 + "/pg_config" }.first { FileManager.default.isExecutableFile(atPath: $0) }
        guard let found, let child = try? ChildProcess([found, "--bindir"]) else { return nil }
        defer { child.waitForExit() }
        guard case .line(let directory) = child.readLine(within: .seconds(5)) else { return nil }
        return directory
    }

    /// Version numbers in a directory, newest first.
    private static func versions(in directory: String, prefix: String = "") -> [Int] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        return names.filter { $0.hasPrefix(prefix) }.compactMap { Int($0.dropFirst(prefix.count)) }.sorted(by: >)
    }
}
