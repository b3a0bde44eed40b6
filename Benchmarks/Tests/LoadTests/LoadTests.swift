import Testing

@testable import jobfeed_load

struct StampsTests {
    private func stamps(_ text: String) -> [UInt64] {
        var found: [UInt64] = []
        Array(text.utf8).withUnsafeBytes { bytes in Stamps.forEach(in: bytes) { found.append($0) } }
        return found
    }

    @Test("Every stamp of a frame is found, whatever follows it")
    func all() {
        #expect(
            self.stamps(#"[{"a":"~1763700000000001"},{"a":"~1763700000000002xxx"}]"#) == [
                1_763_700_000_000_001, 1_763_700_000_000_002,
            ]
        )
        #expect(self.stamps("~17") == [17])
        #expect(self.stamps("~ ~x no stamp ~") == [])
        #expect(self.stamps("") == [])
    }

    @Test("A stamp of now is about now")
    func now() throws {
        let before = Stamps.now()
        let stamp = try #require(self.stamps("~\(Stamps.now())").first)
        #expect(stamp >= before && stamp <= Stamps.now())
    }
}

struct FramesTests {
    /// As a server sends it.
    private func frame(_ opcode: UInt8, _ payload: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = [0x80 | opcode]
        switch payload.count {
        case ..<126: bytes.append(UInt8(payload.count))
        case ..<65536: bytes += [126, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
        default: bytes += [127] + (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (56 - 8 * $0)) }
        }
        return bytes + payload
    }

    private func parse(_ bytes: [UInt8]) -> (frames: [(UInt8, Int)], taken: Int) {
        var frames: [(UInt8, Int)] = []
        let taken = bytes.withUnsafeBytes { bytes in
            Frames.forEach(in: bytes) { opcode, payload in frames.append((opcode, payload.count)) }
        }
        return (frames, taken)
    }

    @Test("Frames of all three lengths, and nothing of one that is not whole", arguments: [0, 125, 126, 65535, 65536])
    func lengths(_ count: Int) {
        let whole = self.frame(Frames.Opcode.text, [UInt8](repeating: 0x61, count: count))
        let two = whole + self.frame(Frames.Opcode.ping, [1])
        #expect(self.parse(two).frames.map(\.1) == [count, 1])
        #expect(self.parse(two).taken == two.count)
        for missing in 1...min(whole.count, 12) {
            #expect(self.parse(Array(whole.dropLast(missing))).taken == 0)
        }
    }

    @Test("What a client sends is masked, and otherwise the same")
    func masked() {
        #expect(Frames.masked(Frames.Opcode.text, [1, 2]) == [0x81, 0x82, 0, 0, 0, 0, 1, 2])
        #expect(Frames.masked(Frames.Opcode.text, [UInt8](repeating: 0, count: 200)).prefix(4) == [0x81, 0xFE, 0, 200])
    }

    @Test("The last cursor counts, and only a whole one")
    func cursor() {
        func last(_ text: String) -> String? {
            Array(text.utf8).withUnsafeBytes { bytes in
                Frames.cursor(in: bytes).map { String(decoding: $0, as: UTF8.self) }
            }
        }
        #expect(last(#"{"cursor":"a1"} {"cursor":"b2"}"#) == "b2")
        #expect(last(#"{"cursor":"a1"} {"cursor":"b2"#) == "a1")
        #expect(last("{}") == nil)
    }
}

struct HandshakeTests {
    private func answer(_ lines: String...) -> Handshake.Answer {
        Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8).withUnsafeBytes { Handshake.answer($0) }
    }

    @Test("A server is believed when it proves that it speaks WebSocket")
    func accepted() {
        let good = ["HTTP/1.1 101 Switching Protocols", "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]
        #expect(self.answer(good[0], good[1]) == .accepted(good.joined().utf8.count + 6))
        #expect(self.answer(good[0], "Sec-WebSocket-Accept: x") == .refused("a wrong Sec-WebSocket-Accept"))
        #expect(Array(good[0].utf8).withUnsafeBytes { Handshake.answer($0) } == .incomplete)
    }

    @Test("Who is asked to come later hears when")
    func later() {
        #expect(self.answer("HTTP/1.1 503 Service Unavailable", "Retry-After: 3") == .later(seconds: 3))
        #expect(self.answer("HTTP/1.1 429 Too Many Requests") == .later(seconds: 1))
        #expect(self.answer("HTTP/1.1 401 Unauthorized") == .refused("HTTP/1.1 401 Unauthorized"))
    }
}

struct PublisherTests {
    @Test("An even pace catches up, and a window is refilled only by what all have got")
    func paces() {
        var publisher = Publisher(bytes: 200)
        publisher.start(.perSecond(10), now: 1_000_000)
        #expect(publisher.messagesDue(now: 1_000_000, received: 0, receivers: 5) == 1)
        #expect(publisher.messagesDue(now: 1_299_999, received: 0, receivers: 5) == 2)
        #expect(publisher.message(now: 1_763_700_000_000_000).count == 200 + 8)

        var window = Publisher(bytes: 200)
        window.start(.window(3), now: 0)
        #expect(window.messagesDue(now: 0, received: 0, receivers: 5) == 3)
        for _ in 0..<3 { _ = window.message(now: 1) }
        #expect(window.messagesDue(now: 0, received: 9, receivers: 5) == 1)
        #expect(window.messagesDue(now: 0, received: 4, receivers: 5) == 0)
    }

    @Test("Commands are lines of words")
    func commands() {
        #expect(Command("open 20") == .open(20))
        #expect(Command("rate 5") == .publish(.perSecond(5)))
        #expect(Command("rate 0") == .publish(.silent))
        #expect(Command("open") == nil)
        #expect(Command("dance") == nil)
    }
}
