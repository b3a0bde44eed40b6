import Fuzz
import NIOCore
import NIOEmbedded
import NIOWebSocket
import Testing

@testable import WebSocketTransport

/// Random and broken frames, cut into random pieces: the same answers however they are cut, and nothing piles up.
@Suite struct StreamFuzzTests {
    private static let messageLimit = 600
    private static let queueLimit = 2000

    // MARK: Streams

    private static func frame(_ random: inout FuzzRandom) -> [UInt8] {
        let opcode = random.pick([0, 0, 1, 1, 1, 1, 2, 9, 9, 10, 8, 3, 11] as [UInt8])
        var payload = random.chance(80) ? Array(random.text(random.below(40)).utf8) : random.bytes(random.below(700))
        if opcode == 8 {
            payload = random.pick([[], [3], [0x03, 0xE8], [0x03, 0xE8, 0xFF], [0x03, 0xED]]) + payload.prefix(9)
        }
        if opcode > 7, random.chance(95) { payload = Array(payload.prefix(125)) }
        let fin: UInt8 = random.chance(opcode > 7 ? 97 : 70) ? 0x80 : 0
        let reserved: UInt8 = random.chance(2) ? random.pick([0x40, 0x20, 0x10]) : 0
        let mask: UInt8 = random.chance(98) ? 0x80 : 0
        var isDeflated: UInt8 = 0
        if opcode < 3, fin != 0, random.chance(30),
            let deflated = DeflateCodec.current.deflate(ByteBuffer(bytes: payload), windowBits: 15)
        {
            payload = Array(deflated.readableBytesView)
            if random.chance(5) { payload = random.mutated(payload) }
            isDeflated = 0x40
        }
        var length = UInt64(payload.count)
        // A length that no payload follows.
        if random.chance(1) { length = random.pick([1 << 63, .max, 1 << 32, 65_536, 601]) }
        var bytes: [UInt8] = [fin | reserved | isDeflated | opcode]
        switch length {
        case ..<126 where random.chance(97): bytes.append(mask | UInt8(length))
        case ..<65_536: bytes += [mask | 126, UInt8(length >> 8), UInt8(truncatingIfNeeded: length)]
        default:
            bytes +=
                [mask | 127]
                + stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: length >> UInt64($0)) }
        }
        guard mask != 0 else { return bytes + payload }
        let key = random.bytes(4)
        return bytes + key + payload.enumerated().map { $1 ^ key[$0 % 4] }
    }

    private static func stream(_ random: inout FuzzRandom) -> [UInt8] {
        let bytes = (0..<random.below(12)).flatMap { _ in Self.frame(&random) }
        if random.chance(60) { return bytes }
        return random.chance(80) ? random.mutated(bytes) : random.bytes(random.below(300))
    }

    private static func pieces(_ bytes: [UInt8], _ random: inout FuzzRandom) -> [ArraySlice<UInt8>] {
        let longest = random.pick([1, 3, 20, 1000])
        var rest = bytes[...]
        var pieces: [ArraySlice<UInt8>] = []
        while !rest.isEmpty {
            let piece = rest.prefix(1 + random.below(longest))
            pieces.append(piece)
            rest = rest.dropFirst(piece.count)
        }
        return pieces
    }

    // MARK: Properties

    private static func peer() throws -> EmbeddedPeer {
        let peer = try EmbeddedPeer {
            $0.maxMessageBytes = Self.messageLimit
            $0.maxQueuedBytes = Self.queueLimit
            $0.deflate = PerMessageDeflate(thresholdBytes: 64)
        }
        peer.session.onText = { connection, text in connection.send(.text(text)) }
        return peer
    }

    private static func outcome(_ pieces: [ArraySlice<UInt8>]) throws -> [String] {
        let peer = try Self.peer()
        for piece in pieces where peer.channel.isActive {
            try peer.send(bytes: Array(piece))
            // A close waits for its frame to be written.
            peer.channel.embeddedEventLoop.run()
        }
        let outcome = peer.session.events + ["sent"] + (try peer.sent())
        _ = try? peer.channel.finish(acceptAlreadyClosed: true)
        return outcome
    }

    @Test func cuttingAStreamChangesNothing() async {
        var closed = 0
        let failure = await Fuzz.failure(of: "streams", iterations: 300) { random in
            let bytes = Self.stream(&random)
            let whole = try Self.outcome(bytes.isEmpty ? [] : [bytes[...]])
            let inPieces = try Self.outcome(Self.pieces(bytes, &random))
            if whole.contains(where: { $0.hasPrefix("close ") }) { closed += 1 }
            guard whole == inPieces else { throw Fuzz.Mistake("\(whole)\nin pieces \(inPieces)\nbytes \(bytes)") }
            guard whole.allSatisfy({ $0.utf8.count <= Self.messageLimit + 14 }) else {
                throw Fuzz.Mistake("longer than allowed")
            }
        }
        #expect(failure == nil)
        #expect(closed > 0)
    }

    @Test func whatWaitsIsBounded() async {
        var queued = 0
        let failure = await Fuzz.failure(of: "queues", iterations: 100) { random in
            let peer = try Self.peer()
            let pieces = (0..<4).flatMap { _ in Self.pieces(Self.stream(&random), &random) }
            for piece in pieces where peer.channel.isActive {
                if random.chance(10) { peer.setWritable(random.chance(50)) }
                try peer.send(bytes: Array(piece))
                if random.chance(5) { peer.advance(seconds: Int64(random.below(20))) }
                peer.channel.embeddedEventLoop.run()
                queued = max(queued, peer.connection.queuedBytes)
                guard peer.connection.queuedBytes <= Self.queueLimit else {
                    throw Fuzz.Mistake("\(peer.connection.queuedBytes) bytes wait")
                }
            }
            _ = try? peer.channel.finish(acceptAlreadyClosed: true)
            peer.channel.embeddedEventLoop.run()
            guard peer.session.events.count(where: { $0.hasPrefix("closed") }) == 1, peer.session.connection == nil
            else {
                throw Fuzz.Mistake("not told once that it closed: \(peer.session.events)")
            }
        }
        #expect(failure == nil)
        #expect(queued > 0)
    }
}
