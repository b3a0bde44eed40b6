import Testing

@testable import Feed

@Suite struct CursorTests {
    private static func cursor(_ epoch: UInt64, _ text: String) -> Cursor {
        Cursor(epoch: epoch, snapshot: Snapshot.of(text))
    }

    private static let examples = [
        cursor(0, "1:1:"),
        cursor(.max, "10:20:12,15"),
        cursor(1, "127:16384:127,128,255,256,16383"),
        cursor(0x8000_0000_0000_0000, "18446744073709551614:18446744073709551615:18446744073709551614"),
        cursor(42, "1:18446744073709551615:1,2,9223372036854775807,18446744073709551614"),
    ]

    @Test(arguments: examples)
    func survivesItsTextForm(cursor: Cursor) {
        let text = cursor.encoded()
        #expect(Cursor(encoded: text) == cursor)
        #expect(text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") })
    }

    @Test func survivesAsManyTransactionsAsPostgresCanRun() throws {
        let running = (0..<UInt64(1 << 16)).map { 1_000_000 + $0 * 3 }
        let snapshot = try #require(Snapshot(xmin: 1_000_000, xmax: 2_000_000, inProgress: running))
        let cursor = Cursor(epoch: 7, snapshot: snapshot)
        #expect(Cursor(encoded: cursor.encoded()) == cursor)
    }

    @Test(arguments: [1, 2] as [UInt64])
    func survivesItsTextFormAtRandom(seed: UInt64) throws {
        var random = SplitMix(seed: seed)
        for _ in 0..<1000 {
            let xmin = random.next() >> UInt64.random(in: 0...62, using: &random) | 1
            let span = min(random.next() >> UInt64.random(in: 40...63, using: &random), .max - xmin)
            let running = Set(
                (0..<Int.random(in: 0...9, using: &random)).map { _ in xmin + random.next() % max(span, 1) }
            )
            let snapshot = try #require(
                Snapshot(xmin: xmin, xmax: xmin + span, inProgress: span == 0 ? [] : running.sorted())
            )
            let cursor = Cursor(epoch: random.next(), snapshot: snapshot)
            #expect(Cursor(encoded: cursor.encoded()) == cursor, "seed \(seed)")
        }
    }

    @Test(arguments: examples)
    func refusesEachOfItsBeginnings(cursor: Cursor) {
        let text = cursor.encoded()
        for length in 0..<text.count { #expect(Cursor(encoded: String(text.prefix(length))) == nil, "\(length)") }
    }

    @Test(arguments: examples)
    func refusesAnyOtherByte(cursor: Cursor) throws {
        let bytes = try #require(Base64URL.decode(cursor.encoded()))
        for index in bytes.indices {
            for bit in 0..<8 {
                var flipped = bytes
                flipped[index] ^= 1 << UInt8(bit)
                #expect(Cursor(encoded: Base64URL.encode(flipped)) == nil, "bit \(bit) of byte \(index)")
            }
        }
    }

    @Test(arguments: examples)
    func refusesAnyOtherCharacter(cursor: Cursor) {
        let text = Array(cursor.encoded())
        for index in text.indices {
            for character in "A-_9 =+/.é\0" where text[index] != character {
                var changed = text
                changed[index] = character
                #expect(Cursor(encoded: String(changed)) == nil, "\(character) at \(index)")
            }
        }
    }

    @Test(arguments: ["", "A", "AA", "AAAA", "=", "null", "1:1:", "💥"])
    func refusesWhatIsNoCursor(text: String) {
        #expect(Cursor(encoded: text) == nil)
    }

    @Test func refusesWhatIsTooLong() {
        #expect(Cursor(encoded: String(repeating: "A", count: 1 << 19)) == nil)
    }

    /// With the right checksum, so that the inner rules are what refuses.
    @Test(arguments: [
        ("another version", [2] + zeros(8) + [1, 0, 0]),
        ("xmin 0", [1] + zeros(8) + [0, 0, 0]),
        ("no count", [1] + zeros(8) + [1, 0]),
        ("fewer than counted", [1] + zeros(8) + [1, 9, 2, 0]),
        ("more than counted", [1] + zeros(8) + [1, 9, 1, 0, 1]),
        ("more than 65536", [1] + zeros(8) + [1, 9, 0x81, 0x80, 0x04]),
        ("beyond 64 bits", [1] + zeros(8) + [UInt8](repeating: 0xff, count: 9) + [2, 0, 0]),
        ("eleven bytes long", [1] + zeros(8) + [UInt8](repeating: 0xff, count: 10) + [1, 0, 0]),
        ("xmax beyond 64 bits", [1] + zeros(8) + [UInt8](repeating: 0xff, count: 9) + [1, 1, 0]),
        ("running beyond 64 bits", [1] + zeros(8) + [5, 9, 1] + [UInt8](repeating: 0xff, count: 9) + [1]),
        ("running twice", [1] + zeros(8) + [5, 9, 2, 1, 0]),
    ])
    func refusesWhatNoSnapshotIs(what: String, bytes: [UInt8]) {
        #expect(Cursor(encoded: Self.signed(bytes)) == nil)
    }

    @Test func acceptsTheirLikeWhenNothingIsWrong() {
        #expect(Cursor(encoded: Self.signed([1] + Self.zeros(8) + [5, 9, 2, 1, 1])) == Self.cursor(0, "5:14:6,7"))
    }

    @Test(arguments: [1, 2] as [UInt64])
    func neverTraps(seed: UInt64) {
        var random = SplitMix(seed: seed)
        for _ in 0..<5000 {
            let body = [1] + random.bytes(Int.random(in: 0...40, using: &random))
            if let cursor = Cursor(encoded: Self.signed(body)) {
                #expect(Cursor(encoded: cursor.encoded()) == cursor)
            }
            _ = Cursor(encoded: Base64URL.encode(random.bytes(Int.random(in: 0...40, using: &random))))
            _ = Cursor(encoded: String(decoding: random.bytes(12), as: UTF8.self))
        }
    }

    @Test func anotherEpochHasAnotherFingerprint() {
        #expect(Cursor.fingerprint(ofEpoch: "7301:1:a") != Cursor.fingerprint(ofEpoch: "7301:2:a"))
        // FNV-1a's own test vector
        #expect(Cursor.fingerprint(ofEpoch: "foobar") == 0x8594_4171_f739_67e8)
    }

    private static func zeros(_ count: Int) -> [UInt8] { Array(repeating: 0, count: count) }

    private static func signed(_ bytes: [UInt8]) -> String {
        let sum = Cursor.fingerprint(ofEpoch: "")
        let checksum = bytes.reduce(sum) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        return Base64URL.encode(
            bytes + [UInt8(truncatingIfNeeded: checksum >> 8), UInt8(truncatingIfNeeded: checksum)]
        )
    }
}
