import JobFeedProtocol

/// How far a job is, read from whatever its progress column holds.
enum Progress {
    /// Percent from 0 to 100, or `nil` when the value says nothing about it.
    ///
    /// Understood: a number of percent, a fraction written with a decimal point (`0.4`), `"40%"`, and objects with
    /// `percent`, `percentage` or `fraction`, or with `current`, `done`, `completed` or `value` beside a `total`.
    static func percent(_ value: JSONValue?) -> Double? {
        let percent: Double? =
            switch value {
            case .number(let literal):
                Double(literal).map { literal.contains(".") && (0...1).contains($0) ? $0 * 100 : $0 }
            case .string(let text): Double(text.hasSuffix("%") ? text.dropLast() : text[...])
            case .object(let object): Self.percent(in: object)
            case .array, .bool, .null, nil: nil
            }
        return percent.flatMap { $0.isFinite ? min(max($0, 0), 100) : nil }
    }

    private static func percent(in object: JSONObject) -> Double? {
        if let percent = object["percent"]?.doubleValue ?? object["percentage"]?.doubleValue {
            return percent
        }
        if let fraction = object["fraction"]?.doubleValue {
            return fraction * 100
        }
        guard let total = object["total"]?.doubleValue, total > 0 else { return nil }
        let part = ["current", "done", "completed", "value"].lazy.compactMap { object[$0]?.doubleValue }.first
        return part.map { $0 / total * 100 }
    }

    static func bar(_ percent: Double, width: Int) -> String {
        let eighths = Int((percent / 100 * Double(width * 8)).rounded(.down))
        let partial = eighths % 8 == 0 ? "" : ["▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8 - 1]
        let filled = String(repeating: "█", count: eighths / 8) + partial
        return DisplayText.padded(filled, to: width)
    }
}
