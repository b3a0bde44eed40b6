/// The quoting of Supabase Realtime's filters.
enum RealtimeText {
    /// Splits at commas outside of parentheses and quotes; a quote opens only where a value may begin.
    static func split(_ text: String) -> [Substring] {
        let scalars = text.unicodeScalars
        var parts: [Substring] = []
        var start = scalars.startIndex
        var depth = 0
        var isQuoted = false
        var isEscaped = false
        var previous: Unicode.Scalar = "("
        for index in scalars.indices {
            let scalar = scalars[index]
            if isEscaped {
                isEscaped = false
            } else if isQuoted {
                if scalar == "\\" { isEscaped = true }
                if scalar == "\"" { isQuoted = false }
            } else {
                switch scalar {
                case "\"": isQuoted = previous == "." || previous == "(" || previous == ","
                case "(": depth += 1
                case ")": depth = max(0, depth - 1)
                case "," where depth == 0:
                    parts.append(text[start..<index])
                    start = scalars.index(after: index)
                default: break
                }
            }
            previous = scalar
        }
        parts.append(text[start...])
        return parts
    }

    /// What stands between the quotes, which have to be the first and the last sign; `\` takes the next one literally.
    static func unquoted(_ text: String) -> String? {
        var out = String.UnicodeScalarView()
        var isEscaped = false
        var isClosed = false
        for scalar in text.unicodeScalars.dropFirst() {
            if isClosed { return nil }
            if !isEscaped, scalar == "\"" {
                isClosed = true
            } else if !isEscaped, scalar == "\\" {
                isEscaped = true
            } else {
                out.append(scalar)
                isEscaped = false
            }
        }
        return isClosed ? String(out) : nil
    }
}
