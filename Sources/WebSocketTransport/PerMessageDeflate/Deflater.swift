import CZlib
import NIOCore

/// Compresses whole messages one after the other, and remembers nothing of one in the next. Belongs to one thread.
final class Deflater {
    /// Ends every flush, and is left out of what is sent (RFC 7692 section 7.2.1).
    static let tail = ByteBuffer(bytes: [0x00, 0x00, 0xFF, 0xFF])

    // zlib keeps the address of its stream.
    private let stream: UnsafeMutablePointer<z_stream>
    private let scratch: UnsafeMutableRawBufferPointer

    /// - Parameter scratch: outlives this.
    init?(windowBits: Int, scratch: UnsafeMutableRawBufferPointer) {
        self.stream = .allocate(capacity: 1)
        self.stream.initialize(to: z_stream())
        self.scratch = scratch
        // Measured on frames of the feed, of 160 bytes to 50 KB: level 6 takes 1.1 to 3.5 times as long as level 1 and
        // gains 0.1 to 3 % of the size; with memory level 5 instead of 8 there is less to clear for each message.
        guard czlib_deflate_init(self.stream, 1, Int32(windowBits), 5) == Z_OK else {
            self.stream.deallocate()
            return nil
        }
    }

    deinit {
        deflateEnd(self.stream)
        self.stream.deallocate()
    }

    /// `nil` when it would not become smaller.
    func deflate(_ message: ByteBuffer) -> ByteBuffer? {
        deflateReset(self.stream)
        // Beyond this it is no gain.
        let limit = message.readableBytes + Self.tail.readableBytes - 1
        var output = ByteBuffer()
        let isSmaller = message.withUnsafeReadableBytes { input in
            let first = input.baseAddress?.assumingMemoryBound(to: UInt8.self)
            self.stream.pointee.next_in = UnsafeMutablePointer(mutating: first)
            self.stream.pointee.avail_in = UInt32(clamping: input.count)
            while true {
                let room = min(self.scratch.count, limit - output.readableBytes)
                self.stream.pointee.next_out = self.scratch.baseAddress?.assumingMemoryBound(to: UInt8.self)
                self.stream.pointee.avail_out = UInt32(room)
                let code = room > 0 ? CZlib.deflate(self.stream, Z_SYNC_FLUSH) : Z_STREAM_ERROR
                // Z_BUF_ERROR: all had just fitted before.
                guard code == Z_OK || code == Z_BUF_ERROR else {
                    return false
                }
                let written = room - Int(self.stream.pointee.avail_out)
                output.writeBytes(UnsafeRawBufferPointer(rebasing: self.scratch[..<written]))
                if written < room {
                    return true
                }
            }
        }
        guard isSmaller else {
            return nil
        }
        output.moveWriterIndex(to: output.writerIndex - Self.tail.readableBytes)
        return output
    }
}
