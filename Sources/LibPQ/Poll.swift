import CLibPQ

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// poll(2) on one or two descriptors with a deadline, restarted after signals.
enum Poll {
    enum Direction {
        case reading
        /// Reading too: a server that sends while we write may wait for us to read.
        case writing
    }

    enum Outcome {
        case timedOut
        case ready(first: Bool, second: Bool)
    }

    static func isReadable(_ descriptor: Int32) -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, 0) > 0
    }

    /// - Parameter second: waited for as readable.
    static func wait(
        _ direction: Direction,
        _ first: Int32,
        _ second: Int32?,
        until deadline: ContinuousClock.Instant
    ) -> Outcome {
        let events = direction == .reading ? POLLIN : POLLIN | POLLOUT
        // poll ignores negative descriptors.
        var entries = (
            pollfd(fd: first, events: Int16(events), revents: 0),
            pollfd(fd: second ?? -1, events: Int16(POLLIN), revents: 0)
        )
        while true {
            let left = max(deadline - ContinuousClock.now, .zero)
            let (seconds, attoseconds) = left.components
            let ready = withUnsafeMutableBytes(of: &entries) {
                clibpq_poll(
                    $0.baseAddress?.assumingMemoryBound(to: pollfd.self),
                    2,
                    Int(min(seconds, 86_400)),
                    Int(attoseconds / 1_000_000_000)
                )
            }
            if ready > 0 { return .ready(first: entries.0.revents != 0, second: entries.1.revents != 0) }
            if ready == 0, left == .zero || ContinuousClock.now >= deadline { return .timedOut }
            // Anything but a signal is reported as readable: the read that follows finds out what is wrong.
            if ready < 0, errno != EINTR { return .ready(first: true, second: false) }
        }
    }
}
