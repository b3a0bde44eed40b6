import NIOCore
import Testing

@testable import WebSocketTransport

@Suite struct UTF8Tests {
    /// The standard library is the oracle.
    private func agrees(_ bytes: [UInt8]) -> Bool {
        ByteBuffer(bytes: bytes).isValidUTF8 == (String(validating: bytes, as: UTF8.self) != nil)
    }

    @Test func everyPairOfBytes() {
        let wrong = (0...0xFFFF).filter { !self.agrees([UInt8($0 >> 8), UInt8($0 & 0xFF)]) }
        #expect(wrong.isEmpty)
    }

    @Test func boundariesOfLongerSequences() {
        let edges: [UInt8] = [0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0]
        var wrong: [[UInt8]] = []
        for first in UInt8(0xE0)...0xFF {
            for second in edges {
                for third in edges {
                    for fourth in edges {
                        for tail in [[], [third], [third, fourth], [third, fourth, 0x41]] {
                            let bytes = [first, second] + tail
                            if !self.agrees(bytes) { wrong.append(bytes) }
                        }
                    }
                }
            }
        }
        #expect(wrong.isEmpty)
    }

    @Test(arguments: 0..<24)
    func positionInALongText(prefix: Int) {
        let ascii = [UInt8](repeating: 0x61, count: prefix)
        #expect(ByteBuffer(bytes: ascii + Array("é€😀".utf8) + ascii).isValidUTF8)
        #expect(!ByteBuffer(bytes: ascii + [0xFF] + ascii).isValidUTF8)
        #expect(!ByteBuffer(bytes: ascii + [0xE2, 0x82]).isValidUTF8)
    }
}
