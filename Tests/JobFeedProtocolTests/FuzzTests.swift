import JobFeedProtocol
import Testing

/// Nothing that a peer sends may trap; the seed makes a failure come back.
@Suite struct FuzzTests {
    private struct Generator: RandomNumberGenerator {
        var state: UInt64
        // SplitMix64
        mutating func next() -> UInt64 {
            self.state &+= 0x9E37_79B9_7F4A_7C15
            var mixed = self.state
            mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
            return mixed ^ (mixed >> 31)
        }
    }

    private static let seeds = [
        #"{"type":"subscribe","id":"s1","channel":"jobs:a,b","columns":["x"],"limit":10,"max_rate":4,"snapshot":false}"#,
        #"{"type":"authenticate","id":"0","token":"\ud83d\ude00"}"#,
        #"{"type":"changes","id":"s","cursor":"c","changes":[{"op":"update","key":"1","set":{"p":[1,2.5e3]}}]}"#,
        #"{"type":"snapshot","id":"s","rows":[{"id":42}],"keys":["42"],"truncated":false}"#,
        #"{"type":"changes","id":"c","cursor":"x","counts":{"pending":2}}"#,
    ].map { Array($0.utf8) }

    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func neverTraps(seed: UInt64) throws {
        var generator = Generator(state: seed)
        var understood = 0
        for _ in 0..<3000 {
            var bytes = Self.seeds.randomElement(using: &generator) ?? []
            for _ in 0..<Int.random(in: 0...4, using: &generator) where !bytes.isEmpty {
                let index = Int.random(in: 0..<bytes.count, using: &generator)
                switch Int.random(in: 0..<4, using: &generator) {
                case 0: bytes[index] = UInt8.random(in: 0...255, using: &generator)
                case 1: bytes.remove(at: index)
                case 2: bytes.insert(contentsOf: bytes[index...].prefix(9), at: index)
                default: bytes.removeSubrange(index...)
                }
            }
            if let value = try? JSONValue(parsing: bytes) {
                #expect(try JSONValue(parsing: value.encoded()) == value)
            }
            if let command = try? Command.parse(bytes) {
                understood += 1
                #expect(try Command.parse(command.encoded().utf8) == command)
            }
            _ = try? ServerMessage(decoding: bytes)
        }
        #expect(understood > 100)
        for _ in 0..<1000 {
            let bytes = (0..<Int.random(in: 0...40, using: &generator)).map { _ in
                UInt8.random(in: 0...255, using: &generator)
            }
            #expect(throws: CommandError.self) { try Command.parse(bytes) }
            _ = try? ServerMessage(decoding: bytes)
        }
    }
}
