#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// Sleeps on a thread of our own.
enum ThreadSleep {
    static func milliseconds(_ milliseconds: Int) {
        usleep(UInt32(clamping: milliseconds * 1000))
    }
}
