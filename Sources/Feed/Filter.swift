/// Conditions on a row, all of which must hold; made only by ``FilterParser`` or for a channel, so always well typed.
package struct Filter: Sendable, Equatable {
    package struct Condition: Sendable, Equatable {
        package let column: String
        /// The table's columns that it looks at.
        package let sources: [String]
        /// `col->>key`: the member of a JSON column, as text.
        package let member: String?
        package let type: ColumnType
        package let isNegated: Bool
        package let test: Test

        /// What it looks at, given a row's values by column.
        package func value(of row: (String) -> JSONText?) -> JSONText? {
            let value = row(self.column)
            return self.member.map { value?.member($0) } ?? value
        }
    }

    package enum Comparison: String, Sendable {
        case eq, neq, gt, gte, lt, lte
    }

    package enum Test: Sendable, Equatable {
        case compare(Comparison, literal: String)
        case isIn([String])
        /// A pattern with `%` and `_`.
        case like(String, ignoringCase: Bool)
        case isNull
        case isBoolean(Bool)
        /// The same as `neq`, but null is a value like any other.
        case isDistinct(from: String)
        case matches(PosixPattern)
    }

    package private(set) var conditions: [Condition]
    private var tests: [CompiledTest]

    package static let everything = Filter(conditions: [])

    init(conditions: [Condition]) {
        self.conditions = conditions
        self.tests = conditions.map(CompiledTest.init)
    }

    package static func == (left: Self, right: Self) -> Bool { left.conditions == right.conditions }

    /// The rows of a status channel.
    package static func statuses(_ statuses: [String], of feed: FeedDefinition) -> Filter {
        let type = feed.column(feed.status)?.type ?? .text
        return Filter(conditions: [
            Condition(
                column: feed.status,
                sources: [feed.status],
                member: nil,
                type: type,
                isNegated: false,
                test: .isIn(statuses)
            )
        ])
    }

    package func and(_ other: Filter) -> Filter {
        Filter(conditions: self.conditions + other.conditions)
    }

    /// The table's columns that it looks at.
    package var columns: Set<String> { Set(self.conditions.flatMap(\.sources)) }

    /// Whether a row passes, given its values by column. Null passes only `is.null`, as in SQL.
    package func matches(_ value: (String) -> JSONText?) -> Bool {
        self.firstFailure(value) == nil
    }

    /// The first condition that a row does not pass.
    package func firstFailure(_ value: (String) -> JSONText?) -> Condition? {
        for index in self.conditions.indices {
            let condition = self.conditions[index]
            guard let result = self.tests[index].evaluate(condition.value(of: value), condition),
                result != condition.isNegated
            else { return condition }
        }
        return nil
    }
}

/// A test with its literals already read.
private struct CompiledTest: Sendable {
    private var literals: [ScalarValue] = []
    private var pattern: LikePattern? = nil

    init(_ condition: Filter.Condition) {
        switch condition.test {
        case .compare(_, let literal), .isDistinct(let literal):
            self.literals = ScalarValue(literal: literal, type: condition.type).map { [$0] } ?? []
        case .isIn(let list):
            self.literals = list.compactMap { ScalarValue(literal: $0, type: condition.type) }
        case .like(let pattern, let ignoringCase):
            self.pattern = LikePattern(pattern, ignoringCase: ignoringCase)
        case .isNull, .isBoolean, .matches: break
        }
    }

    /// `nil` is SQL's unknown.
    func evaluate(_ json: JSONText?, _ condition: Filter.Condition) -> Bool? {
        let isNull = json?.isNull ?? true
        switch condition.test {
        case .isNull: return isNull
        case .isBoolean(let wanted): return !isNull && json?.scalarText == (wanted ? "true" : "false")
        case .compare(let comparison, let literal):
            guard let json, !isNull else { return nil }
            // Members of JSON columns are text; two numbers compare as numbers.
            if condition.member != nil, json.isNumber, let left = ScalarValue(json: json, type: .number),
                let right = ScalarValue(literal: literal, type: .number)
            {
                return left.compare(right).map { Self.holds(comparison, $0) }
            }
            guard let value = ScalarValue(json: json, type: condition.type), let literal = self.literals.first else {
                return nil
            }
            return value.compare(literal).map { Self.holds(comparison, $0) }
        case .isIn(let list):
            guard let json, !isNull, let value = ScalarValue(json: json, type: condition.type) else { return nil }
            if condition.member != nil, json.isNumber, let number = ScalarValue(json: json, type: .number) {
                return list.contains {
                    ScalarValue(literal: $0, type: .number).map { number.compare($0) == 0 } ?? false
                }
            }
            return self.literals.contains { value.compare($0) == 0 }
        case .like:
            guard let text = json?.scalarText, let pattern = self.pattern else { return nil }
            return pattern.matches(text)
        case .isDistinct:
            guard let json, !isNull, let literal = self.literals.first else { return true }
            return ScalarValue(json: json, type: condition.type)?.compare(literal) != 0
        case .matches(let pattern):
            guard let text = json?.scalarText, text.utf8.count <= PosixPattern.maximumTextBytes else { return nil }
            return pattern.matches(text)
        }
    }

    private static func holds(_ comparison: Filter.Comparison, _ order: Int) -> Bool {
        switch comparison {
        case .eq: order == 0
        case .neq: order != 0
        case .gt: order > 0
        case .gte: order >= 0
        case .lt: order < 0
        case .lte: order <= 0
        }
    }
}

/// SQL's LIKE: `%` any run, `_` one character, `\` takes the next one literally.
struct LikePattern: Sendable {
    private enum Token: Equatable, Sendable {
        case literal(Unicode.Scalar)
        case one
        case run
    }

    private var tokens: [Token] = []
    private let ignoringCase: Bool

    init(_ pattern: String, ignoringCase: Bool) {
        self.ignoringCase = ignoringCase
        let pattern = ignoringCase ? pattern.lowercased() : pattern
        var escaped = false
        for scalar in pattern.unicodeScalars {
            if escaped {
                self.tokens.append(.literal(scalar))
                escaped = false
            } else if scalar == "\\" {
                escaped = true
            } else if scalar == "%" {
                if self.tokens.last != .run { self.tokens.append(.run) }
            } else {
                self.tokens.append(scalar == "_" ? .one : .literal(scalar))
            }
        }
    }

    /// Greedy with one point of return: never more than length × tokens steps, whatever the pattern.
    func matches(_ text: String) -> Bool {
        let text = Array((self.ignoringCase ? text.lowercased() : text).unicodeScalars)
        var at = 0
        var token = 0
        var retry: (token: Int, at: Int)? = nil
        while at < text.count {
            if token < self.tokens.count, self.tokens[token] == .run {
                retry = (token, at)
                token += 1
            } else if token < self.tokens.count, self.tokens[token] == .one || self.tokens[token] == .literal(text[at])
            {
                at += 1
                token += 1
            } else if let point = retry {
                retry = (point.token, point.at + 1)
                token = point.token + 1
                at = point.at + 1
            } else {
                return false
            }
        }
        return self.tokens[token...].allSatisfy { $0 == .run }
    }
}
