import Feed

/// The SQL that reads the rows of a view, as the row rule says, under whatever snapshot it is run.
struct ViewQuery {
    private(set) var sql: String
    private(set) var parameters: [String] = []
    /// Whether SQL tests the whole filter; otherwise the caller tests rows and takes them one by one.
    private(set) var isFilterComplete = true
    /// Whether the viewer can own rows at all.
    private(set) var canMatch = true

    private let view: View
    private var conditions: [String] = []

    private init(view: View) {
        self.view = view
        self.sql = ""
        self.addOwner()
        self.addKey()
        for condition in view.filter.conditions {
            if let sql = self.compiled(condition) {
                self.conditions.append(sql)
            } else {
                self.isFilterComplete = false
            }
        }
    }

    private var hops: Int {
        switch self.view.viewer {
        case .operator: 0
        case .account: self.view.feed.hops.count
        }
    }

    /// Whether the text is one of few, whatever clients ask for.
    var isCommon: Bool {
        self.view.filter.conditions.isEmpty
            && self.view.columns == View.visibleColumns(of: self.view.feed, for: self.view.viewer)
    }

    /// With a first column that says whether the rest counts; see ``TableRewrite``.
    func guarded(_ columns: String) -> String {
        TableRewrite.guarded(self.sql, columns, on: OwnerPath.tables(of: self.view.feed, upTo: self.hops))
    }

    private var from: String {
        let joins = OwnerPath.joins(of: self.view.feed, upTo: self.hops)
        return joins + (self.conditions.isEmpty ? "" : " WHERE " + self.conditions.joined(separator: " AND "))
    }

    /// The newest rows, each as JSON of the view's columns and those the filter looks at.
    static func rows(of view: View, limit: Int) -> ViewQuery {
        var query = ViewQuery(view: view)
        let feed = view.feed
        let wanted = Set(view.columns.flatMap(feed.sources)).union(view.filter.columns).union(feed.key)
        let columns = feed.columns.map(\.name).filter(wanted.contains)
        var order = feed.key.map { "j.\(SQLText.identifier($0)) DESC" }
        if let newest = feed.orderColumn { order.insert("j.\(SQLText.identifier(newest)) DESC NULLS LAST", at: 0) }
        let limited = query.isFilterComplete ? " LIMIT \(query.parameter(String(limit + 1)))::bigint" : ""
        query.sql = """
            SELECT to_jsonb(y)::text AS json FROM (
                SELECT \(SQLText.list(columns, of: "j")) FROM \(query.from)
                ORDER BY \(order.joined(separator: ", "))\(limited)) y
            """
        return query
    }

    /// How many rows per status, when SQL can test the whole filter.
    static func counts(of view: View) -> ViewQuery {
        var query = ViewQuery(view: view)
        let status = "j.\(SQLText.identifier(view.feed.status))"
        query.sql = "SELECT coalesce(\(status)::text, '') AS status, count(*) AS number FROM \(query.from) GROUP BY 1"
        return query
    }

    // MARK: Conditions

    private mutating func parameter(_ value: String) -> String {
        self.parameters.append(value)
        return "$\(self.parameters.count)"
    }

    private mutating func addOwner() {
        guard case .account(let viewer, let scope) = self.view.viewer else { return }
        let user = viewer.string
        guard let owner = OwnerPath.owner(of: self.view.feed), let typeName = self.view.feed.ownerTypeName else {
            self.canMatch = false
            return
        }
        let type = ColumnType(typeName: typeName, enumLabels: [])
        switch type {
        case .text:
            // By bytes, too: the column's own collation may take two users for one.
            let parameter = self.parameter(user)
            self.conditions.append("\(owner) = \(parameter) AND \(owner) COLLATE \"C\" = \(parameter)")
        case .uuid where Literal.isUUID(user):
            // Typed for the index, as text because only the canonical spelling is the user's name.
            let parameter = self.parameter(user)
            self.conditions.append("\(owner) = \(parameter)::text::uuid AND \(owner)::text = \(parameter)::text")
        case .number where Literal.isInteger(user):
            let parameter = self.parameter(user)
            self.conditions.append("\(owner) = \(parameter)::text::bigint AND \(owner)::text = \(parameter)::text")
        default:
            self.conditions.append("\(owner)::text = \(self.parameter(user))")
        }
        for (column, values) in scope.columns.sorted(by: { $0.key < $1.key }) {
            let list = self.parameter(SQLText.array(values.map(\.string).sorted()))
            // The log spells values as JSON does.
            self.conditions.append("to_jsonb(j.\(SQLText.identifier(column))) #>> '{}' = ANY (\(list)::text[])")
        }
    }

