/// A page in the Prometheus text format 0.0.4, as it grows.
struct Exposition {
    static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    enum Kind: String, Sendable {
        case counter, gauge, histogram
    }

    private(set) var bytes: [UInt8] = []

    init() {
        self.bytes.reserveCapacity(32 << 10)
    }

    mutating func beginFamily(_ name: String, _ kind: Kind, help: String) {
        self.bytes.append(contentsOf: "# HELP \(name) \(Self.escaped(help, quotes: false))\n".utf8)
        self.bytes.append(contentsOf: "# TYPE \(name) \(kind.rawValue)\n".utf8)
    }

    /// - Parameter labels: as ``labels(_:)`` writes them.
    mutating func sample(_ name: String, _ labels: String, _ value: String) {
        self.bytes.append(contentsOf: (labels.isEmpty ? name : "\(name){\(labels)}").utf8)
        self.bytes.append(contentsOf: " \(value)\n".utf8)
    }

    static func labels(_ labels: [(name: String, value: String)]) -> String {
        labels.map { "\($0.name)=\"\(Self.escaped($0.value, quotes: true))\"" }.joined(separator: ",")
    }

    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        return Int64(exactly: value).map(String.init) ?? value.description
    }

    private static func escaped(_ text: String, quotes: Bool) -> String {
        var escaped = ""
        // By scalars: to a Character, CR and LF together are neither.
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": escaped += "\\\\"
            case "\n": escaped += "\\n"
            case "\"" where quotes: escaped += "\\\""
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
