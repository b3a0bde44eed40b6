import Feed

extension Filter.Condition {
    /// As a client writes it.
    var text: String {
        let name = self.member.map { "\(self.column)->>\($0)" } ?? self.column
        return "\(name)=\(self.isNegated ? "not." : "")\(self.test.text)"
    }
}

extension Filter.Test {
    fileprivate var text: String {
        switch self {
        case .compare(let comparison, let literal): "\(comparison.rawValue).\(literal)"
        case .isIn(let literals): "in.(\(literals.map(Self.listed).joined(separator: ",")))"
        case .like(let pattern, let ignoringCase): "\(ignoringCase ? "ilike" : "like").\(pattern)"
        case .isNull: "is.null"
        case .isBoolean(let value): "is.\(value)"
        case .isDistinct(let literal): "isdistinct.\(literal)"
        case .matches(let pattern): "\(pattern.ignoringCase ? "imatch" : "match").\(pattern.text)"
        }
    }

    private static func listed(_ literal: String) -> String {
        guard literal.isEmpty || literal.contains(where: { "\",()\\".contains($0) }) else { return literal }
        return "\"" + literal.map { "\"\\".contains($0) ? "\\\($0)" : String($0) }.joined() + "\""
    }
}
