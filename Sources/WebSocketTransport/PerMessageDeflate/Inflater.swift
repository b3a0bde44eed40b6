import CZlib
import NIOCore

/// Decompresses whole messages one after the other, and remembers nothing of one in the next. Belongs to one thread.
final class Inflater {
    private let stream: UnsafeMutablePointer<z_stream>
    private let scratch: UnsafeMutableRawBufferPointer

    /// - Parameter scratch: outlives this.
    init?(scratch: UnsafeMutableRawBufferPointer) {
        self.stream = .allocate(capacity: 1)
        self.stream.initialize(to: z_stream())
        self.scratch = scratch
        // The largest window, which reads what any smaller one wrote.
        guard czlib_inflate_init(self.stream, 15) == Z_OK else {
            self.stream.deallocate()
            return nil
        }
    }

    deinit {
        inflateEnd(self.stream)
        self.stream.deallocate()
    }

    /// What a sender may add that flushes now and then, beyond an eighth.
    private static let overhead = 1024

    /// Never makes more than `limit` bytes, however little it is made from.
    func inflate(_ message: ByteBuffer, limit: Int) throws(ProtocolViolation) -> ByteBuffer {
        var output = ByteBuffer()
        // The shortest compressed message is one byte, but zlib makes none of nothing right after a flush.
        if message.readableBytes == 0 {
            return output
        }
        inflateReset(self.stream)
        var isComplete = try message.withUnsafeReadableBytes { bytes throws(ProtocolViolation) in
            try self.feed(bytes, limit: limit, to: &output) == .ended
        }
        if !isComplete {
            isComplete = try Deflater.tail.withUnsafeReadableBytes { bytes throws(ProtocolViolation) in
                try self.feed(bytes, limit: limit, to: &output) != .withinBlock
            }
        }
        guard isComplete else {
            throw .invalidCompression
        }
        // Work has to show in what a limit of commands counts: 64 KB of empty blocks with tables take 8 ms, and 64 KB of
        // zeros 30 µs.
        guard message.readableBytes <= output.readableBytes + output.readableBytes / 8 + Self.overhead else {
            throw .deflatedToMore
        }
        return output
    }

    private enum Position {
        case withinBlock
        case betweenBlocks
        /// After a block that says it is the last.
        case ended
    }

    private func feed(
        _ input: UnsafeRawBufferPointer,
        limit: Int,
        to output: inout ByteBuffer
    ) throws(ProtocolViolation) -> Position {
        let first = input.baseAddress?.assumingMemoryBound(to: UInt8.self)
        self.stream.pointee.next_in = UnsafeMutablePointer(mutating: first)
        self.stream.pointee.avail_in = UInt32(clamping: input.count)
        while true {
            // One byte more than allowed tells a message of the allowed size from a larger one.
            let room = min(self.scratch.count, limit - output.readableBytes + 1)
            self.stream.pointee.next_out = self.scratch.baseAddress?.assumingMemoryBound(to: UInt8.self)
            self.stream.pointee.avail_out = UInt32(room)
            let code = CZlib.inflate(self.stream, Z_SYNC_FLUSH)
            let written = room - Int(self.stream.pointee.avail_out)
            guard output.readableBytes + written <= limit else {
                throw .tooBig(limit: limit)
            }
            output.writeBytes(UnsafeRawBufferPointer(rebasing: self.scratch[..<written]))
            switch code {
            case Z_STREAM_END:
                // RFC 7692 section 7.2.3.4: after a last block there may be others.
                if self.stream.pointee.avail_in == 0 {
                    return .ended
                }
                inflateReset(self.stream)
            case Z_OK, Z_BUF_ERROR:
                if self.stream.pointee.avail_out > 0 {
                    return self.isBetweenBlocks ? .betweenBlocks : .withinBlock
                }
            default:
                throw .invalidCompression
            }
        }
    }

    /// zlib.h on `data_type`: 128 after the end of a block, and in the lowest six bits how many bits of a byte are left.
    private var isBetweenBlocks: Bool {
        self.stream.pointee.data_type & (128 | 63) == 128
    }
}
