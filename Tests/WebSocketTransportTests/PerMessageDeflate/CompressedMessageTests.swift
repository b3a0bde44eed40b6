import NIOCore
import NIOEmbedded
import NIOWebSocket
import Testing

@testable import WebSocketTransport

@Suite struct CompressedMessageTests {
    typealias Case = MessageAssemblerTests.Case

    private static let hello: [UInt8] = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]
    private static let bomb: [UInt8] = {
        let bomb = DeflateCodec.current.deflate(ByteBuffer(repeating: 0x61, count: 100), windowBits: 15)
        return Array((bomb ?? ByteBuffer()).readableBytesView)
    }()
    /// 0xC0 0x80 as a stored block.
    private static let noUTF8: [UInt8] = [0x00, 0x02, 0x00, 0xFD, 0xFF, 0xC0, 0x80, 0x00]

    static let cases: [Case] = [
        Case("compressed", [.masked(.text, bytes: Self.hello, rsv1: true)], ["text Hello"]),
        Case("not compressed", [.masked(.text, "Hello")], ["text Hello"]),
        Case("compressed binary", [.masked(.binary, bytes: Self.hello, rsv1: true)], ["binary"]),
        Case("empty", [.masked(.text, bytes: [0], rsv1: true)], ["text "]),
        Case(
            "fragments with a ping between, RFC 7692 section 7.2.3.1",
            [
                .masked(.text, bytes: Array(Self.hello[..<3]), fin: false, rsv1: true), .masked(.ping, "x"),
                .masked(.continuation, bytes: Array(Self.hello[3...])), .masked(.text, "next"),
            ],
            ["-", "ping x", "text Hello", "text next"]
        ),
        Case(
            "a last fragment of nothing",
            [.masked(.text, bytes: Self.hello, fin: false, rsv1: true), .masked(.continuation, "")],
            ["-", "text Hello"]
        ),
        Case("RSV1 of a ping", [.masked(.ping, "x", rsv1: true)], ["1002"]),
        Case("RSV1 of a close", [.masked(.connectionClose, "", rsv1: true)], ["1002"]),
        Case(
            "RSV1 of a continuation",
            [
                .masked(.text, bytes: Array(Self.hello[..<3]), fin: false, rsv1: true),
                .masked(.continuation, bytes: Array(Self.hello[3...]), rsv1: true),
            ],
            ["-", "1002"]
        ),
        Case(
            "RSV1 of a continuation only",
            [.masked(.text, "a", fin: false), .masked(.continuation, bytes: Self.hello, rsv1: true)],
            ["-", "1002"]
        ),
        Case("RSV2", [.masked(.text, bytes: Self.hello, rsv1: true, rsv2: true)], ["1002"]),
        Case("cut off", [.masked(.text, bytes: Array(Self.hello[..<3]), rsv1: true)], ["1007"]),
        Case("no deflate", [.masked(.text, "Hello", rsv1: true)], ["1007"]),
        Case("no UTF-8", [.masked(.text, bytes: Self.noUTF8, rsv1: true)], ["1007"]),
        Case("a bomb", [.masked(.text, bytes: Self.bomb, rsv1: true)], ["1009"]),
        Case(
            "a bomb in pieces",
            Self.bomb.enumerated().map { index, byte in
                .masked(
                    index == 0 ? .text : .continuation,
                    bytes: [byte],
                    fin: index == Self.bomb.count - 1,
                    rsv1: index == 0
                )
            },
            Array(repeating: "-", count: Self.bomb.count - 1) + ["1009"]
        ),
        Case("a bomb that nobody reads", [.masked(.binary, bytes: Self.bomb, rsv1: true)], ["binary"]),
        Case("more than allowed even as it is", [.masked(.text, "0123456789abcdefg", rsv1: true)], ["1009"]),
    ]

    @Test(arguments: Self.cases)
    func received(_ testCase: Case) {
        #expect(MessageAssemblerTests.assemble(testCase.frames, inflates: true) == testCase.expected)
    }

    @Test func withoutAgreementRSV1IsAViolation() {
        #expect(MessageAssemblerTests.assemble([.masked(.text, bytes: Self.hello, rsv1: true)]) == ["1002"])
    }

    // MARK: A connection

    @Test func whatWaitsForTheSocketIsCompressed() throws {
        let peer = try EmbeddedPeer {
            $0.deflate = PerMessageDeflate(thresholdBytes: 100)
            $0.maxQueuedBytes = 1000
        }
        peer.setWritable(false)
        peer.connection.send(.text(ByteBuffer(repeating: 0x61, count: 50_000)))
        #expect(peer.connection.isOpen)
        #expect((1...300).contains(peer.connection.queuedBytes))
        peer.setWritable(true)
        #expect(try peer.sent() == ["deflated text " + String(repeating: "a", count: 50_000)])
        _ = try peer.channel.finish()
    }

    @Test func everyReceiverIsObserved() throws {
        nonisolated(unsafe) var observed: [(Int, Int)] = []
        let peer = try EmbeddedPeer {
            $0.deflate = PerMessageDeflate(thresholdBytes: 100) { observed.append(($0, $1)) }
        }
        let frame = OutboundFrame.text(ByteBuffer(repeating: 0x61, count: 200))
        peer.connection.send(frame)
        peer.connection.send(frame)
        peer.connection.send(.text(ByteBuffer(string: "short")))
        #expect(observed.map(\.0) == [204, 204])
        #expect(observed.allSatisfy { $0.1 < 30 })
        _ = try peer.channel.finish()
    }

    @Test func aBombClosesTheConnection() throws {
        let peer = try EmbeddedPeer {
            $0.deflate = PerMessageDeflate()
            $0.maxMessageBytes = 1000
        }
        let bomb = try #require(
            DeflateCodec.current.deflate(ByteBuffer(repeating: 0x61, count: 100_000), windowBits: 15)
        )
        let frame = OutboundFrame.encode(.text, bomb, maskingKey: [1, 2, 3, 4], isDeflated: true)
        try peer.send(bytes: Array(frame.bytes.readableBytesView))
        #expect(try peer.sent() == ["close 1009"])
        #expect(peer.session.events == ["opened", "closed local 1009"])
        _ = try? peer.channel.finish(acceptAlreadyClosed: true)
    }
}
