import NIOCore
import NIOWebSocket
import Testing

@testable import WebSocketTransport

@Suite struct OutboundFrameTests {
    static let lengths: [(payload: Int, header: [UInt8])] = [
        (0, [0x81, 0]),
        (1, [0x81, 1]),
        (125, [0x81, 125]),
        (126, [0x81, 126, 0, 126]),
        (65_535, [0x81, 126, 0xFF, 0xFF]),
        (65_536, [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ]

    @Test(arguments: Self.lengths)
    func textHasTheShortestHeader(payload: Int, header: [UInt8]) {
        let body = [UInt8](repeating: 0x61, count: payload)
        let inPlace = OutboundFrame.text(capacity: payload / 2) { $0.writeBytes(body) }
        #expect(Array(inPlace.bytes.readableBytesView) == header + body)
        #expect(OutboundFrame.text(ByteBuffer(bytes: body)).bytes == inPlace.bytes)
    }

    @Test func maskedPayloadIsXoredWithItsKey() throws {
        let key = try #require(WebSocketMaskingKey([0x01, 0x02, 0x03, 0x04]))
        let frame = OutboundFrame.encode(.text, ByteBuffer(bytes: [0, 0, 0, 0, 0xFF]), maskingKey: key)
        #expect(Array(frame.bytes.readableBytesView) == [0x81, 0x85, 1, 2, 3, 4, 1, 2, 3, 4, 0xFE])
    }

    @Test func controlFrames() {
        #expect(Array(OutboundFrame.ping.bytes.readableBytesView) == [0x89, 0])
        #expect(Array(OutboundFrame.pong.bytes.readableBytesView) == [0x8A, 0])
        let close = OutboundFrame.close(code: 4000, reason: "slow")
        #expect(Array(close.bytes.readableBytesView) == [0x88, 6, 0x0F, 0xA0] + Array("slow".utf8))
    }

    @Test(arguments: [
        (String(repeating: "a", count: 123), 123),
        (String(repeating: "a", count: 124), 123),
        (String(repeating: "a", count: 122) + "é", 122),
        (String(repeating: "a", count: 120) + "😀", 120),
        (String(repeating: "a", count: 119) + "😀b", 123),
    ])
    func closeReasonsAreCutBetweenCharacters(reason: String, expected: Int) {
        let cut = CloseFrame(code: 1000, reason: reason).reason
        #expect(cut.utf8.count == expected)
        #expect(reason.hasPrefix(cut))
        #expect(OutboundFrame.close(code: 1000, reason: reason).bytes.readableBytes == 4 + expected)
    }
}
