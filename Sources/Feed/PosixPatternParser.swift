/// Compiles a regular expression for ``PosixPattern``.
struct PosixPatternParser {
    private typealias Instruction = PosixPattern.Instruction
    private typealias Scalars = PosixPattern.Scalars

    private static let maximumScalars = 256
    private static let maximumInstructions = 512

    private let text: String
    private let scalars: [Unicode.Scalar]
    private var place = 0

    static func program(of text: String) throws(FilterError) -> [PosixPattern.Instruction] {
        var parser = PosixPatternParser(text)
        guard parser.scalars.count <= Self.maximumScalars else {
            throw FilterError(message: "a regular expression has at most \(Self.maximumScalars) characters")
        }
        let program = try parser.alternatives()
        guard parser.place == parser.scalars.count else { throw parser.error("has a ) too many") }
        return program + [.match]
    }

    private init(_ text: String) {
        self.text = text
        self.scalars = Array(text.unicodeScalars)
    }

    private func error(_ what: String) -> FilterError {
        FilterError(message: "the regular expression \"\(self.text.brief)\" \(what)")
    }

    private var next: Unicode.Scalar? { self.place < self.scalars.count ? self.scalars[self.place] : nil }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard self.next == scalar else { return false }
        self.place += 1
        return true
    }

    // Programs are relative: targets count from their own first instruction.

    private mutating func alternatives() throws(FilterError) -> [Instruction] {
        var program = try self.branch()
        while self.take("|") {
            let other = try self.branch()
            program =
                [.split(1, program.count + 2)] + Self.moved(program, by: 1) + [.jump(program.count + other.count + 2)]
                + Self.moved(other, by: program.count + 2)
            try self.check(program)
        }
        return program
    }

    private mutating func branch() throws(FilterError) -> [Instruction] {
        var program: [Instruction] = []
        while let scalar = self.next, scalar != "|", scalar != ")" {
            let atom = try self.atom()
            program += Self.moved(try self.quantified(atom), by: program.count)
            try self.check(program)
        }
        return program
    }

    private mutating func quantified(_ atom: [Instruction]) throws(FilterError) -> [Instruction] {
        var bounds: (least: Int, most: Int?)
        switch self.next {
        case "*": bounds = (0, nil)
        case "+": bounds = (1, nil)
        case "?": bounds = (0, 1)
        case "{": bounds = (0, 0)
        default: return atom
        }
        self.place += 1
        if self.scalars[self.place - 1] == "{" { bounds = try self.count() }
        // Whether it takes much or little is the same to a test.
        _ = self.take("?")
        if let next = self.next, "*+?{".unicodeScalars.contains(next) { throw self.error("repeats a repetition") }
        var program: [Instruction] = []
        for _ in 0..<bounds.least {
            program += Self.moved(atom, by: program.count)
            try self.check(program)
        }
        if let most = bounds.most {
            for _ in 0..<max(0, most - bounds.least) {
                let start = program.count
                program += [.split(start + 1, start + 1 + atom.count)] + Self.moved(atom, by: start + 1)
                try self.check(program)
            }
        } else {
            let start = program.count
            program += [.split(start + 1, start + 2 + atom.count)] + Self.moved(atom, by: start + 1) + [.jump(start)]
        }
        try self.check(program)
        return program
    }

    private mutating func count() throws(FilterError) -> (least: Int, most: Int?) {
        let least = try self.number()
        var most: Int? = least
        if self.take(",") { most = self.next == "}" ? nil : try self.number() }
        guard self.take("}"), least <= most ?? .max else { throw self.error(Self.badCount) }
        return (least, most)
    }

    private static let badCount = "has a count that is not {m}, {m,} or {m,n}"

    private mutating func number() throws(FilterError) -> Int {
        var number: Int? = nil
        while let digit = self.next.flatMap({ $0.isASCII ? Int(String($0)) : nil }) {
            number = (number ?? 0) * 10 + digit
            self.place += 1
            guard number ?? 0 <= 255 else { throw self.error("counts beyond 255") }
        }
        guard let number else { throw self.error(Self.badCount) }
        return number
    }

    private mutating func atom() throws(FilterError) -> [Instruction] {
        guard let scalar = self.next else { return [] }
        self.place += 1
        switch scalar {
        case "(":
            if self.take("?"), !self.take(":") { throw self.error("has (?…), of which only (?:…) is there") }
            let program = try self.alternatives()
            guard self.take(")") else { throw self.error("has a ( that does not end") }
            return program
        case "[": return [.one(try self.bracket())]
        case ".": return [.one(Scalars(isNegated: true))]
        case "^": return [.start]
        case "$": return [.end]
        case "\\":
            switch self.next {
            case "A":
                self.place += 1
                return [.start]
            case "Z":
                self.place += 1
                return [.end]
            default: return [.one(try self.escape())]
            }
        case "*", "+", "?": throw self.error("repeats nothing")
        default: return [.one(Scalars(ranges: [scalar...scalar]))]
        }
    }

    /// What a `\` stands for that was just read.
    private mutating func escape() throws(FilterError) -> Scalars {
        guard let scalar = self.next else { throw self.error("ends with a \\") }
        self.place += 1
        switch scalar {
        case "d", "D": return Scalars(ranges: Self.digits, isNegated: scalar == "D")
        case "w", "W": return Scalars(ranges: Self.word, isNegated: scalar == "W")
        case "s", "S": return Scalars(ranges: Self.space, isNegated: scalar == "S")
        case "n": return Scalars(ranges: ["\n"..."\n"])
        case "r": return Scalars(ranges: ["\r"..."\r"])
        case "t": return Scalars(ranges: ["\t"..."\t"])
        default:
            guard !scalar.properties.isAlphabetic, scalar.properties.numericType == nil else {
                throw self.error("has \\\(scalar), which is not supported here")
            }
            return Scalars(ranges: [scalar...scalar])
        }
    }

    private mutating func bracket() throws(FilterError) -> Scalars {
        var set = Scalars(isNegated: self.take("^"))
        var isFirst = true
        while let scalar = self.next {
            self.place += 1
            defer { isFirst = false }
            if scalar == "]", !isFirst { return set }
            if scalar == "[", let mark = self.next, ":.=".unicodeScalars.contains(mark) {
                set.ranges += try self.named()
                continue
            }
            if scalar == "\\" {
                let escaped = try self.escape()
                guard !escaped.isNegated else { throw self.error("has a negated class in brackets") }
                set.ranges += escaped.ranges
                continue
            }
            guard self.next == "-", self.place + 1 < self.scalars.count, self.scalars[self.place + 1] != "]" else {
                set.ranges.append(scalar...scalar)
                continue
            }
            let last = self.scalars[self.place + 1]
            self.place += 2
            guard scalar <= last, last != "[", last != "\\" else { throw self.error("has a range that is none") }
            set.ranges.append(scalar...last)
        }
        throw self.error("has a [ that does not end")
    }

    /// `[:alpha:]`, after its first bracket.
    private mutating func named() throws(FilterError) -> [ClosedRange<Unicode.Scalar>] {
        for (name, ranges) in Self.classes {
            let whole = Array(":\(name):]".unicodeScalars)
            if self.scalars[self.place...].starts(with: whole) {
                self.place += whole.count
                return ranges
            }
        }
        throw self.error("has a class in brackets that is not known")
    }

    private func check(_ program: [Instruction]) throws(FilterError) {
        guard program.count <= Self.maximumInstructions else { throw self.error("is too large") }
    }

    private static func moved(_ program: [Instruction], by offset: Int) -> [Instruction] {
        program.map {
            switch $0 {
            case .split(let first, let second): .split(first + offset, second + offset)
            case .jump(let target): .jump(target + offset)
            case .one, .start, .end, .match: $0
            }
        }
    }

    private static let digits: [ClosedRange<Unicode.Scalar>] = ["0"..."9"]
    /// Letters beyond ASCII are letters, roughly: Postgres asks the database's locale.
    private static let letters: [ClosedRange<Unicode.Scalar>] = ["a"..."z", "A"..."Z", "\u{aa}"..."\u{2fff}"]
    private static let word = letters + digits + ["_"..."_"]
    private static let space: [ClosedRange<Unicode.Scalar>] = ["\t"..."\r", " "..." "]
    private static let classes: [(String, [ClosedRange<Unicode.Scalar>])] = [
        ("alpha", letters), ("digit", digits), ("alnum", letters + digits), ("space", space),
        ("upper", ["A"..."Z"]), ("lower", ["a"..."z"]), ("blank", [" "..." ", "\t"..."\t"]),
        ("xdigit", digits + ["a"..."f", "A"..."F"]), ("punct", ["!"..."/", ":"..."@", "["..."`", "{"..."~"]),
    ]
}
