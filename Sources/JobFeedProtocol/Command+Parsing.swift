extension Command {
    private static let types = ["subscribe", "unsubscribe", "authenticate", "ping"]

    /// Reads one text frame; every refusal says which field, what it held, and what is allowed.
    public static func parse(_ text: some Sequence<UInt8>) throws(CommandError) -> Command {
        let value: JSONValue
        do {
            value = try JSONValue(parsing: text)
        } catch {
            throw CommandError(id: nil, code: .invalidJSON, message: "the message is not JSON: \(error)")
        }
        guard case .object(let object) = value else {
            let message = "the message is \(value.kind); send one JSON object per text frame"
            throw CommandError(id: nil, code: .invalidJSON, message: message)
        }
        return try self.init(CommandFields(object))
    }

    private init(_ fields: CommandFields) throws(CommandError) {
        guard fields.object["type"] != nil else {
            try fields.refuseMisspelling(of: ["type", "id"])
            throw fields.error(.missingField, "\"type\" is missing; it must be one of \(Self.typeList)")
        }
        let type = try fields.requiredString("type")
        switch type {
        case "subscribe": self = .subscribe(try Subscribe(fields))
        case "unsubscribe":
            try fields.refuseMisspelling(of: ["type", "id"])
            self = .unsubscribe(id: try fields.requiredID())
        case "ping":
            try fields.refuseMisspelling(of: ["type", "id"])
            self = .ping(id: try fields.requiredID())
        case "authenticate":
            try fields.refuseMisspelling(of: ["type", "id", "token"])
            let id = try fields.requiredID()
            self = .authenticate(id: id, token: try fields.requiredString("token"))
        default:
            let hint =
                suggestion(for: type, among: Self.types).map { "did you mean \"\($0)\"?" }
                ?? "it must be one of \(Self.typeList)"
            throw fields.error(.unknownType, "there is no command \(quoted(type)); \(hint)")
        }
    }

    private static var typeList: String {
        self.types.map { "\"\($0)\"" }.joined(separator: ", ")
    }
}

extension Subscribe {
    private static let fieldNames = [
        "type", "id", "channel", "filter", "columns", "resume", "snapshot", "limit", "max_rate",
    ]

    fileprivate init(_ fields: CommandFields) throws(CommandError) {
        try fields.refuseMisspelling(of: Self.fieldNames)
        self.init(id: try fields.requiredID(), channel: try fields.requiredString("channel"))
        do {
            _ = try Channel(parsing: self.channel)
        } catch {
            throw fields.error(.invalidChannel, error.description)
        }
        self.filter = try fields.string("filter").flatMap { $0.isEmpty ? nil : $0 }
        self.resume = try fields.string("resume")
        self.columns = try fields.nonEmptyStrings("columns")
        if let snapshot = fields.present("snapshot") {
            guard case .bool(let bool) = snapshot else {
                throw fields.invalid("snapshot", snapshot, "must be true or false")
            }
            self.snapshot = bool
        }
        if let limit = fields.present("limit") {
            guard let number = limit.intValue, Self.limits.contains(number) else {
                let range = "from \(Self.limits.lowerBound) to \(Self.limits.upperBound)"
                throw fields.invalid("limit", limit, "must be an integer \(range)")
            }
            self.limit = number
        }
        if let maxRate = fields.present("max_rate") {
            guard let number = maxRate.doubleValue, number.isFinite, number > 0 else {
                throw fields.invalid("max_rate", maxRate, "must be a number greater than 0, in changes per second")
            }
            self.maxRate = number
        }
    }
}
