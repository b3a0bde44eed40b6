#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// One of the standard streams.
struct Terminal: Sendable {
    static let output = Terminal(descriptor: 1)
    static let errors = Terminal(descriptor: 2)

    let descriptor: Int32

    var isTerminal: Bool { isatty(self.descriptor) == 1 }

    /// In columns and rows, as of now; the window may have changed since the last write.
    var size: (width: Int, height: Int) {
        var size = winsize()
        guard ioctl(self.descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return (80, 24) }
        return (Int(size.ws_col), size.ws_row > 0 ? Int(size.ws_row) : 24)
    }

    /// Whether the reading end of the pipe has been closed.
    var isAbandoned: Bool {
        var poller = pollfd(fd: self.descriptor, events: 0, revents: 0)
        return poll(&poller, 1, 0) > 0 && poller.revents & Int16(POLLERR) != 0
    }

    /// Writes all of `text` at once, past any buffer; answers false when the reader is gone.
    func write(_ text: String) -> Bool {
        var text = text
        return text.withUTF8 { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let part = UnsafeBufferPointer(rebasing: rest)
                #if canImport(Glibc)
                let count = Glibc.write(self.descriptor, part.baseAddress, part.count)
                #elseif canImport(Musl)
                let count = Musl.write(self.descriptor, part.baseAddress, part.count)
                #else
                let count = Darwin.write(self.descriptor, part.baseAddress, part.count)
                #endif
                if count > 0 {
                    rest = rest.dropFirst(count)
                } else if errno == EAGAIN {
                    // The stream is shared with somebody who made it nonblocking.
                    var poller = pollfd(fd: self.descriptor, events: Int16(POLLOUT), revents: 0)
                    poll(&poller, 1, -1)
                } else if errno != EINTR {
                    return false
                }
            }
            return true
        }
    }

    /// Hours, minutes and seconds in the zone of this machine.
    static func localTime(_ date: Date) -> String {
        var seconds = time_t(date.timeIntervalSince1970.rounded(.down))
        var parts = tm()
        localtime_r(&seconds, &parts)
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
    }
}
