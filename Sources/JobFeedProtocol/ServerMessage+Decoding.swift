/// Why a frame of the server could not be understood.
public enum MessageError: Error, Sendable, Equatable {
    case notJSON(JSONError)
    case notAnObject
    /// The field is absent or not of the type that the message needs.
    case badField(String, type: String)
}

extension ServerMessage {
    /// Reads one text frame; unknown types become ``unknown(type:)`` and unknown fields are ignored.
    public init(decoding text: some Sequence<UInt8>) throws(MessageError) {
        let value: JSONValue
        do {
            value = try JSONValue(parsing: text)
        } catch {
            throw .notJSON(error)
        }
        guard case .object(let object) = value else { throw .notAnObject }
        guard case .string(let type) = object["type"] else { throw .badField("type", type: "?") }
        self = try Self.make(MessageFields(object: object, type: type))
    }

    public init(decoding text: String) throws(MessageError) {
        try self.init(decoding: text.utf8)
    }

    private static func make(_ fields: MessageFields) throws(MessageError) -> Self {
        switch fields.type {
        case "welcome": .welcome(Welcome(fields))
        case "subscribed":
            .subscribed(
                Subscribed(
                    id: try fields.id(),
                    recovered: fields.object["recovered"]?.boolValue ?? false,
                    reason: fields.text("reason")
                )
            )
        case "snapshot": .snapshot(id: try fields.id(), try Snapshot(fields))
        case "live": .live(id: try fields.id(), cursor: fields.text("cursor"))
        case "changes": .changes(try Changes(fields))
        case "reset": .reset(id: try fields.id(), reason: fields.text("reason"))
        case "unsubscribed": .unsubscribed(id: try fields.id())
        case "authenticated": .authenticated(id: try fields.id(), expiresAt: fields.text("expires_at"))
        case "pong": .pong(id: try fields.id())
        case "heartbeat":
            .heartbeat(
                Heartbeat(
                    asOf: fields.text("as_of"),
                    tokenExpiresIn: fields.object["token_expires_in"]?.doubleValue,
                    cursor: fields.text("cursor")
                )
            )
        case "error":
            .error(
                Refusal(
                    id: fields.text("id"),
                    code: fields.text("code") ?? ErrorCode.internalError.rawValue,
                    message: fields.text("message") ?? "the server refused without saying why",
                    retry: fields.object["retry"]?.boolValue ?? false
                )
            )
        default: .unknown(type: fields.type)
        }
    }
}

/// The members of a message on their way to typed values.
private struct MessageFields {
    let object: JSONObject
    let type: String

    func text(_ name: String) -> String? { self.object[name]?.stringValue }

    func id() throws(MessageError) -> String {
        guard let id = self.text("id") else { throw self.bad("id") }
        return id
    }

    func counts() throws(MessageError) -> [String: Int]? {
        guard let value = self.object["counts"] else { return nil }
        guard case .object(let object) = value else { throw self.bad("counts") }
        var counts: [String: Int] = [:]
        for (status, number) in object {
            guard let count = number.intValue else { throw self.bad("counts") }
            counts[status] = count
        }
        return counts
    }

    func bad(_ name: String) -> MessageError { .badField(name, type: self.type) }
}

extension ServerMessage.Welcome {
    fileprivate init(_ fields: MessageFields) {
        let limits = fields.object["limits"]?.objectValue
        self.init(
            connection: fields.text("connection"),
            node: fields.text("node"),
            user: fields.text("user"),
            access: fields.text("access"),
            expiresAt: fields.text("expires_at"),
            heartbeatSeconds: fields.object["heartbeat_seconds"]?.doubleValue,
            subscriptionLimit: limits?["subscriptions"]?.intValue,
            messageBytesLimit: limits?["message_bytes"]?.intValue
        )
    }
}

extension ServerMessage.Snapshot {
    fileprivate init(_ fields: MessageFields) throws(MessageError) {
        if let counts = try fields.counts() {
            self = .counts(counts)
            return
        }
        guard case .array(let values) = fields.object["rows"] else { throw fields.bad("rows") }
        // `keys` runs beside `rows`; without it the key is the column `id`.
        let keys = fields.object["keys"]?.arrayValue
        guard keys.map({ $0.count == values.count }) ?? true else { throw fields.bad("keys") }
        var rows: [ServerMessage.Row] = []
        for (index, value) in values.enumerated() {
            guard case .object(let columns) = value else { throw fields.bad("rows") }
            guard let key = (keys?[index] ?? columns["id"])?.keyText else { throw fields.bad("keys") }
            rows.append(ServerMessage.Row(key: key, columns: columns))
        }
        self = .rows(rows, truncated: fields.object["truncated"]?.boolValue ?? false)
    }
}

extension ServerMessage.Changes {
    fileprivate init(_ fields: MessageFields) throws(MessageError) {
        self.id = try fields.id()
        self.cursor = fields.text("cursor")
        self.at = fields.text("at")
        if let counts = try fields.counts() {
            self.body = .counts(counts)
            return
        }
        guard case .array(let values) = fields.object["changes"] else { throw fields.bad("changes") }
        var changes: [Change] = []
        for value in values {
            guard case .object(let object) = value, case .string(let op) = object["op"] else {
                throw fields.bad("changes")
            }
            // An operation of a later version is left out, as its type would be.
            guard ["enter", "update", "leave"].contains(op) else { continue }
            guard let change = Change(op: op, object) else { throw fields.bad("changes") }
            changes.append(change)
        }
        self.body = .changes(changes)
    }
}

extension Change {
    fileprivate init?(op: String, _ object: JSONObject) {
        guard let key = object["key"]?.keyText else { return nil }
        let reason = object["reason"]?.stringValue
        switch op {
        case "enter":
            guard let row = object["row"]?.objectValue else { return nil }
            self = .enter(key: key, reason: reason, row: row)
        case "update":
            guard let set = object["set"]?.objectValue else { return nil }
            self = .update(key: key, set: set)
        default: self = .leave(key: key, reason: reason, set: object["set"]?.objectValue)
        }
    }
}

extension JSONValue {
    /// The primary key as text: numbers as they are written.
    fileprivate var keyText: String? {
        switch self {
        case .string(let string): string
        case .number(let literal): literal
        case .object, .array, .bool, .null: nil
        }
    }
}
