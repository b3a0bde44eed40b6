/// A feed as `jobfeed.attach` wrote it down, with the columns of its table.
package struct FeedDefinition: Sendable, Equatable {
    package struct Column: Sendable, Equatable {
        package let name: String
        /// The type as `format_type` spells it, e.g. `timestamp with time zone`.
        package let typeName: String
        package let type: ColumnType

        package init(name: String, typeName: String, type: ColumnType) {
            self.name = name
            self.typeName = typeName
            self.type = type
        }
    }

    /// One step of the owner path: `from` columns here reference `to` columns of `table`.
    package struct Hop: Sendable, Equatable {
        package let schema: String
        package let table: String
        package let from: [String]
        package let to: [String]
        /// SQL types of `to`, for typed look-ups.
        package let toTypes: [String]

        package init(schema: String, table: String, from: [String], to: [String], toTypes: [String]) {
            self.schema = schema
            self.table = table
            self.from = from
            self.to = to
            self.toTypes = toTypes
        }
    }

    package let name: String
    package let schema: String
    package let table: String
    package let columns: [Column]
    package let columnNames: Set<String>
    package let key: [String]
    package let status: String
    package let hops: [Hop]
    /// The column that names the owner, on the table of the last hop; `nil`: only operators see rows.
    package let ownerColumn: String?
    /// The claim that says whose rows an account sees; `nil`: the one that names the user.
    package let ownerClaim: String?
    /// Columns that must have a value which the token lists, and the claim in which it does.
    package let scope: [String: String]
    /// Columns that accounts may not see.
    package let hidden: Set<String>
    /// Columns that nobody may see.
    package let secret: Set<String>
    package let quiet: Set<String>
    package let gauges: Set<String>
    package let lifecycle: Lifecycle?
    /// The columns that ``lifecycle`` adds, except those whose names or sources the table has or lacks.
    package let derived: [Lifecycle.Column]
    /// What "newest" means; `nil`: by key.
    package let orderColumn: String?
    /// The transaction that attached the feed: the log says nothing about snapshots that do not see it.
    package let since: UInt64
    /// The SQL type of the owner column.
    package let ownerTypeName: String?
    /// Another one after each `jobfeed.attach` and each change of the table's columns.
    package let revision: String
    /// Why this feed cannot be served until it is attached again.
    package var problem: String?

    package init(
        name: String,
        schema: String,
        table: String,
        columns: [Column],
        key: [String],
        status: String,
        hops: [Hop],
        ownerColumn: String?,
        ownerTypeName: String?,
        ownerClaim: String? = nil,
        scope: [String: String] = [:],
        hidden: Set<String>,
        secret: Set<String> = [],
        quiet: Set<String>,
        gauges: Set<String>,
        lifecycle: Lifecycle? = nil,
        orderColumn: String?,
        since: UInt64,
        revision: String,
        problem: String? = nil
    ) {
        self.name = name
        self.schema = schema
        self.table = table
        self.columns = columns
        let names = Set(columns.map(\.name))
        self.columnNames = names
        self.key = key
        self.status = status
        self.hops = hops
        self.ownerColumn = ownerColumn
        self.ownerClaim = ownerClaim
        self.scope = scope
        self.hidden = hidden
        self.secret = secret
        self.quiet = quiet
        self.lifecycle = lifecycle
        let derived = (lifecycle?.columns(status: status) ?? []).filter {
            !names.contains($0.name) && names.isSuperset(of: $0.sources)
        }
        self.derived = derived
        // What is made of a gauge changes as often.
        self.gauges = gauges.union(derived.filter { !gauges.isDisjoint(with: $0.sources) }.map(\.name))
        self.orderColumn = orderColumn
        self.since = since
        self.ownerTypeName = ownerTypeName
        self.revision = revision
        self.problem = problem
    }

    package func column(_ name: String) -> Column? {
        self.columns.first { $0.name == name }
            ?? self.derived.first { $0.name == name }.map {
                Column(name: $0.name, typeName: $0.typeName, type: ColumnType(typeName: $0.typeName, enumLabels: []))
            }
    }

    /// The columns on this table that decide who may see a row.
    package var decidingColumns: [String] { self.linkColumns + self.scope.keys }

    /// The claims that decide it, besides the user's.
    package var claims: Set<String> { Set(self.scope.values).union([self.ownerClaim].compactMap { $0 }) }

    /// The columns on this table that lead to the owner.
    package var linkColumns: [String] {
        self.hops.first?.from ?? self.ownerColumn.map { [$0] } ?? []
    }
}

/// How values of a column compare; decided by the catalog.
package enum ColumnType: Sendable, Equatable {
    case text
    /// `character(n)`: spaces at the end mean nothing.
    case paddedText
    case number
    case boolean
    case uuid
    /// `timestamp`, `timestamptz` and `date`: microseconds since 1970.
    case instant(dateOnly: Bool)
    case json
    /// An enum and its labels in their own order.
    case enumeration([String])
    /// Compared only for equality, by its text.
    case other

    /// From `format_type` without modifiers and, for enums, their labels.
    package init(typeName: String, enumLabels: [String]) {
        if !enumLabels.isEmpty {
            self = .enumeration(enumLabels)
            return
        }
        let base = typeName.split(separator: "(").first.map(String.init) ?? typeName
        switch base {
        case "text", "character varying", "name", "citext": self = .text
        case "character": self = .paddedText
        case "smallint", "integer", "bigint", "numeric", "real", "double precision", "oid", "xid8": self = .number
        case "boolean": self = .boolean
        case "uuid": self = .uuid
        case "date": self = .instant(dateOnly: true)
        case "json", "jsonb": self = .json
        default:
            self = base.hasPrefix("timestamp") ? .instant(dateOnly: false) : .other
        }
    }
}

/// Finds the word somebody probably meant.
package enum Spelling {
    /// The candidate nearest to `word`, if it is near at all.
    package static func nearest(to word: String, among candidates: some Sequence<String>) -> String? {
        let limit = max(1, word.count / 3 + 1)
        var best: (word: String, distance: Int)? = nil
        for candidate in candidates {
            let distance = Self.distance(word.lowercased(), candidate.lowercased())
            if distance <= limit, best.map({ distance < $0.distance }) ?? true { best = (candidate, distance) }
        }
        return best?.word
    }

    /// `; did you mean "…"?`, or nothing.
    package static func suggestion(for word: String, among candidates: some Sequence<String>) -> String {
        Self.nearest(to: word, among: candidates).map { "; did you mean \"\($0)\"?" } ?? ""
    }

    /// Levenshtein's distance; long words are cut, they come from peers.
    static func distance(_ left: String, _ right: String) -> Int {
        let left = Array(left.unicodeScalars.prefix(64))
        let right = Array(right.unicodeScalars.prefix(64))
        var previous = Array(0...right.count)
        for (row, character) in left.enumerated() {
            var current = [row + 1]
            for (column, other) in right.enumerated() {
                let replace = previous[column] + (character == other ? 0 : 1)
                current.append(min(replace, previous[column + 1] + 1, current[column] + 1))
            }
            previous = current
        }
        return previous[right.count]
    }
}
