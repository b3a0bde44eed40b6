import Glibc

/// Finds in a payload the times at which its changes were made: `~` and decimal microseconds since 1970.
enum Stamps {
    static let mark: UInt8 = 0x7E

    /// Calls `body` for each stamp, in order.
    @inline(__always)
    static func forEach(in payload: UnsafeRawBufferPointer, _ body: (UInt64) -> Void) {
        guard var place = payload.baseAddress else { return }
        let end = place + payload.count
        while place < end, let found = memchr(place, Int32(self.mark), end - place) {
            place = UnsafeRawPointer(found) + 1
            var value: UInt64 = 0
            var digits = 0
            while place < end, digits < 18 {
                let digit = place.load(as: UInt8.self) &- 0x30
                guard digit <= 9 else { break }
                value = value &* 10 &+ UInt64(digit)
                digits += 1
                place += 1
            }
            if digits > 0 { body(value) }
        }
    }

    /// Microseconds since 1970, as `clock_timestamp()` has them in a database on this machine.
    static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return UInt64(time.tv_sec) &* 1_000_000 &+ UInt64(time.tv_nsec) / 1000
    }
}
