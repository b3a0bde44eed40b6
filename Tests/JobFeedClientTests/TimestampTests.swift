import Foundation
import JobFeedClient
import Testing

@Suite struct TimestampTests {
    @Test(arguments: [
        ("1970-01-01T00:00:00Z", 0.0), ("2026-11-21T09:00:25.5Z", 1_795_251_625.5),
        ("2026-11-21T10:00:25.500000+01:00", 1_795_251_625.5), ("2000-02-29 23:59:59+00", 951_868_799),
    ])
    func understood(text: String, seconds: Double) throws {
        #expect(try #require(Date(timestamp: text)).timeIntervalSince1970 == seconds)
    }

    @Test(arguments: ["", "now", "2026-13-01T00:00:00Z", "2026-11-21", "2026-11-21T25:00:00Z", "2026-11-21T10:00:00+"])
    func refused(text: String) {
        #expect(Date(timestamp: text) == nil)
    }
}
