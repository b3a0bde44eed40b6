extension Command {
    /// The command as one text frame; fields that hold their default are left out.
    public func encoded() -> String {
        let object: JSONObject =
            switch self {
            case .subscribe(let subscribe): subscribe.object
            case .unsubscribe(let id): ["type": "unsubscribe", "id": .string(id)]
            case .authenticate(let id, let token):
                ["type": "authenticate", "id": .string(id), "token": .string(token)]
            case .ping(let id): ["type": "ping", "id": .string(id)]
            }
        return object.encoded()
    }
}

extension Subscribe {
    fileprivate var object: JSONObject {
        var object: JSONObject = ["type": "subscribe", "id": .string(self.id), "channel": .string(self.channel)]
        object["filter"] = self.filter.map(JSONValue.string)
        object["columns"] = self.columns.map { .array($0.map(JSONValue.string)) }
        object["resume"] = self.resume.map(JSONValue.string)
        object["snapshot"] = self.snapshot ? nil : false
        object["limit"] = self.limit == Self.defaultLimit ? nil : .number(String(self.limit))
        object["max_rate"] = self.maxRate.map { .number(String($0)) }
        return object
    }
}
