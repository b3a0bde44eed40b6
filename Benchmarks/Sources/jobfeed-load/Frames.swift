import CLinux
import Glibc

/// The server's side of RFC 6455, as far as somebody who counts has to understand it.
enum Frames {
    enum Opcode {
        static let text: UInt8 = 0x1
        static let binary: UInt8 = 0x2
        static let close: UInt8 = 0x8
        static let ping: UInt8 = 0x9
        static let pong: UInt8 = 0xA
    }

    /// Calls `body` for each whole frame.
    ///
    /// - Returns: how many bytes those frames took.
    @inline(__always)
    static func forEach(
        in bytes: UnsafeRawBufferPointer,
        _ body: (_ opcode: UInt8, _ payload: UnsafeRawBufferPointer) -> Void
    ) -> Int {
        var offset = 0
        while bytes.count - offset >= 2 {
            var header = 2
            var length = Int(bytes[offset + 1] & 0x7F)
            if length == 126 {
                header = 4
                guard bytes.count - offset >= header else { break }
                length = Int(bytes[offset + 2]) << 8 | Int(bytes[offset + 3])
            } else if length == 127 {
                header = 10
                guard bytes.count - offset >= header else { break }
                length = (2..<10).reduce(0) { $0 << 8 | Int(bytes[offset + $1]) }
            }
            guard length >= 0, bytes.count - offset - header >= length else { break }
            let start = offset + header
            body(bytes[offset] & 0x0F, UnsafeRawBufferPointer(rebasing: bytes[start..<start + length]))
            offset = start + length
        }
        return offset
    }

    /// A client's frame. The mask is zero, which RFC 6455 §5.3 asks a client not to choose, and costs this one nothing.
    static func masked(_ opcode: UInt8, _ payload: some Collection<UInt8>) -> [UInt8] {
        var frame: [UInt8] = [0x80 | opcode]
        switch payload.count {
        case ..<126: frame.append(0x80 | UInt8(payload.count))
        case ..<65536: frame += [0x80 | 126, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
        default: frame += [0x80 | 127] + (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (56 - 8 * $0)) }
        }
        return frame + [0, 0, 0, 0] + payload
    }

    /// How often `needle` is in there.
    static func count(_ needle: [UInt8], in payload: UnsafeRawBufferPointer) -> Int {
        guard var place = payload.baseAddress, !needle.isEmpty else { return 0 }
        let end = place + payload.count
        var count = 0
        while let found = find_bytes(place, end - place, needle, needle.count) {
            count += 1
            place = UnsafeRawPointer(found) + needle.count
        }
        return count
    }

    /// What stands behind the last `"cursor":"`.
    static func cursor(in payload: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        guard var place = payload.baseAddress else { return nil }
        let end = place + payload.count
        var last: UnsafeRawBufferPointer? = nil
        while let found = find_bytes(place, end - place, self.cursorKey, self.cursorKey.count) {
            place = UnsafeRawPointer(found) + self.cursorKey.count
            guard let quote = memchr(place, 0x22, end - place) else { break }
            last = UnsafeRawBufferPointer(start: place, count: UnsafeRawPointer(quote) - place)
        }
        return last
    }

    private static let cursorKey = Array("\"cursor\":\"".utf8)
}
