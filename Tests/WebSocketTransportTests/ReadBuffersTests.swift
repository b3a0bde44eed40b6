import NIOCore
import Testing

@testable import WebSocketTransport

@Suite struct ReadBuffersTests {
    /// How NIO uses an allocator: what its pool keeps is what this is about.
    private func capacities(reading counts: [Int]) -> [Int] {
        var buffers = NIOPooledRecvBufferAllocator(capacity: 1, recvAllocator: ReadBuffers())
        return counts.map { count in
            let (buffer, _) = buffers.buffer(allocator: ByteBufferAllocator()) { _ in }
            buffers.record(actualReadBytes: min(count, buffer.capacity))
            return buffer.capacity
        }
    }

    @Test func onlyTheFirstIsSmall() {
        #expect(self.capacities(reading: [64, 100, 100]) == [64, 2048, 2048])
    }

    @Test func readsThatFillABufferGetALargeOne() {
        let counts = [64, 2048, 65_536, 65_536, 10, 10]
        #expect(self.capacities(reading: counts) == [64, 2048, 65_536, 65_536, 65_536, 2048])
    }

    @Test func nothingButTheFirstIsKept() {
        var buffers = NIOPooledRecvBufferAllocator(capacity: 1, recvAllocator: ReadBuffers())
        var addresses: Set<UInt> = []
        var held: [ByteBuffer] = []
        for _ in 0..<4 {
            var (buffer, _) = buffers.buffer(allocator: ByteBufferAllocator()) { _ in }
            buffers.record(actualReadBytes: 64)
            buffer.withUnsafeMutableReadableBytes { _ in }
            addresses.insert(buffer.withVeryUnsafeBytes { UInt(bitPattern: $0.baseAddress) })
            held.append(buffer)
        }
        #expect(addresses.count == 4)
        #expect(buffers.count == 1)
    }
}
