package import NIOCore

/// Buffers to read into that live no longer than what was read from them.
///
/// NIO keeps the first buffer of a channel for the channel's life; with its own allocators that are 2 KB of each idle
/// connection. This one says of every buffer that the next may be larger, and so gets none of them back.
package struct ReadBuffers: RecvByteBufferAllocator {
    /// What NIO keeps: too small for a handshake, which takes a second read.
    private static let firstBytes = 64
    private static let usualBytes = 2048
    private static let largeBytes = 65_536

    private var nextBytes = Self.firstBytes

    /// To be called before the channel reads for the first time.
    package static func install(on channel: any Channel) throws {
        try channel.syncOptions?.setOption(.maxMessagesPerRead, value: 1)
        try channel.syncOptions?.setOption(.recvAllocator, value: ReadBuffers())
    }

    package func buffer(allocator: ByteBufferAllocator) -> ByteBuffer {
        allocator.buffer(capacity: self.nextBytes)
    }

    package mutating func record(actualReadBytes: Int) -> Bool {
        let isLarge = self.nextBytes > Self.firstBytes && actualReadBytes >= self.nextBytes
        self.nextBytes = isLarge ? Self.largeBytes : Self.usualBytes
        return true
    }
}
