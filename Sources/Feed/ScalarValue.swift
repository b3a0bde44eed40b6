/// A column's value in the form in which it compares.
enum ScalarValue: Equatable, Sendable {
    case text(String)
    case number(ExactNumber)
    case boolean(Bool)
    case instant(Int64)
    /// An enum label's place.
    case label(Int)

    /// Reads what a filter says; `nil` when it is no value of that type.
    init?(literal: String, type: ColumnType) {
        switch type {
        case .text, .json, .other: self = .text(literal)
        case .paddedText:
            let padding = literal.unicodeScalars.reversed().prefix { $0 == " " }.count
            self = .text(String(literal.unicodeScalars.dropLast(padding)))
        case .number:
            guard let number = ExactNumber(literal) else { return nil }
            self = .number(number)
        case .boolean:
            switch literal.lowercased() {
            case "true", "t": self = .boolean(true)
            case "false", "f": self = .boolean(false)
            default: return nil
            }
        case .uuid:
            guard let canonical = Self.canonicalUUID(literal) else { return nil }
            self = .text(canonical)
        case .instant:
            guard let instant = Instant.microseconds(literal) else { return nil }
            self = .instant(instant)
        case .enumeration(let labels):
            guard let place = labels.firstIndex(of: literal) else { return nil }
            self = .label(place)
        }
    }

    /// Reads what Postgres wrote; `nil` for null.
    init?(json: JSONText, type: ColumnType) {
        guard let text = json.scalarText else { return nil }
        self.init(literal: text, type: type)
    }

    private static func canonicalUUID(_ text: String) -> String? {
        let digits = text.lowercased().filter { $0 != "-" && $0 != "{" && $0 != "}" }
        guard digits.utf8.count == 32, digits.allSatisfy({ $0.isHexDigit && $0.isASCII }) else { return nil }
        var out = ""
        for (index, digit) in digits.enumerated() {
            if [8, 12, 16, 20].contains(index) { out.append("-") }
            out.append(digit)
        }
        return out
    }

    /// Negative, zero or positive. Text compares by its bytes, as under the collation `"C"`.
    func compare(_ other: ScalarValue) -> Int? {
        func order<T: Comparable>(_ left: T, _ right: T) -> Int { left < right ? -1 : left == right ? 0 : 1 }
        switch (self, other) {
        case (.text(let left), .text(let right)):
            if left.utf8.elementsEqual(right.utf8) { return 0 }
            return left.utf8.lexicographicallyPrecedes(right.utf8) ? -1 : 1
        case (.number(let left), .number(let right)): return left.compare(right)
        case (.boolean(let left), .boolean(let right)): return order(left ? 1 : 0, right ? 1 : 0)
        case (.instant(let left), .instant(let right)): return order(left, right)
        case (.label(let left), .label(let right)): return order(left, right)
        default: return nil
        }
    }
}

/// A number of any length, compared exactly as `numeric` does (no rounding to a `Double`).
struct ExactNumber: Equatable, Sendable {
    private let negative: Bool
    /// Significant digits without leading or trailing zeros; empty for zero.
    private let digits: [UInt8]
    /// Where the decimal point stands, counted from before the first digit.
    private let exponent: Int
    private let isInfinite: Bool
    /// Equal to itself and above all others, as Postgres orders it.
    private let isNaN: Bool

    init?(_ text: String) {
        var rest = Substring(text)
        var negative = false
        if rest.first == "-" || rest.first == "+" { negative = rest.removeFirst() == "-" }
        if ["infinity", "inf"].contains(rest.lowercased()) {
            (self.negative, self.digits, self.exponent, self.isInfinite, self.isNaN) = (negative, [], 0, true, false)
            return
        }
        if text.lowercased() == "nan" {
            (self.negative, self.digits, self.exponent, self.isInfinite, self.isNaN) = (false, [], 0, false, true)
            return
        }
        var exponent = 0
        if let mark = rest.firstIndex(where: { $0 == "e" || $0 == "E" }) {
            guard let value = Int(rest[rest.index(after: mark)...]),
                (-199_999...199_999).contains(value)
            else { return nil }
            exponent = value
            rest = rest[..<mark]
        }
        var digits: [UInt8] = []
        var point: Int? = nil
        for character in rest.utf8 {
            switch character {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digits.append(character - UInt8(ascii: "0"))
            case UInt8(ascii: ".") where point == nil: point = digits.count
            default: return nil
            }
        }
        guard !digits.isEmpty else { return nil }
        var places = (point ?? digits.count) + exponent
        let leading = digits.prefix { $0 == 0 }.count
        digits.removeFirst(leading)
        places -= leading
        while digits.last == 0 { digits.removeLast() }
        self.digits = digits
        self.exponent = digits.isEmpty ? 0 : places
        self.negative = negative && !digits.isEmpty
        self.isInfinite = false
        self.isNaN = false
    }

