import Foundation
import Testing

@testable import Feed

@Suite struct ExactNumberTests {
    /// From the least to the greatest; those of one line are equal.
    private static let ascending = [
        ["-Infinity", "-infinity", "-inf"],
        ["-1e100000"],
        ["-9223372036854775809"],
        ["-9223372036854775808", "-9223372036854775808.000", "-9.223372036854775808e18"],
        ["-10", "-1e1", "-010"],
        ["-1.5", "-1.50", "-15e-1", "-0.15E+1"],
        ["-1e-100000"],
        ["0", "-0", "+0", "0.0", "-0.000", "0e10", "0e-5", ".0", "0."],
        ["1e-30"],
        ["0.1", ".1", "1e-1", "0.10", "00.1"],
        ["0.10000000000000000000000000000001"],
        ["1", "+1", "1.", "1e0", "10e-1", "0.001e3"],
        ["9007199254740992"],
        ["9007199254740993", "9007199254740993.0"],
        ["9223372036854775807"],
        ["1e19", "10000000000000000000", "1E+19"],
        ["123456789012345678901234567890"],
        ["1e199999"],
        ["Infinity", "infinity", "+inf", "INFINITY"],
    ]

    @Test(arguments: ascending.indices)
    func comparesExactly(index: Int) throws {
        for text in Self.ascending[index] {
            let number = try #require(ExactNumber(text), "\(text)")
            for other in Self.ascending.indices {
                for otherText in Self.ascending[other] {
                    let expected = index < other ? -1 : index == other ? 0 : 1
                    #expect(number.compare(try #require(ExactNumber(otherText))) == expected, "\(text) ? \(otherText)")
                }
            }
        }
    }

    @Test(arguments: [
        "", "-", "+", ".", "e", "e5", "1e", "1e+", "1.2.3", "1,5", "0x10", "1 ", " 1", "--1", "+-1", "one", "１", "٣",
        "nil",
        "1e1e1", "1e1.5", "-.", "1_000", "infinit",
    ])
    func refusesWhatIsNoNumber(text: String) {
        #expect(ExactNumber(text) == nil)
    }

    /// From peers: each of these once asked for more than an integer holds.
    @Test(arguments: [
        "1e-9223372036854775808", "1e9223372036854775807", "1e9223372036854775808", "1e200000",
        "0e-9223372036854775808",
    ])
    func refusesExponentsThatNoNumericHas(text: String) {
        #expect(ExactNumber(text) == nil)
    }

    @Test(arguments: [1, 2] as [UInt64])
    func agreesWithDecimals(seed: UInt64) throws {
        var random = SplitMix(seed: seed)
        func literal() -> String {
            let digits = Int.random(in: -2000...2000, using: &random)
            switch Int.random(in: 0..<3, using: &random) {
            case 0: return "\(digits)"
            case 1: return "\(digits)e\(Int.random(in: -3...3, using: &random))"
            default: return "\(digits / 10).\(abs(digits) % 10)0"
            }
        }
        for _ in 0..<3000 {
            let (left, right) = (literal(), literal())
            let decimals = (try #require(Decimal(string: left)), try #require(Decimal(string: right)))
            let expected = decimals.0 < decimals.1 ? -1 : decimals.0 == decimals.1 ? 0 : 1
            #expect(
                try #require(ExactNumber(left)).compare(try #require(ExactNumber(right))) == expected,
                "\(left) ? \(right)"
            )
        }
    }
}
