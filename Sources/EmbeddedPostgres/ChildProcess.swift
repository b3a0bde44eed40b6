import Foundation
import Synchronization

/// A child whose standard input and output are one socket to us, so that it reads the end of the file when we die.
final class ChildProcess: Sendable {
    enum Reading: Sendable, Hashable {
        case line(String)
        case ended
        case timedOut
    }

    private struct State {
        var socket: Int32
        var unread: [UInt8] = []
        var isRunning = true
    }

    private let pid: pid_t
    private let state: Mutex<State>

    init(_ arguments: [String]) throws(EmbeddedPostgresError) {
        var ends: [Int32] = [-1, -1]
        guard Self.makeSocketPair(&ends) == 0 else { throw .system(call: "socketpair", errno: errno) }
        let (pid, status) = Self.spawn(arguments, socket: ends[1])
        _ = close(ends[1])
        guard status == 0 else {
            _ = close(ends[0])
            throw .system(call: "posix_spawn of \(arguments[0])", errno: status)
        }
        self.pid = pid
        self.state = Mutex(State(socket: ends[0]))
    }

    deinit {
        self.waitForExit()
    }

    func send(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        #if os(Linux)
        let flags = Int32(MSG_NOSIGNAL)
        #else
        let flags: Int32 = 0
        #endif
        self.state.withLock { state in
            if state.socket >= 0 { _ = Foundation.send(state.socket, bytes, bytes.count, flags) }
        }
    }

    /// The next line the child has written.
    func readLine(within timeout: Duration) -> Reading {
        let deadline = ContinuousClock.now + timeout
        return self.state.withLock { state in
            while true {
                if let newline = state.unread.firstIndex(of: UInt8(ascii: "\n")) {
                    defer { state.unread.removeSubrange(...newline) }
                    return .line(String(decoding: state.unread[..<newline], as: UTF8.self))
                }
                guard state.socket >= 0 else { return .ended }
                let left = max((deadline - ContinuousClock.now) / .milliseconds(1), 0)
                var entry = pollfd(fd: state.socket, events: Int16(POLLIN), revents: 0)
                guard poll(&entry, 1, Int32(left.rounded(.up))) > 0 else {
                    if left > 0 { continue }
                    return .timedOut
                }
                var buffer = [UInt8](repeating: 0, count: 512)
                let count = read(state.socket, &buffer, buffer.count)
                guard count > 0 else { return .ended }
                state.unread += buffer[..<count]
            }
        }
    }

    /// Lets the child see the end of its input and blocks until it has exited.
    func waitForExit() {
        self.state.withLock { state in
            guard state.isRunning else { return }
            state.isRunning = false
            _ = close(state.socket)
            state.socket = -1
            var status: Int32 = 0
            while waitpid(self.pid, &status, 0) < 0, errno == EINTR {}
        }
    }
}
