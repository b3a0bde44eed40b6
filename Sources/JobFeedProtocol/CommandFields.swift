/// The members of a command on their way to typed values; the one place that words complaints about them.
struct CommandFields {
    let object: JSONObject

    init(_ object: JSONObject) {
        self.object = object
    }

    /// The id for an answer, when the command has a usable one.
    var id: String? {
        guard case .string(let id) = self.object["id"], Self.isValidID(id) else { return nil }
        return id
    }

    /// The member unless it is absent or `null`, which mean the same.
    func present(_ name: String) -> JSONValue? {
        self.object[name].flatMap { $0.isNull ? nil : $0 }
    }

    func requiredID() throws(CommandError) -> String {
        guard let value = self.object["id"] else {
            throw self.error(.missingField, "\"id\" is missing; \(Self.idRule)")
        }
        guard case .string(let id) = value, Self.isValidID(id) else {
            throw self.invalid("id", value, Self.idRule)
        }
        return id
    }

    func requiredString(_ name: String) throws(CommandError) -> String {
        guard let value = self.object[name] else {
            throw self.error(.missingField, "\"\(name)\" is missing; it must be a string")
        }
        guard case .string(let string) = value, !string.isEmpty else {
            throw self.invalid(name, value, "must be a string that is not empty")
        }
        return string
    }

    func string(_ name: String) throws(CommandError) -> String? {
        guard let value = self.present(name) else { return nil }
        guard case .string(let string) = value else {
            throw self.invalid(name, value, "must be a string")
        }
        return string
    }

    func nonEmptyStrings(_ name: String) throws(CommandError) -> [String]? {
        guard let value = self.present(name) else { return nil }
        let strings = value.arrayValue?.compactMap { $0.stringValue.flatMap { $0.isEmpty ? nil : $0 } } ?? []
        guard !strings.isEmpty, strings.count == value.arrayValue?.count else {
            throw self.invalid(name, value, "must be an array of at least one column name")
        }
        return strings
    }

    /// A field that is nearly a known one is a misspelling; any other additional field is left to later versions.
    func refuseMisspelling(of known: [String]) throws(CommandError) {
        let absent = known.filter { self.object[$0] == nil }
        // Not all of them: a message has room for thousands, and each is compared with every known one.
        for name in self.object.keys.lazy.filter({ !known.contains($0) }).prefix(Self.checkedFields) {
            if let meant = suggestion(for: name, among: absent) {
                throw self.error(.unknownField, "there is no field \(quoted(name)); did you mean \"\(meant)\"?")
            }
        }
    }

    func invalid(_ name: String, _ value: JSONValue, _ rule: String) -> CommandError {
        // A token never comes back in an answer, where a log might catch it.
        let shown = name == "token" ? value.kind : Self.shown(value)
        return self.error(.invalidField, "\"\(name)\" is \(shown); \(rule.hasPrefix("it ") ? rule : "it \(rule)")")
    }

    func error(_ code: ErrorCode, _ message: String) -> CommandError {
        CommandError(id: self.id, code: code, message: message)
    }

    private static let checkedFields = 32

    private static let idRule =
        "it must be a string of \(Subscribe.idLengths.lowerBound) to \(Subscribe.idLengths.upperBound) characters"

    /// Counted in scalars, because one character may hold any number of combining marks.
    private static func isValidID(_ id: String) -> Bool {
        Subscribe.idLengths.contains(id.unicodeScalars.count)
    }

    private static func shown(_ value: JSONValue) -> String {
        switch value {
        case .string(let string): quoted(string)
        case .number(let literal) where literal.utf8.count <= 60: literal
        case .bool(let bool): "\(bool)"
        case .array(let array) where array.isEmpty: "an empty array"
        case .object, .array, .number, .null: value.kind
        }
    }
}
