import ArgumentParser
import Glibc

/// Does what the commands say, and says what became of it, one JSON object per line.
final class Driver {
    private static let commands = 1 << 40
    private static let publisher = 1 << 41

    private let options: Options
    private let servers: ServerProcesses
    private let poller = Poller()
    private let crowd: Crowd
    private var publisher: (descriptor: Int32, state: Publisher)? = nil
    private var typed: [UInt8] = []
    private var isDone = false

    init(_ options: Options, tokens: [String], servers: ServerProcesses) throws {
        self.options = options
        self.servers = servers
        self.crowd = Crowd(options, tokens: tokens, poller: self.poller)
        if let path = options.publishPath { self.publisher = try self.openPublisher(path, tokens.first) }
    }

    func run() {
        self.poller.add(STDIN_FILENO, tag: Self.commands)
        while !self.isDone {
            let now = Stamps.now()
            if self.crowd.isBusy { self.crowd.advance(now: now) }
            self.publish(now)
            self.poller.wait(milliseconds: self.timeout) { tag in
                switch tag {
                case Self.commands: self.readCommands()
                case Self.publisher: self.readPublisher()
                default: self.crowd.isReady(tag)
                }
            }
            if self.crowd.hasArrived() {
                let seconds = Double(Stamps.now() - self.crowd.arrival.since) / 1e6
                self.say("ready", [("connections", Double(self.crowd.arrival.live)), ("seconds", seconds)])
            }
            if let failure = self.crowd.failure, self.crowd.arrival.live == 0, !self.crowd.isBusy {
                Self.complain("the server refused: \(failure)")
                exit(EXIT_FAILURE)
            }
        }
    }

    private var timeout: Int32 {
        switch self.publisher?.state.pace {
        case .perSecond: 1
        default: self.crowd.isBusy ? 2 : 200
        }
    }

    // MARK: Commands

    private func readCommands() {
        var chunk = [UInt8](repeating: 0, count: 4096)
        let count = read(STDIN_FILENO, &chunk, chunk.count)
        guard count > 0 else {
            self.isDone = true
            return
        }
        self.typed += chunk[..<count]
        while let end = self.typed.firstIndex(of: 0x0A) {
            let line = String(decoding: self.typed[..<end], as: UTF8.self)
            self.typed.removeSubrange(...end)
            if let command = Command(line) {
                self.execute(command)
            } else {
                Self.complain("unknown command \"\(line)\"; see --help")
            }
        }
    }

    private func execute(_ command: Command) {
        switch command {
        case .open(let count): self.crowd.open(count)
        case .shrink(let count): self.crowd.shrink(to: count)
        case .begin: self.crowd.window.begin(self.servers)
        case .end:
            let figures = self.crowd.window.figures(self.servers)
            let more = [
                ("live", Double(self.crowd.arrival.live)), ("received", Double(self.crowd.received)),
                ("lost", Double(self.crowd.lostConnections)), ("postponed", Double(self.crowd.postponed)),
                ("published", Double(self.publisher?.state.published ?? 0)),
            ]
            self.say("end", figures + more)
        case .publish(let pace): self.publisher?.state.start(pace, now: Stamps.now())
        case .quit: self.isDone = true
        }
    }

    private func say(_ event: String, _ figures: [(String, Double)]) {
        let members = figures.map { "\"\($0)\":\($1)" }
        Self.write("{\"event\":\"\(event)\",\(members.joined(separator: ","))}\n", to: STDOUT_FILENO)
    }

    private static func complain(_ what: String) { self.write("jobfeed-load: \(what)\n", to: STDERR_FILENO) }

    private static func write(_ text: String, to descriptor: Int32) {
        let bytes = Array(text.utf8)
        _ = Glibc.write(descriptor, bytes, bytes.count)
    }

    // MARK: Publishing

    private func openPublisher(_ path: String, _ token: String?) throws -> (Int32, Publisher) {
        let descriptor = Socket.connect(port: self.options.port)
        guard descriptor >= 0 else { throw ValidationError("cannot connect the publisher") }
        let request = Handshake.request(
            path: path,
            port: self.options.port,
            headers: self.options.header,
            token: token
        )
        var isOpen = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        poll(&isOpen, 1, 5000)
        Socket.send(request, to: descriptor)
        var head: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&wait, 1, 5000) > 0, case let count = read(descriptor, &chunk, chunk.count), count > 0 else {
                throw ValidationError("the server does not answer the publisher")
            }
            head += chunk[..<count]
            switch head.withUnsafeBytes({ Handshake.answer($0) }) {
            case .incomplete: continue
            case .accepted: break
            case let answer: throw ValidationError("the server refused the publisher: \(answer)")
            }
            break
        }
        self.poller.add(descriptor, tag: Self.publisher)
        return (descriptor, Publisher(bytes: self.options.publishBytes))
    }

    private func publish(_ now: UInt64) {
        guard let descriptor = self.publisher?.descriptor, var state = self.publisher?.state else { return }
        let count = state.messagesDue(now: now, received: self.crowd.received, receivers: self.crowd.arrival.live)
        var bytes: [UInt8] = []
        for _ in 0..<count { bytes += state.message(now: Stamps.now()) }
        self.publisher?.state = state
        if count > 0 { Socket.send(bytes, to: descriptor) }
    }

    /// What a server answers a publisher is of no interest.
    private func readPublisher() {
        guard let descriptor = self.publisher?.descriptor else { return }
        var chunk = [UInt8](repeating: 0, count: 65536)
        if read(descriptor, &chunk, chunk.count) == 0 { self.publisher?.state.start(.silent, now: 0) }
    }
}