    func compare(_ other: ExactNumber) -> Int {
        if self.isNaN || other.isNaN { return self.isNaN == other.isNaN ? 0 : self.isNaN ? 1 : -1 }
        if self.negative != other.negative { return self.negative ? -1 : 1 }
        let magnitude = self.compareMagnitude(other)
        return self.negative ? -magnitude : magnitude
    }

    private func compareMagnitude(_ other: ExactNumber) -> Int {
        if self.isInfinite || other.isInfinite {
            return self.isInfinite == other.isInfinite ? 0 : self.isInfinite ? 1 : -1
        }
        if self.digits.isEmpty || other.digits.isEmpty {
            return self.digits.isEmpty == other.digits.isEmpty ? 0 : self.digits.isEmpty ? -1 : 1
        }
        if self.exponent != other.exponent { return self.exponent < other.exponent ? -1 : 1 }
        if self.digits == other.digits { return 0 }
        return self.digits.lexicographicallyPrecedes(other.digits) ? -1 : 1
    }
}

/// ISO 8601 as Postgres writes it in JSON and as people type it.
enum Instant {
    /// `YYYY-MM-DD`, optionally `T` or a space and `HH:MM[:SS[.ffffff]]`, optionally `Z` or `±HH[:MM]`
    /// (none: UTC). Microseconds since 1970.
    static func microseconds(_ text: String) -> Int64? {
        if text == "infinity" { return .max }
        if text == "-infinity" { return .min }
        let isBeforeChrist = text.hasSuffix(" BC")
        var rest = text.dropLast(isBeforeChrist ? 3 : 0)
        func digits(_ range: ClosedRange<Int>) -> Int64? {
            let run = rest.prefix { $0.isASCII && $0.isNumber }
            guard range.contains(run.count), let value = Int64(run) else { return nil }
            rest = rest.dropFirst(run.count)
            return value
        }
        func take(_ characters: Character...) -> Bool {
            guard let first = rest.first, characters.contains(first) else { return false }
            rest.removeFirst()
            return true
        }
        guard let shown = digits(4...6), take("-"), let month = digits(2...2), take("-"), let day = digits(2...2),
            (1...12).contains(month)
        else { return nil }
        // There is no year 0: 1 BC comes before 1.
        let year = isBeforeChrist ? 1 - shown : shown
        guard (1...Self.days(in: month, of: year)).contains(day) else { return nil }
        let days = Self.daysSinceEpoch(year: year, month: month, day: day)
        // The last years that Postgres has do not fit into 64 bits of microseconds since 1970.
        var micros = min(days, Int64.max / 86_400_000_000 - 2) * 86_400_000_000
        guard !rest.isEmpty else { return micros }
        guard take("T", "t", " "), let hour = digits(2...2), take(":"), let minute = digits(2...2), hour < 25,
            minute < 60
        else { return nil }
        micros += (hour * 3600 + minute * 60) * 1_000_000
        if take(":") {
            guard let second = digits(2...2), second < 61 else { return nil }
            micros += second * 1_000_000
            if take(".") {
                let run = rest.prefix { $0.isASCII && $0.isNumber }
                guard (1...6).contains(run.count), let value = Int64((run + "000000").prefix(6)) else { return nil }
                micros += value
                rest = rest.dropFirst(run.count)
            }
        }
        if take("Z", "z") { return rest.isEmpty ? micros : nil }
        if let sign = rest.first, sign == "+" || sign == "-" {
            rest.removeFirst()
            guard let hours = digits(2...2), hours < 17 else { return nil }
            var offset = hours * 3600
            _ = take(":")
            if !rest.isEmpty {
                guard let minutes = digits(2...2), minutes < 60 else { return nil }
                offset += minutes * 60
            }
            micros -= (sign == "-" ? -offset : offset) * 1_000_000
        }
        return rest.isEmpty ? micros : nil
    }

    private static func days(in month: Int64, of year: Int64) -> Int64 {
        switch month {
        case 2: return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: return 30
        default: return 31
        }
    }

    /// Days from 1970-01-01 in the proleptic Gregorian calendar.
    private static func daysSinceEpoch(year: Int64, month: Int64, day: Int64) -> Int64 {
        let shifted = month <= 2 ? year - 1 : year
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * ((month + 9) % 12) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }
}
