import NIOHTTP1

/// What a response says of its own freshness (RFC 9111 §5.2.2), as far as a private cache cares.
enum CacheControl {
    /// `nil`: it says nothing.
    static func age(_ headers: HTTPHeaders) -> Duration? {
        let directives = headers[canonicalForm: "cache-control"].map { $0.lowercased() }
        if directives.contains(where: { $0 == "no-store" || $0 == "no-cache" }) { return .zero }
        guard let text = directives.first(where: { $0.hasPrefix("max-age=") })?.dropFirst("max-age=".count) else {
            return nil
        }
        guard let seconds = Self.seconds(text.trimmingQuotes) else { return nil }
        // What it spent in caches on the way.
        let spent = headers.first(name: "age").flatMap { Self.seconds($0[...]) } ?? 0
        return .seconds(max(0, seconds - spent))
    }

    private static func seconds(_ text: Substring) -> Int64? {
        guard !text.isEmpty, text.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }) else { return nil }
        // Beyond a year it does not matter by how much.
        return min(Int64(text) ?? .max, 31_536_000)
    }
}

extension Substring {
    fileprivate var trimmingQuotes: Substring {
        self.count >= 2 && self.first == "\"" && self.last == "\"" ? self.dropFirst().dropLast() : self
    }
}
