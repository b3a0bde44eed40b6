import Fuzz
import NIOCore
import Testing

@testable import WebSocketTransport

@Suite struct CodecTests {
    private func inflate(_ bytes: [UInt8], limit: Int = 1000) -> String {
        do {
            return String(buffer: try DeflateCodec.current.inflate(ByteBuffer(bytes: bytes), limit: limit))
        } catch {
            return "\(error.code)"
        }
    }

    /// RFC 7692 sections 7.2.3.1 to 7.2.3.6, without frame headers.
    static let examples: [(bytes: [UInt8], text: String)] = [
        ([0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00], "Hello"),
        ([0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00], "Hello"),
        ([0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00], "Hello"),
        ([0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00], "Hello"),
        ([0x00], ""),
        // What zlib makes of nothing at all, and of nothing as the last block, whose tail may be missing.
        ([], ""),
        ([0x02, 0x00], ""),
        ([0x03, 0x00], ""),
        ([0x01], ""),
        // Last blocks one after the other.
        (
            [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x03, 0x00, 0x00],
            "HelloHello"
        ),
    ]

    @Test(arguments: Self.examples)
    func whatTheStandardShows(bytes: [UInt8], text: String) {
        #expect(self.inflate(bytes) == text)
    }

    @Test(arguments: [
        // Refers to the message before, section 7.2.3.2: that is context takeover.
        [0xF2, 0x00, 0x11, 0x00, 0x00],
        // Cut off.
        [0xF2, 0x48, 0xCD, 0xC9], [0xF2], [0x00, 0x09, 0x00, 0xF6, 0xFF, 0x48],
        // No such block, a wrong length, a code without end.
        [0xFF, 0xFF], [0x00, 0x05, 0x00, 0xFA, 0xFE, 0x48], [0x04, 0x00, 0x00, 0x00],
        // Refers back beyond a last block.
        [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0xF2, 0x00, 0x11, 0x00, 0x00],
        Array("no deflate at all".utf8),
    ])
    func whatIsNoDeflate(_ bytes: [UInt8]) {
        #expect(self.inflate(bytes) == "1007")
        #expect(self.inflate(Self.examples[0].bytes) == "Hello")
    }

    @Test(arguments: [0, 1, 100, 65_535, 65_536, 65_537, 200_000])
    func theLimitHoldsToTheByte(_ limit: Int) throws {
        let codec = DeflateCodec.current
        let allowed = ByteBuffer(repeating: 0x61, count: limit)
        let deflated = codec.deflate(allowed, windowBits: 15) ?? ByteBuffer()
        #expect(try codec.inflate(deflated, limit: limit) == (deflated.readableBytes == 0 ? ByteBuffer() : allowed))
        let larger = ByteBuffer(repeating: 0x61, count: max(limit, 63) + 1)
        let bomb = try #require(codec.deflate(larger, windowBits: 15))
        #expect(throws: ProtocolViolation.tooBig(limit: limit)) { try codec.inflate(bomb, limit: limit) }
    }

    @Test func aBombTakesNoMoreThanTheLimit() throws {
        // A megabyte that stands for a gigabyte, in a thousand blocks.
        let piece = try #require(
            DeflateCodec.current.deflate(ByteBuffer(repeating: 0, count: 1 << 20), windowBits: 15)
        )
        var bomb = ByteBuffer()
        for _ in 0..<1000 {
            bomb.writeImmutableBuffer(piece)
            bomb.writeImmutableBuffer(Deflater.tail)
        }
        #expect(self.inflate(Array(bomb.readableBytesView), limit: 65_536) == "1009")
    }

    @Test func muchMayNotStandForLittle() {
        // Empty blocks; and flushes after single bytes, as a sender without a buffer has them.
        #expect(self.inflate(Array(repeating: [0x03, 0x00] as [UInt8], count: 600).flatMap(\.self)) == "1009")
        let byte: [UInt8] = [0x4A, 0x04, 0x00, 0x00, 0x00, 0xFF, 0xFF]
        let flushed = Array(repeating: byte, count: 100).flatMap(\.self)
        #expect(self.inflate(Array(flushed.dropLast(4))) == String(repeating: "a", count: 100))
    }

    @Test func whatWouldNotBecomeSmallerIsLeft() {
        var random = FuzzRandom(seed: 1)
        for count in [0, 1, 10, 100, 1000, 65_536, 300_000] {
            #expect(DeflateCodec.current.deflate(ByteBuffer(bytes: random.bytes(count)), windowBits: 15) == nil)
        }
    }

    @Test func everyWindowReachesAsFarAsItMay() throws {
        var random = FuzzRandom(seed: 2)
        for bits in 9...15 {
            let noise = random.bytes((1 << bits) + 1)
            let quarter = noise[..<(1 << (bits - 2))]
            let near = DeflateCodec.current.deflate(ByteBuffer(bytes: quarter + quarter), windowBits: bits)
            #expect(try #require(near).readableBytes < quarter.count * 2 * 8 / 10)
            // The same again from just beyond the window is noise to whoever keeps to it.
            #expect(DeflateCodec.current.deflate(ByteBuffer(bytes: noise + noise), windowBits: bits) == nil)
        }
    }

    // MARK: Fuzz

    private static func message(_ random: inout FuzzRandom) -> ByteBuffer {
        let words = (0..<(1 + random.below(20))).map { _ in random.text(random.below(30)) }
        let length = random.pick([0, 3, 50, 400, 5_000, 70_000])
        var message = ByteBuffer()
        while message.readableBytes < length {
            message.writeString(random.pick(words) + "\(random.below(1000))")
        }
        return message
    }

    @Test func whatIsDeflatedIsInflated() async {
        var deflated = 0
        let failure = await Fuzz.failure(of: "round trips", iterations: 200) { random in
            let message = Self.message(&random)
            let bits = 9 + random.below(7)
            guard let short = DeflateCodec.current.deflate(message, windowBits: bits) else { return }
            deflated += 1
            let back = try DeflateCodec.current.inflate(short, limit: message.readableBytes)
            guard back == message, short.readableBytes < message.readableBytes else {
                throw Fuzz.Mistake("\(message.readableBytes) bytes in a window of \(bits)")
            }
        }
        #expect(failure == nil)
        #expect(deflated > 0)
    }

    @Test func nothingBreaksTheInflater() async {
        var outcomes: Set<UInt16> = []
        let limit = 2000
        let failure = await Fuzz.failure(of: "inflater", iterations: 1000) { random in
            let deflated = DeflateCodec.current.deflate(Self.message(&random), windowBits: 15) ?? ByteBuffer()
            let bytes =
                random.chance(80)
                ? random.mutated(Array(deflated.readableBytesView)) : random.bytes(random.below(300))
            do {
                let message = try DeflateCodec.current.inflate(ByteBuffer(bytes: bytes), limit: limit)
                outcomes.insert(0)
                guard message.readableBytes <= limit else { throw Fuzz.Mistake("\(message.readableBytes) bytes") }
            } catch let violation as ProtocolViolation {
                outcomes.insert(violation.code)
            }
            let example = ByteBuffer(bytes: Self.examples[0].bytes)
            guard try DeflateCodec.current.inflate(example, limit: 5) == ByteBuffer(string: "Hello") else {
                throw Fuzz.Mistake("something is left of \(bytes)")
            }
        }
        #expect(failure == nil)
        #expect(outcomes == [0, 1007, 1009])
    }
}
