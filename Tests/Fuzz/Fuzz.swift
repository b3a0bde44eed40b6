import Foundation

/// Runs a property on seeds 0, 1, 2 … and names the first seed that breaks it.
///
/// `JOBFEED_FUZZ_SECONDS=60` goes on for so long, from a random seed on; `JOBFEED_FUZZ_SEED=N` runs that seed alone.
package enum Fuzz {
    package struct Mistake: Error, CustomStringConvertible {
        package let description: String
        package init(_ description: String) { self.description = description }
    }

    /// The first failure with its seed, or `nil`.
    package static func failure(
        of name: String,
        iterations: UInt64,
        _ body: (inout FuzzRandom) async throws -> Void
    ) async -> String? {
        let environment = ProcessInfo.processInfo.environment
        func run(_ seed: UInt64) async -> String? {
            do {
                var random = FuzzRandom(seed: seed)
                try await body(&random)
                return nil
            } catch {
                return "\(name): JOBFEED_FUZZ_SEED=\(seed): \(error)"
            }
        }
        if let seed = environment["JOBFEED_FUZZ_SEED"].flatMap({ UInt64($0) }) { return await run(seed) }
        guard let seconds = environment["JOBFEED_FUZZ_SECONDS"].flatMap({ Double($0) }) else {
            for seed in 0..<iterations {
                if let failure = await run(seed) { return failure }
            }
            return nil
        }
        let end = ContinuousClock.now + .seconds(seconds)
        var seed = UInt64.random(in: 0...UInt64.max / 2)
        while ContinuousClock.now < end {
            // A trap says no seed: it is one of the thousand from here on.
            FileHandle.standardError.write(Data("\(name): seeds from \(seed) on\n".utf8))
            for _ in 0..<1000 where ContinuousClock.now < end {
                if let failure = await run(seed) { return failure }
                seed += 1
            }
        }
        return nil
    }
}

/// SplitMix64, and the mutations that fuzzers have in common.
package struct FuzzRandom: RandomNumberGenerator {
    private var state: UInt64

    package init(seed: UInt64) { self.state = seed }

    package mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    package mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<max(bound, 1), using: &self) }

    package mutating func chance(_ percent: Int) -> Bool { self.below(100) < percent }

    package mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: self.next()) }
    }

    package mutating func pick<Element>(_ choices: [Element]) -> Element { choices[self.below(choices.count)] }

    /// Text with everything that parsers stumble over: quotes, escapes, combining marks, other planes, NUL.
    package mutating func text(_ length: Int) -> String {
        let odd: [String] = [
            "\"", "\\", "\0", "\n", "\u{7f}", "é", "e\u{301}", "\u{301}", "😀", "\u{feff}", "\u{2028}", "%", "_", ",",
            ":",
            "/", "#", "&", "=", ".", "(", ")", "*", "'", "$", "{", "}", "-", "0", "9", " ", "a", "Z",
        ]
        return (0..<length).map { _ in self.pick(odd) }.joined()
    }

    /// A few edits: bytes replaced, removed, repeated many times, words put in, the end cut off.
    package mutating func mutated(_ bytes: [UInt8], words: [String] = []) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<self.below(5) where !bytes.isEmpty {
            let index = self.below(bytes.count)
            switch self.below(words.isEmpty ? 5 : 7) {
            case 0: bytes[index] = UInt8(truncatingIfNeeded: self.next())
            case 1: bytes.removeSubrange(index..<min(bytes.count, index + 1 + self.below(4)))
            case 2: bytes.insert(contentsOf: bytes[index...].prefix(1 + self.below(30)), at: index)
            case 3: bytes.removeSubrange(index...)
            case 4: bytes.insert(contentsOf: Array(repeating: bytes[index], count: self.pick([2, 70, 500])), at: index)
            default: bytes.insert(contentsOf: self.pick(words).utf8, at: index)
            }
        }
        return bytes
    }
}
