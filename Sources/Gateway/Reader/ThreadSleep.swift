#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// Sleeps on a thread of our own.
enum ThreadSleep {
    /// Sleeps in small pieces, so that a stop is noticed.
    static func wait(_ duration: Duration, unless isStopping: () -> Bool) {
        let until = ContinuousClock.now + duration
        while ContinuousClock.now < until, !isStopping() {
            usleep(50_000)
        }
    }
}