    private mutating func addKey() {
        guard let key = self.view.key else { return }
        let columns = self.view.feed.key
        guard let parts = KeyText.split(key.string, count: columns.count) else {
            self.canMatch = false
            return
        }
        for (column, part) in zip(columns, parts) {
            let name = "j.\(SQLText.identifier(column))"
            switch self.view.feed.column(column)?.type {
            case .text:
                self.conditions.append("\(name) = \(self.parameter(part))")
            case .uuid where Literal.isUUID(part):
                let parameter = self.parameter(part)
                self.conditions.append("\(name) = \(parameter)::text::uuid AND \(name)::text = \(parameter)::text")
            case .number where Literal.isInteger(part):
                let parameter = self.parameter(part)
                self.conditions.append("\(name) = \(parameter)::text::bigint AND \(name)::text = \(parameter)::text")
            case nil: self.canMatch = false
            default:
                // The log spells keys as JSON does.
                self.conditions.append("to_jsonb(\(name)) #>> '{}' = \(self.parameter(part))")
            }
        }
    }

    /// `nil` where SQL would not say exactly what ``Filter`` says.
    private mutating func compiled(_ condition: Filter.Condition) -> String? {
        guard condition.member == nil, let column = self.view.feed.column(condition.column) else { return nil }
        guard let name = self.expression(of: column.name) else { return nil }
        let test: String
        switch condition.test {
        case .isNull:
            // Rows travel as JSON, where SQL's null and JSON's are one.
            guard column.type != .json else { return nil }
            test = "\(name) IS NULL"
        // Tested in memory.
        case .isDistinct, .matches: return nil
        case .isBoolean(let value): test = "\(name) IS \(value ? "TRUE" : "FALSE")"
        case .like(let pattern, let ignoringCase):
            // ILIKE folds by the database's locale, ours by Unicode; LIKE refuses a pattern that ends with an escape.
            guard !ignoringCase, pattern.last != "\\", column.typeName == "text" else { return nil }
            test = "\(name) LIKE \(self.parameter(pattern))"
        case .compare(let comparison, let literal):
            guard let sql = self.compiled(comparison, literal, column, name) else { return nil }
            test = sql
        case .isIn(let literals):
            guard !literals.isEmpty else { return "false" }
            var parts: [String] = []
            for literal in literals {
                guard let sql = self.compiled(.eq, literal, column, name) else { return nil }
                parts.append(sql)
            }
            test = "(\(parts.joined(separator: " OR ")))"
        }
        return condition.isNegated ? "NOT (\(test))" : test
    }

    /// `nil` for what only ``FeedDefinition/completed(_:)`` knows.
    private func expression(of column: String) -> String? {
        let feed = self.view.feed
        guard feed.derived.contains(where: { $0.name == column }) else { return "j.\(SQLText.identifier(column))" }
        guard let values = feed.lifecycle?.values(of: column), !values.isEmpty else { return nil }
        let cases = values.map { "WHEN \(SQLText.literal($0.status)) THEN \(SQLText.literal($0.value))" }
        return "(CASE j.\(SQLText.identifier(feed.status))::text \(cases.joined(separator: " ")) END)"
    }

    private mutating func compiled(
        _ comparison: Filter.Comparison,
        _ literal: String,
        _ column: FeedDefinition.Column,
        _ name: String
    ) -> String? {
        let sign: String
        switch comparison {
        case .eq: sign = "="
        case .neq: sign = "<>"
        case .gt: sign = ">"
        case .gte: sign = ">="
        case .lt: sign = "<"
        case .lte: sign = "<="
        }
        let isEquality = comparison == .eq || comparison == .neq
        switch column.type {
        case .text:
            guard column.typeName == "text" || column.typeName == "character varying" else { return nil }
            return "\(name)\(isEquality ? "" : " COLLATE \"C\"") \(sign) \(self.parameter(literal))"
        case .number:
            guard ["smallint", "integer", "bigint"].contains(column.typeName), Literal.isInteger(literal) else {
                return nil
            }
            return "\(name) \(sign) \(self.parameter(literal))::text::bigint"
        case .boolean:
            return "\(name) \(sign) \(self.parameter(literal))::text::boolean"
        case .uuid:
            guard isEquality else { return nil }
            return "\(name) \(sign) \(self.parameter(literal))::text::uuid"
        case .enumeration:
            guard isEquality else { return nil }
            return "\(name)::text \(sign) \(self.parameter(literal))"
        case .paddedText, .instant, .json, .other: return nil
        }
    }
}

/// Texts that Postgres is sure to read as what they look like.
enum Literal {
    static func isUUID(_ text: String) -> Bool {
        let groups = text.split(separator: "-", omittingEmptySubsequences: false)
        return groups.map(\.utf8.count) == [8, 4, 4, 4, 12]
            && groups.allSatisfy { $0.allSatisfy { $0.isASCII && $0.isHexDigit } }
    }

    static func isInteger(_ text: String) -> Bool {
        let digits = text.hasPrefix("-") ? text.dropFirst() : text[...]
        return (1...18).contains(digits.utf8.count) && digits.allSatisfy { $0.isASCII && $0.isNumber }
    }
}
