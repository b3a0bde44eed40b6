import Glibc

/// One socket of the crowd.
struct Connection {
    /// idle → connecting → handshaking → joining → live; from each of them to closed, and from closed to connecting.
    enum Phase {
        case idle
        case connecting
        case handshaking
        /// Waits for its subscriptions to be live.
        case joining
        case live
        case closed
    }

    var descriptor: Int32 = -1
    var phase = Phase.idle
    /// Subscriptions that are live.
    var joined = 0
    /// When to connect again, in microseconds; 0 is never.
    var retryAt: UInt64 = 0
    /// The beginning of a frame whose end has not come yet.
    var carry: [UInt8] = []
    /// Where to resume.
    var cursor: [UInt8] = []
}
