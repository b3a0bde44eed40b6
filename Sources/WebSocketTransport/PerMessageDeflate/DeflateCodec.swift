import NIOCore
import NIOPosix

/// All the state of zlib that a thread has, whatever the number of its connections.
final class DeflateCodec {
    // Unsafe only for what the compiler sees: every thread has a value of its own.
    nonisolated(unsafe) private static let perThread = ThreadSpecificVariable<DeflateCodec>()

    static var current: DeflateCodec {
        if let codec = Self.perThread.currentValue {
            return codec
        }
        let codec = DeflateCodec()
        Self.perThread.currentValue = codec
        return codec
    }

    private let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
    private var deflaters: [Int: Deflater] = [:]
    private var inflater: Inflater?

    private init() {}

    deinit {
        self.scratch.deallocate()
    }

    /// `nil` when it would not become smaller.
    func deflate(_ message: ByteBuffer, windowBits: Int) -> ByteBuffer? {
        if let deflater = self.deflaters[windowBits] {
            return deflater.deflate(message)
        }
        let deflater = Deflater(windowBits: windowBits, scratch: self.scratch)
        self.deflaters[windowBits] = deflater
        return deflater?.deflate(message)
    }

    func inflate(_ message: ByteBuffer, limit: Int) throws(ProtocolViolation) -> ByteBuffer {
        if self.inflater == nil {
            self.inflater = Inflater(scratch: self.scratch)
        }
        guard let inflater else {
            throw .outOfMemory
        }
        return try inflater.inflate(message, limit: limit)
    }
}

@available(*, unavailable)
extension DeflateCodec: Sendable {}
