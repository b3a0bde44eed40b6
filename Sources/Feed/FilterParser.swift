/// Why a filter was refused; the message names the mistake and the way out.
package struct FilterError: Error, Equatable, Sendable {
    package let message: String
}

/// Reads PostgREST's grammar: `column=operator.value` joined by `&`, each operator after an optional `not.`.
package struct FilterParser: Sendable {
    package enum Grammar: Sendable {
        case postgREST
        /// As clients of Supabase Realtime write it: joined by `,`, any value may be quoted, `*` is no wildcard, and there
        /// are more operators.
        case realtime
    }

    private let grammar: Grammar
    private let feed: FeedDefinition
    /// Columns the asker may look at.
    private let visible: Set<String>

    private static let realtimeOperators = ["isdistinct", "match", "imatch"]
    private var operators: [String] {
        ["eq", "neq", "gt", "gte", "lt", "lte", "in", "like", "ilike", "is"]
            + (self.grammar == .realtime ? Self.realtimeOperators : [])
    }
    private static let maximumConditions = 32
    private static let maximumListed = 256
    /// Matching takes pattern times value steps, for each change.
    private static let maximumPattern = 256

    package init(feed: FeedDefinition, visible: Set<String>, grammar: Grammar = .postgREST) {
        self.grammar = grammar
        self.feed = feed
        self.visible = visible
    }

    package func parse(_ text: String) throws(FilterError) -> Filter {
        let parts = self.grammar == .realtime ? RealtimeText.split(text) : Self.split(text, at: "&")
        return try self.parse(parts.map(String.init))
    }

    /// - Parameter parts: each one condition, in which `&` is a character as any other.
    package func parse(_ parts: [String]) throws(FilterError) -> Filter {
        var conditions: [Filter.Condition] = []
        let separator = self.grammar == .realtime ? "," : "&"
        for part in parts {
            guard !part.isEmpty else {
                throw FilterError(
                    message: "the filter has an empty condition; write column=operator.value joined by \"\(separator)\""
                )
            }
            conditions.append(try self.condition(part))
            guard conditions.count <= Self.maximumConditions else {
                throw FilterError(message: "the filter has more than \(Self.maximumConditions) conditions")
            }
        }
        return Filter(conditions: conditions)
    }

    private func condition(_ text: String) throws(FilterError) -> Filter.Condition {
        // By scalars: a sign with an accent after it is one `Character`, and the accent may begin a value.
        let scalars = text.unicodeScalars
        guard let equals = scalars.firstIndex(of: "=") else {
            throw FilterError(
                message: "\"\(text.brief)\" is no condition; write column=operator.value, e.g. path=eq./send"
            )
        }
        var column = String(text[..<equals])
        var member: String? = nil
        if let arrow = Self.range(of: "->>", in: column) {
            member = String(column[arrow.upperBound...])
            column = String(column[..<arrow.lowerBound])
            guard let name = member, !name.isEmpty, Self.range(of: "->", in: name) == nil else {
                throw FilterError(message: "\"\(text.brief)\": write column->>key=operator.value with one key")
            }
        } else if Self.range(of: "->", in: column) != nil {
            throw FilterError(message: "\"\(text.brief)\": only ->> into a JSON column is supported")
        }
        guard self.visible.contains(column), let definition = self.feed.column(column) else {
            throw FilterError(
                message: "\(self.feed.table) has no column \"\(column.brief)\""
                    + Spelling.suggestion(for: column, among: self.visible.sorted())
            )
        }
        if let member, definition.type != .json {
            throw FilterError(
                message: "column \"\(column)\" is \(definition.typeName), not json; it has no key \"\(member.brief)\""
            )
        }
        guard !self.feed.quiet.contains(column) else {
            throw FilterError(
                message: "column \"\(column)\" is quiet: its changes are not followed, so nothing can be filtered by it"
            )
        }
        var rest = text[scalars.index(after: equals)...]
        var isNegated = false
        if rest.hasPrefix("not.") {
            isNegated = true
            rest = rest.dropFirst(4)
        }
        guard let dot = rest.unicodeScalars.firstIndex(of: ".") else {
            throw FilterError(
                message:
                    "\"\(text.brief)\" has no operator; write \(column)=eq.\(rest.brief), operators are \(self.operatorList)"
            )
        }
        let name = String(rest[..<dot])
        var value = String(rest[scalars.index(after: dot)...])
        if self.grammar == .realtime, value.hasPrefix("\"") {
            guard let unquoted = RealtimeText.unquoted(value) else {
                throw FilterError(message: "\"\(text.brief)\": the quoted value does not end")
            }
            value = unquoted
        }
        let type = member == nil ? definition.type : .text
        let test = try self.test(name, value, type: type, column: definition, isMember: member != nil)
        return Filter.Condition(
            column: column,
            sources: self.feed.sources(of: column),
            member: member,
            type: type,
            isNegated: isNegated,
            test: test
        )
    }

    private func test(
        _ name: String,
        _ value: String,
        type: ColumnType,
        column: FeedDefinition.Column,
        isMember: Bool
    ) throws(FilterError) -> Filter.Test {
        switch name {
        case "eq", "neq", "gt", "gte", "lt", "lte":
            guard let comparison = Filter.Comparison(rawValue: name) else { break }
            if type == .json {
                throw FilterError(
                    message:
                        "column \"\(column.name)\" is \(column.typeName); compare a key of it: \(column.name)->>key=\(name).…"
                )
            }
            if type == .other, comparison != .eq, comparison != .neq {
                throw FilterError(
                    message: "column \"\(column.name)\" is \(column.typeName), which only eq, neq, in and is can test"
                )
            }
            try self.checkIsScalar(column)
            try self.check(value, type: type, column: column)
            return .compare(comparison, literal: value)
        case "in":
            if type == .json {
                throw FilterError(
                    message: "column \"\(column.name)\" is \(column.typeName); use \(column.name)->>key=in.(…)"
                )
            }
            try self.checkIsScalar(column)
            let list = try self.list(value)
            for item in list { try self.check(item, type: type, column: column) }
            return .isIn(list)
        case "like", "ilike":
            guard type == .text else {
                throw FilterError(message: "\(name) needs a text column; \"\(column.name)\" is \(column.typeName)")
            }
            guard value.unicodeScalars.count <= Self.maximumPattern else {
                throw FilterError(message: "a pattern of \(name) has at most \(Self.maximumPattern) characters")
            }
            guard self.grammar == .postgREST else { return .like(value, ignoringCase: name == "ilike") }
            // PostgREST lets `*` stand for `%`, which URLs would have to escape.
            return .like(String(value.map { $0 == "*" ? "%" : $0 }), ignoringCase: name == "ilike")
        case "match" where self.grammar == .realtime, "imatch" where self.grammar == .realtime:
            guard type == .text else {
                throw FilterError(message: "\(name) needs a text column; \"\(column.name)\" is \(column.typeName)")
            }
            return .matches(try PosixPattern(value, ignoringCase: name == "imatch"))
        case "isdistinct" where self.grammar == .realtime:
            guard type != .json else {
                throw FilterError(message: "isdistinct cannot test \(column.typeName), which \"\(column.name)\" is")
            }
            try self.checkIsScalar(column)
            try self.check(value, type: type, column: column)
            return .isDistinct(from: value)
        case "is":
            switch value.lowercased() {
            case "null": return .isNull
            case "true", "false":
                guard type == .boolean else {
                    throw FilterError(
                        message: "is.\(value) needs a boolean column; \"\(column.name)\" is \(column.typeName)"
                    )
                }
                return .isBoolean(value.lowercased() == "true")
            case "unknown":
                guard type == .boolean else { break }
                return .isNull
            default: break
            }
            throw FilterError(
                message: "is.\(value.brief): write is.null, or is.true, is.false, is.unknown for booleans"
            )
        default: break
        }
        throw FilterError(
            message: "unknown operator \"\(name.brief)\"" + Self.hint(for: name, among: self.operators)
                + " Operators are \(self.operatorList), each after an optional \"not.\""
        )
    }

    /// Arrays travel as JSON, which no literal of SQL equals.
    private func checkIsScalar(_ column: FeedDefinition.Column) throws(FilterError) {
        guard column.typeName.hasSuffix("[]") else { return }
        throw FilterError(message: "column \"\(column.name)\" is \(column.typeName); only is.null can test arrays")
    }

    private func check(_ literal: String, type: ColumnType, column: FeedDefinition.Column) throws(FilterError) {
        guard ScalarValue(literal: literal, type: type) == nil else { return }
        if case .enumeration(let labels) = type {
            throw FilterError(
                message: "\"\(literal.brief)\" is no value of \(column.typeName)"
                    + Self.hint(for: literal, among: labels)
                    + " Values are \(labels.joined(separator: ", "))"
            )
        }
        throw FilterError(
            message: "\"\(literal.brief)\" is no \(column.typeName), which column \"\(column.name)\" holds"
        )
    }

    /// Ends the sentence, with a suggestion if there is one.
    private static func hint(for word: String, among candidates: [String]) -> String {
        let suggestion = Spelling.suggestion(for: word, among: candidates)
        return suggestion.isEmpty ? "." : suggestion
    }

    /// `(a,b,"c,d")`; inside quotes `\` takes the next character literally.
    private func list(_ text: String) throws(FilterError) -> [String] {
        guard text.hasPrefix("("), text.hasSuffix(")"), text.count >= 2 else {
            throw FilterError(
                message: "in.\(text.brief): write the values in parentheses, e.g. in.(pending,processing)"
            )
        }
        var items: [String] = []
        let inside = String(text.dropFirst().dropLast())
        for part in self.grammar == .realtime ? RealtimeText.split(inside) : Self.split(inside, at: ",") {
            guard part.hasPrefix("\"") else {
                items.append(String(part))
                continue
            }
            var item = ""
            var escaped = false
            var isClosed = false
            for character in part.dropFirst() {
                if isClosed {
                    isClosed = false
                    break
                }
                if !escaped, character == "\"" {
                    isClosed = true
                } else {
                    if escaped || character != "\\" { item.append(character) }
                    escaped = !escaped && character == "\\"
                }
            }
            guard isClosed else {
                throw FilterError(message: "in.\(text.brief): a quoted value does not end")
            }
            items.append(item)
        }
        guard items.count <= Self.maximumListed else {
            throw FilterError(message: "in.(…) has more than \(Self.maximumListed) values")
        }
        return items
    }

    /// Splits outside of double quotes.
    private static func split(_ text: String, at separator: Character) -> [Substring] {
        var parts: [Substring] = []
        var start = text.startIndex
        var isQuoted = false
        var escaped = false
        // Quotes mean something only inside a list: `eq."` compares with a quotation mark.
        var isInList = separator == ","
        for index in text.indices {
            let character = text[index]
            if escaped {
                escaped = false
            } else if isQuoted, character == "\\" {
                escaped = true
            } else if isInList, character == "\"" {
                isQuoted.toggle()
            } else if separator != ",", !isQuoted, character == "(" || character == ")" {
                isInList = character == "("
            } else if character == separator, !isQuoted {
                parts.append(text[start..<index])
                start = text.index(after: index)
            }
        }
        parts.append(text[start...])
        return parts
    }

    private static func range(of needle: String, in text: String) -> Range<String.Index>? {
        var index = text.startIndex
        while index < text.endIndex {
            if text[index...].hasPrefix(needle) {
                return index..<(text.index(index, offsetBy: needle.count))
            }
            index = text.index(after: index)
        }
        return nil
    }

    private var operatorList: String { self.operators.joined(separator: ", ") }
}

extension StringProtocol {
    /// Shortened, so that a peer cannot make answers grow.
    var brief: String {
        let scalars = self.unicodeScalars
        guard scalars.count > 60 else { return String(self) }
        return String(String.UnicodeScalarView(scalars.prefix(60))) + "…"
    }
}
