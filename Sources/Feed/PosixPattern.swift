/// A regular expression as Postgres's `~` reads it, but for what takes more than one pass over the text: back references
/// and lookaround are refused. Takes at most text times pattern steps.
package struct PosixPattern: Sendable, Equatable {
    enum Instruction: Sendable, Equatable {
        case one(Scalars)
        case split(Int, Int)
        case jump(Int)
        case start
        case end
        case match
    }

    /// Some scalars, or all but those.
    struct Scalars: Sendable, Equatable {
        var ranges: [ClosedRange<Unicode.Scalar>] = []
        var isNegated = false

        func contains(_ scalar: Unicode.Scalar) -> Bool {
            self.ranges.contains { $0.contains(scalar) } != self.isNegated
        }
    }

    /// A longer value neither fits nor fails to fit: it would hold the event loop for a tenth of a second and more.
    static let maximumTextBytes = 16 << 10

    package let text: String
    package let ignoringCase: Bool
    private let program: [Instruction]

    package init(_ text: String, ignoringCase: Bool) throws(FilterError) {
        self.text = text
        self.ignoringCase = ignoringCase
        self.program = try PosixPatternParser.program(of: text)
    }

    /// Whether any part of `text` fits.
    package func matches(_ text: String) -> Bool {
        var current = Threads(self.program.count)
        var next = Threads(self.program.count)
        let scalars = Array(text.unicodeScalars)
        for place in 0...scalars.count {
            self.add(0, at: place, of: scalars.count, to: &current)
            if current.isMatch { return true }
            guard place < scalars.count else { break }
            let spellings = self.spellings(of: scalars[place])
            for counter in current.list {
                guard case .one(let set) = self.program[counter],
                    set.isNegated ? spellings.allSatisfy(set.contains) : spellings.contains(where: set.contains)
                else { continue }
                self.add(counter + 1, at: place + 1, of: scalars.count, to: &next)
            }
            if next.isMatch { return true }
            swap(&current, &next)
            next.clear()
        }
        return false
    }

    private func spellings(of scalar: Unicode.Scalar) -> [Unicode.Scalar] {
        guard self.ignoringCase else { return [scalar] }
        let lower = scalar.properties.lowercaseMapping.unicodeScalars
        let upper = scalar.properties.uppercaseMapping.unicodeScalars
        return [scalar] + (lower.count == 1 ? Array(lower) : []) + (upper.count == 1 ? Array(upper) : [])
    }

    private func add(_ counter: Int, at place: Int, of count: Int, to threads: inout Threads) {
        var waiting = [counter]
        while let counter = waiting.popLast() {
            guard threads.insert(counter) else { continue }
            switch self.program[counter] {
            case .one: threads.list.append(counter)
            case .split(let first, let second): waiting += [second, first]
            case .jump(let target): waiting.append(target)
            case .start: if place == 0 { waiting.append(counter + 1) }
            case .end: if place == count { waiting.append(counter + 1) }
            case .match: threads.isMatch = true
            }
        }
    }

    /// Where the simulation stands, all of it at once.
    private struct Threads {
        var list: [Int] = []
        var isMatch = false
        private var seen: [Bool]

        init(_ count: Int) { self.seen = Array(repeating: false, count: count) }

        mutating func insert(_ counter: Int) -> Bool {
            defer { self.seen[counter] = true }
            return !self.seen[counter]
        }

        mutating func clear() {
            self.list.removeAll(keepingCapacity: true)
            for place in self.seen.indices { self.seen[place] = false }
        }
    }
}
