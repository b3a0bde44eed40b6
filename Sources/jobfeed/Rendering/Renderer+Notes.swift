import JobFeedClient
import JobFeedProtocol

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// What is said about the connection, on stderr.
extension Renderer {
    func note(_ event: Event, now: Date) -> String? {
        switch event {
        case .connecting(let attempt):
            self.format == .json ? Self.json(["event": "connecting", "attempt": .number(String(attempt))]) : nil
        case .live: self.format == .json ? Self.json(["event": "live"]) : self.style.paint("live", .green)
        case .behind(let since):
            self.behind(Int(max(0, now.timeIntervalSince(since)).rounded()))
        case .reconnecting(let delay, let reason): self.reconnecting(Self.tenths(delay), reason)
        case .snapshot, .changes, .counts: nil
        }
    }

    private func behind(_ seconds: Int) -> String {
        self.format == .json
            ? Self.json(["event": "behind", "seconds": .number(String(seconds))])
            : self.style.paint("behind \(seconds) s", .yellow)
    }

    private func reconnecting(_ seconds: String, _ reason: String) -> String {
        if self.format == .json {
            return Self.json(["event": "reconnecting", "after": .number(seconds), "reason": .string(reason)])
        }
        return self.style.paint("reconnecting in \(seconds) s: \(DisplayText.sanitized(reason))", .yellow)
    }

    /// The last words: how to go on from here.
    func farewell(cursor: String?) -> String? {
        guard let cursor else { return nil }
        if self.format == .json {
            return Self.json(["event": "stopped", "since": .string(cursor)])
        }
        let isPlain = cursor.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."),
                UInt8(ascii: "="), UInt8(ascii: ":"), UInt8(ascii: "+"), UInt8(ascii: "/"), UInt8(ascii: ","):
                true
            default: false
            }
        }
        let word =
            isPlain
            ? cursor
            : "'" + cursor.split(separator: "'", omittingEmptySubsequences: false).joined(separator: #"'\''"#) + "'"
        return "continue with --since \(word)"
    }

    private static func tenths(_ duration: Duration) -> String {
        let tenths = Int((duration / .milliseconds(100)).rounded(.up))
        return "\(tenths / 10).\(tenths % 10)"
    }
}
