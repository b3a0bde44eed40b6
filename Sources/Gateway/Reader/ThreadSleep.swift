#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// Sleeps on a thread of our own.
enum ThreadSleep {
    static func nanoseconds(_ nanoseconds: Int64) {
        usleep(UInt32(clamping: nanoseconds / 1000))
    }

    /// Sleeps in small pieces, so that a stop is noticed.
    static func wait(_ duration: Duration, unless isStopping: () -> Bool) {
        let until = ContinuousClock.now + duration
        while ContinuousClock.now < until, !isStopping() {
            Self.nanoseconds(50_000_000)
        }
    }
}
