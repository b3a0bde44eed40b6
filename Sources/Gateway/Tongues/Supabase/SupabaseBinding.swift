import JobFeedProtocol

/// Kinds of change, as Supabase names them.
struct SupabaseEvents: OptionSet, Hashable, Sendable {
    let rawValue: UInt8

    static let insert = SupabaseEvents(rawValue: 1)
    static let update = SupabaseEvents(rawValue: 2)
    static let delete = SupabaseEvents(rawValue: 4)
    static let all: SupabaseEvents = [.insert, .update, .delete]

    /// What is none of the three means all of them.
    init(named name: String?) {
        switch name?.uppercased() {
        case "INSERT": self = .insert
        case "UPDATE": self = .update
        case "DELETE": self = .delete
        default: self = .all
        }
    }

    init(rawValue: UInt8) {
        self.rawValue = rawValue
    }
}

/// One `.on('postgres_changes', …)` of a channel.
struct SupabaseBinding: Equatable {
    static let wildcard = "*"

    /// As it came; clients compare what they get back with what they sent.
    let json: JSONObject
    let events: SupabaseEvents
    let schema: String
    let table: String
    let filter: String?
    let select: [String]?

    init(_ json: JSONObject) throws(SupabaseRefusal) {
        self.json = json
        self.events = SupabaseEvents(named: json["event"]?.stringValue)
        let schema = try Self.string("schema", of: json)
        let table = try Self.string("table", of: json)
        guard schema != nil || table != nil else {
            throw .payload(
                "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to"
            )
        }
        self.schema = schema ?? "public"
        self.table = table ?? Self.wildcard
        let filter = try Self.string("filter", of: json)
        self.filter = filter.flatMap { $0.allSatisfy(\.isWhitespace) ? nil : $0 }
        switch json["select"] {
        case nil, .null?: self.select = nil
        case .array(let items)?:
            let names = items.compactMap(\.stringValue)
            guard names.count == items.count else { throw .payload("`select` has to be a list of column names") }
            self.select = names.isEmpty ? nil : names
        default: throw .payload("`select` has to be a list of column names")
        }
        guard !self.isWildcard || self.filter == nil && self.select == nil else {
            throw .payload("`filter` and `select` need a `schema` and a `table` that are no wildcards")
        }
    }

    private static func string(_ name: String, of json: JSONObject) throws(SupabaseRefusal) -> String? {
        switch json[name] {
        case nil, .null?: return nil
        case .string(let text)?: return text
        default: throw .payload("`\(name)` of a postgres_changes binding has to be a text")
        }
    }

    var isWildcard: Bool { self.schema == Self.wildcard || self.table == Self.wildcard }

    func fits(schema: String, table: String) -> Bool {
        (self.schema == Self.wildcard || self.schema == schema) && (self.table == Self.wildcard || self.table == table)
    }

    /// What the client gets back: its own words and the id by which changes name the binding.
    func echo(id: Int) -> JSONObject {
        var echo = self.json
        echo["id"] = .number(String(id))
        return echo
    }
}
