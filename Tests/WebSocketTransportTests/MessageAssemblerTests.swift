import NIOCore
import NIOWebSocket
import Testing

@testable import WebSocketTransport

@Suite struct MessageAssemblerTests {
    static func assemble(
        _ frames: [WebSocketFrame],
        isServer: Bool = true,
        limit: Int = 16,
        inflates: Bool = false
    ) -> [String] {
        var assembler = MessageAssembler(isServer: isServer, maxMessageBytes: limit, inflates: inflates)
        var seen: [String] = []
        for frame in frames {
            do {
                switch try assembler.frameReceived(frame) {
                case .incomplete: seen.append("-")
                case .text(let text): seen.append("text \(String(buffer: text))")
                case .binary: seen.append("binary")
                case .ping(let payload): seen.append("ping \(String(buffer: payload))")
                case .pong: seen.append("pong")
                case .close(let frame): seen.append("close \(frame.map { "\($0.code) \($0.reason)" } ?? "none")")
                }
            } catch {
                return seen + ["\(error.code)"]
            }
        }
        return seen
    }

    struct Case: CustomTestStringConvertible {
        let testDescription: String
        let frames: [WebSocketFrame]
        let expected: [String]

        init(_ description: String, _ frames: [WebSocketFrame], _ expected: [String]) {
            self.testDescription = description
            self.frames = frames
            self.expected = expected
        }
    }

    static let wellFormed: [Case] = [
        Case("text", [.masked(.text, "hello")], ["text hello"]),
        Case("empty text", [.masked(.text, "")], ["text "]),
        Case("text at the limit", [.masked(.text, "0123456789abcdef")], ["text 0123456789abcdef"]),
        Case("binary", [.masked(.binary, "\u{1}")], ["binary"]),
        Case(
            "fragments with a ping between",
            [
                .masked(.text, "he", fin: false), .masked(.ping, "x"), .masked(.continuation, "l", fin: false),
                .masked(.continuation, "lo"), .masked(.text, "next"),
            ],
            ["-", "ping x", "-", "text hello", "text next"]
        ),
        Case(
            "a character across fragments",
            [.masked(.text, bytes: [0xE2, 0x82], fin: false), .masked(.continuation, bytes: [0xAC])],
            ["-", "text €"]
        ),
        Case(
            "fragmented binary",
            [.masked(.binary, "a", fin: false), .masked(.continuation, "b"), .masked(.text, "c")],
            ["-", "binary", "text c"]
        ),
        Case("pong", [.masked(.pong, "anything")], ["pong"]),
        Case("close without a code", [.masked(.connectionClose, "")], ["close none"]),
        Case(
            "close with a reason",
            [.masked(.connectionClose, bytes: [0x03, 0xE8] + Array("bye".utf8))],
            ["close 1000 bye"]
        ),
    ]

    static let violations: [Case] = [
        Case("unmasked", [WebSocketFrame(fin: true, opcode: .text, data: ByteBuffer())], ["1002"]),
        Case("RSV1", [.masked(.text, "a", rsv1: true)], ["1002"]),
        Case("RSV2", [.masked(.text, "a", rsv2: true)], ["1002"]),
        Case("RSV3", [.masked(.ping, "a", rsv3: true)], ["1002"]),
        Case("nothing to continue", [.masked(.continuation, "a")], ["1002"]),
        Case("continuation after the end", [.masked(.text, "a"), .masked(.continuation, "a")], ["text a", "1002"]),
        Case("text in a text", [.masked(.text, "a", fin: false), .masked(.text, "b")], ["-", "1002"]),
        Case("binary in a text", [.masked(.text, "a", fin: false), .masked(.binary, "b")], ["-", "1002"]),
        Case("text in a binary", [.masked(.binary, "a", fin: false), .masked(.text, "b")], ["-", "1002"]),
        Case("fragmented ping", [.masked(.ping, "a", fin: false)], ["1002"]),
        Case("fragmented close", [.masked(.connectionClose, "", fin: false)], ["1002"]),
        Case("long ping", [.masked(.ping, bytes: [UInt8](repeating: 0, count: 126))], ["1002"]),
        Case("invalid text", [.masked(.text, bytes: [0xC0, 0x80])], ["1007"]),
        Case("cut text", [.masked(.text, bytes: [0xE2, 0x82])], ["1007"]),
        Case(
            "invalid across fragments",
            [.masked(.text, bytes: [0xE2], fin: false), .masked(.continuation, bytes: [0x41])],
            ["-", "1007"]
        ),
        Case("too long", [.masked(.text, "0123456789abcdefg")], ["1009"]),
        Case(
            "too long together",
            [.masked(.text, "0123456789", fin: false), .masked(.continuation, "abcdefg", fin: false)],
            ["-", "1009"]
        ),
        Case(
            "too long together, binary",
            [.masked(.binary, "0123456789", fin: false), .masked(.continuation, "abcdefg", fin: false)],
            ["-", "1009"]
        ),
        Case("close of one byte", [.masked(.connectionClose, bytes: [3])], ["1002"]),
        Case("close reason", [.masked(.connectionClose, bytes: [0x03, 0xE8, 0xFF])], ["1007"]),
    ]

    @Test(arguments: Self.wellFormed + Self.violations)
    func serverSide(_ testCase: Case) {
        #expect(Self.assemble(testCase.frames) == testCase.expected)
    }

    @Test func clientRefusesMaskedFrames() {
        #expect(Self.assemble([.masked(.text, "a")], isServer: false) == ["1002"])
        let plain = WebSocketFrame(fin: true, opcode: .text, data: ByteBuffer(string: "a"))
        #expect(Self.assemble([plain], isServer: false) == ["text a"])
    }

    @Test(arguments: Array(3...7) + Array(11...15))
    func unknownOpcodes(_ opcode: UInt8) throws {
        let opcode = try #require(WebSocketOpcode(encodedWebSocketOpcode: opcode))
        #expect(Self.assemble([.masked(opcode, "")]) == ["1002"])
    }

    @Test func closeCodes() {
        let allowed: Set<UInt16> = Set(Array(1000...1003) + Array(1007...1014) + Array(3000...4999))
        for code in UInt16.min...UInt16.max {
            let seen = Self.assemble([.masked(.connectionClose, bytes: [UInt8(code >> 8), UInt8(code & 0xFF)])])
            #expect(seen == (allowed.contains(code) ? ["close \(code) "] : ["1002"]))
        }
    }
}
