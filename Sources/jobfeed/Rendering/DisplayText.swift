/// Text as a terminal shows it.
enum DisplayText {
    /// Control characters and direction overrides made visible: a job's title must not drive the terminal.
    static func sanitized(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: Self.isUnsafe) else { return text }
        var safe = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n": safe.append("␊")
            case "\t": safe.append(" ")
            default: safe.append(Self.isUnsafe(scalar) ? "\u{FFFD}" : scalar)
            }
        }
        return String(safe)
    }

    private static func isUnsafe(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x7F...0x9F, 0x2028...0x202E, 0x2066...0x2069: true
        default: false
        }
    }

    /// How many columns `text` takes; escape sequences take none.
    static func width(_ text: String) -> Int {
        var width = 0
        var isEscape = false
        for character in text {
            if character == "\u{1B}" {
                isEscape = true
            } else if isEscape {
                isEscape = character != "m"
            } else {
                width += Self.width(character)
            }
        }
        return width
    }

    static func truncated(_ text: String, to limit: Int) -> String {
        guard Self.width(text) > limit else { return text }
        var width = 0
        var result = ""
        for character in text {
            width += Self.width(character)
            guard width < limit else { break }
            result.append(character)
        }
        return limit > 0 ? result + "…" : ""
    }

    static func padded(_ text: String, to width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - Self.width(text)))
    }

    private static func width(_ character: Character) -> Int {
        guard let scalar = character.unicodeScalars.first else { return 0 }
        switch scalar.value {
        case 0x300...0x36F, 0x200B...0x200D, 0xFE00...0xFE0F: return 0
        // East Asian wide and fullwidth blocks, and emoji (UAX #11, by block).
        case 0x1100...0x115F, 0x2E80...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F, 0xFF00...0xFF60,
            0xFFE0...0xFFE6, 0x1F300...0x1FAFF, 0x20000...0x3FFFD:
            return 2
        default: return character.unicodeScalars.contains { $0.value == 0xFE0F } ? 2 : 1
        }
    }
}
