import Foundation

/// The files of a cluster as seen from outside the server.
enum ClusterDirectory {
    /// Makes the directory (a temporary one for nil) and gives it to the user that PostgreSQL runs as.
    static func make(_ path: String?, for user: UnprivilegedUser?) throws(EmbeddedPostgresError) -> String {
        let directory: String
        if let path {
            directory = URL(fileURLWithPath: path).standardizedFileURL.path
        } else {
            directory = try Self.temporary(user)
        }
        do {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        } catch {
            throw .unusableDirectory(path: directory, reason: error.localizedDescription)
        }
        // The name of a socket has room for about a hundred bytes (sun_path).
        guard directory.utf8.count <= 85 else {
            throw .unusableDirectory(path: directory, reason: "its path is too long for a unix socket")
        }
        guard let user else { return directory }
        // Only what is ours is given away: a named directory may hold other files.
        var paths = [directory]
        for name in ["data", "server.log", "server.pid"] {
            let path = "\(directory)/\(name)"
            guard FileManager.default.fileExists(atPath: path) else { continue }
            paths.append(path)
            let contents = FileManager.default.enumerator(atPath: path)
            while let inner = contents?.nextObject() as? String { paths.append("\(path)/\(inner)") }
        }
        for path in paths where lchown(path, user.uid, user.gid) != 0 { throw .system(call: "chown", errno: errno) }
        return directory
    }

    private static func temporary(_ user: UnprivilegedUser?) throws(EmbeddedPostgresError) -> String {
        // TMPDIR of root may lie where the other user may not go.
        let parent = user == nil ? NSTemporaryDirectory() : "/tmp"
        var template = Array((parent + "/jobfeed-postgres.XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw .system(call: "mkdtemp in \(parent)", errno: errno) }
        return URL(fileURLWithPath: String(decoding: template.dropLast().map(UInt8.init), as: UTF8.self)).path
    }

    static func configure(
        _ directory: String,
        port: Int,
        _ options: PostgresCluster.Options
    )
        throws(EmbeddedPostgresError)
    {
        var settings = [
            "listen_addresses": "127.0.0.1",
            "port": String(port),
            "unix_socket_directories": directory,
            "logging_collector": "off",
        ]
        if !options.durable {
            settings.merge(["fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"]) { $1 }
        }
        settings.merge(options.settings) { $1 }
        let lines = settings.sorted { $0.key < $1.key }.map { "\($0) = '\($1.replacing("'", with: "''"))'\n" }
        let main = directory + "/data/postgresql.conf"
        do {
            try lines.joined().write(toFile: directory + "/data/jobfeed.conf", atomically: false, encoding: .utf8)
            let include = "include 'jobfeed.conf'\n"
            let existing = try String(contentsOfFile: main, encoding: .utf8)
            if !existing.hasSuffix(include) {
                try (existing + include).write(toFile: main, atomically: false, encoding: .utf8)
            }
        } catch {
            throw .unusableDirectory(path: directory, reason: error.localizedDescription)
        }
    }

    static func freePort() throws(EmbeddedPostgresError) -> Int {
        #if os(Linux)
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        #else
        let descriptor = socket(AF_INET, SOCK_STREAM, 0)
        #endif
        defer { _ = close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 ? getsockname(descriptor, $0, &length) : -1
            }
        }
        guard status == 0 else { throw .system(call: "bind to a free port", errno: errno) }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    /// Line 8 of postmaster.pid says so; line 1 tells whether the file is of this server or of one that crashed.
    static func isReady(_ directory: String) -> Bool {
        guard
            let started = try? String(contentsOfFile: directory + "/server.pid", encoding: .utf8),
            let status = try? String(contentsOfFile: directory + "/data/postmaster.pid", encoding: .utf8)
        else { return false }
        let lines = status.split(separator: "\n", omittingEmptySubsequences: false)
        return lines.count >= 8
            && lines[0] == started.trimmingCharacters(in: .whitespacesAndNewlines)
            && lines[7].hasPrefix("ready")
    }

    static func logTail(_ directory: String) -> String {
        guard let data = FileManager.default.contents(atPath: directory + "/server.log") else { return "(no log)" }
        let lines = String(decoding: data.suffix(8_192), as: UTF8.self).split(separator: "\n")
        return lines.suffix(20).joined(separator: "\n")
    }
}
