/// SplitMix64: the same numbers for the same seed, on every machine.
struct DemoRandom: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        self.state = seed
    }

    /// A source for one attempt at one job, whichever worker makes it and when.
    init(seed: UInt64, job: Int64, attempt: Int) {
        var mixed = Self(seed: seed)
        let place = UInt64(bitPattern: job) &* 0xD1B5_4A32_D192_ED03
        self.state = mixed.next() ^ place ^ UInt64(bitPattern: Int64(attempt)) << 48
    }

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var value = self.state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }

    mutating func fraction() -> Double {
        Double.random(in: 0..<1, using: &self)
    }

    mutating func pick<T>(_ choices: [T]) -> T {
        choices[Int.random(in: 0..<choices.count, using: &self)]
    }
}
