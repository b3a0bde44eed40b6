import ArgumentParser
import Glibc

/// Opens many WebSockets and measures what comes; told by lines what to do, so that whoever drives it decides when.
@main
struct Load: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jobfeed-load",
        abstract: "A crowd of WebSocket clients that measures what a server sends them.",
        discussion: """
            Reads commands from standard input: "open N", "shrink N", "begin", "end", "rate PER-SECOND", "window N", "quit"; \
            its end is quit, too. Answers each open with {"event":"ready"} and each end with the figures since begin. \
            A change is a text ~MICROSECONDS in a frame; its latency is the time since then.
            """
    )

    @OptionGroup var options: Options

    func run() throws {
        signal(SIGPIPE, SIG_IGN)
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        let tokens = try self.options.tokens.map { try Self.lines(of: $0) } ?? []
        let pids = self.options.pids.split(separator: ",").compactMap { Int32($0) }
        try Driver(self.options, tokens: tokens, servers: ServerProcesses(pids: pids)).run()
    }

    private static func lines(of path: String) throws -> [String] {
        guard let file = fopen(path, "r") else { throw ValidationError("cannot read \(path)") }
        defer { fclose(file) }
        var text: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while case let count = fread(&chunk, 1, chunk.count, file), count > 0 { text += chunk[..<count] }
        return String(decoding: text, as: UTF8.self).split(separator: "\n").map(String.init)
    }
}
