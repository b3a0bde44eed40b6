/// `2026-11-21T09:00:00.123456Z`, as all times on the wire.
package enum Timestamp {
    package static func iso8601(micros: Int64) -> String {
        let seconds = micros / 1_000_000 - (micros % 1_000_000 < 0 ? 1 : 0)
        let fraction = micros - seconds * 1_000_000
        let days = seconds / 86_400 - (seconds % 86_400 < 0 ? 1 : 0)
        let second = seconds - days * 86_400
        // Civil date of a day number, in eras of 400 years that begin on 1 March.
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return self.padded(year, 4) + "-" + self.padded(month, 2) + "-" + self.padded(day, 2) + "T"
            + self.padded(second / 3600, 2) + ":" + self.padded(second / 60 % 60, 2) + ":" + self.padded(second % 60, 2)
            + "." + self.padded(fraction, 6) + "Z"
    }

    /// `2026-11-21T09:00:00.1234+00:00`, as `to_jsonb` writes it.
    static func postgres(micros: Int64) -> String {
        var text = self.iso8601(micros: micros).dropLast()
        while text.last == "0" { text.removeLast() }
        if text.last == "." { text.removeLast() }
        return text + "+00:00"
    }

    private static func padded(_ number: Int64, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
}
