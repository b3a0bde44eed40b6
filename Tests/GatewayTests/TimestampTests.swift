import Feed
import Foundation
import Testing

@Suite struct TimestampTests {
    @Test(arguments: [
        (0, "1970-01-01T00:00:00.000000Z"), (-1, "1969-12-31T23:59:59.999999Z"), (1, "1970-01-01T00:00:00.000001Z"),
        (951_782_399_999_999, "2000-02-28T23:59:59.999999Z"), (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
        (-62_135_596_800_000_000, "0001-01-01T00:00:00.000000Z"),
        (253_402_300_800_000_000, "10000-01-01T00:00:00.000000Z"),
    ])
    func writesMicroseconds(micros: Int64, text: String) {
        #expect(Timestamp.iso8601(micros: micros) == text)
    }

    @Test(arguments: [1, 2] as [UInt64])
    func agreesWithFoundation(seed: UInt64) {
        var state = seed
        let style = Date.ISO8601FormatStyle(timeZone: .gmt)
        // The Gregorian calendar of Foundation is a Julian one before 1582.
        let (first, last) = (Int64(-12_219_292_800), Int64(253_402_300_799))
        for _ in 0..<3000 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let seconds = first + Int64(state >> 16) % (last - first)
            let fraction = Int64(state % 1_000_000)
            let expected = Date(timeIntervalSince1970: Double(seconds)).formatted(style).dropLast()
            let digits = String(1_000_000 + fraction).dropFirst()
            #expect(Timestamp.iso8601(micros: seconds * 1_000_000 + fraction) == "\(expected).\(digits)Z", "\(seconds)")
        }
    }
}
