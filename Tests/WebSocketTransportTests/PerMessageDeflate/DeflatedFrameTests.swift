import NIOCore
import NIOWebSocket
import Testing

@testable import WebSocketTransport

@Suite struct DeflatedFrameTests {
    private let deflate = PerMessageDeflate(thresholdBytes: 1024)

    private func frame(_ length: Int) -> OutboundFrame {
        .text(ByteBuffer(repeating: 0x61, count: length))
    }

    private func address(_ frame: OutboundFrame) -> UnsafeRawPointer? {
        frame.bytes.withUnsafeReadableBytes { UnsafeRawPointer($0.baseAddress) }
    }

    @Test func allReceiversShareOneForm() throws {
        let frame = self.frame(2000)
        let first = frame.deflated(by: self.deflate)
        #expect(first.bytes.getInteger(at: 0, as: UInt8.self) == 0xC1)
        #expect(try DeflateCodec.current.inflate(first.payload, limit: 2000) == frame.payload)
        #expect(self.address(frame.deflated(by: self.deflate)) == self.address(first))
        #expect(frame.bytes.getInteger(at: 0, as: UInt8.self) == 0x81)
    }

    @Test func eachWindowHasAForm() throws {
        guard case .accepted(let narrow, _) = self.deflate.answer(to: ["permessage-deflate; server_max_window_bits=9"])
        else {
            Issue.record("declined")
            return
        }
        let frame = self.frame(2000)
        let forms = [self.deflate, narrow].map(frame.deflated)
        #expect(self.address(forms[0]) != self.address(forms[1]))
        #expect(self.address(frame.deflated(by: narrow)) == self.address(forms[1]))
    }

    @Test func theThreshold() {
        #expect(self.frame(1023).deflated(by: self.deflate).bytes.readableBytes == 1027)
        #expect(self.frame(1024).deflated(by: self.deflate).bytes.readableBytes < 100)
    }

    @Test(arguments: [(255, false), (256, true), (1023, true)])
    func shorterOnesAreDeflatedForMany(_ length: Int, _ isDeflated: Bool) {
        let frame = self.frame(length)
        for _ in 0..<PerMessageDeflate.manyReceivers {
            #expect(self.address(frame.deflated(by: self.deflate)) == self.address(frame))
        }
        #expect((frame.deflated(by: self.deflate).bytes.readableBytes < 100) == isDeflated)
    }

    @Test func controlFramesAndMaskedOnesStayAsTheyAre() {
        let all = PerMessageDeflate(thresholdBytes: 0)
        let payload = ByteBuffer(repeating: 0x61, count: 125)
        for frame in [OutboundFrame.pong(payload), .ping, .close(code: 1000, reason: String(buffer: payload))] {
            #expect(self.address(frame.deflated(by: all)) == self.address(frame))
        }
        let masked = OutboundFrame.encode(.text, payload, maskingKey: [1, 2, 3, 4])
        #expect(self.address(masked.deflated(by: all)) == self.address(masked))
        #expect(OutboundFrame.binary(payload).deflated(by: all).bytes.getInteger(at: 0, as: UInt8.self) == 0xC2)
    }

    @Test func whatDoesNotBecomeSmallerIsSentAsItIs() {
        let frame = OutboundFrame.text(ByteBuffer(bytes: (0..<256).map { UInt8($0) }))
        let deflate = PerMessageDeflate(thresholdBytes: 1)
        #expect(self.address(frame.deflated(by: deflate)) == self.address(frame))
        #expect(self.address(frame.deflated(by: deflate)) == self.address(frame))
    }
}
