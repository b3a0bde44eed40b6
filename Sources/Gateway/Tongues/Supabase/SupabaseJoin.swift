import JobFeedProtocol

/// What a `phx_join` asks for.
struct SupabaseJoin: Equatable {
    /// What Supabase does not have, and a client gets only if it asks: `config.jobfeed`, or `config.broadcast.jobfeed`,
    /// which the released clients let through.
    struct Options: Equatable {
        var snapshot = false
        var leave = false
        /// Cursors are sent, and one may have come.
        var isResumable = false
        /// By the name of a stream, or one for all of them.
        var resume: JSONValue = .null
        var limit = Subscribe.defaultLimit

        /// Whether the client is told of the state of its streams.
        var isInformed: Bool { self.snapshot || self.isResumable }

        init() {}

        init(_ json: JSONObject) throws(SupabaseRefusal) {
            self.snapshot = try Self.flag("snapshot", of: json)
            self.leave = try Self.flag("leave", of: json)
            if let resume = json["resume"] {
                self.isResumable = true
                self.resume = resume
                switch resume {
                case .null, .string, .object: break
                default: throw .payload("jobfeed.resume has to be a cursor, an object of cursors by stream, or null")
                }
            }
            if let limit = json["limit"] {
                guard let number = limit.intValue, Subscribe.limits.contains(number) else {
                    throw .payload("jobfeed.limit has to be a number from 1 to \(Subscribe.limits.upperBound)")
                }
                self.limit = number
            }
        }

        private static func flag(_ name: String, of json: JSONObject) throws(SupabaseRefusal) -> Bool {
            switch json[name] {
            case nil, .null?: return false
            case .bool(let flag)?: return flag
            default: throw .payload("jobfeed.\(name) has to be true or false")
            }
        }

        func cursor(of stream: String) -> String? {
            switch self.resume {
            case .string(let cursor): cursor
            case .object(let cursors): cursors[stream]?.stringValue
            default: nil
            }
        }
    }

    /// `nil` when none came that could be a user's.
    let token: String?
    let bindings: [SupabaseBinding]
    let options: Options

    /// - Parameter limit: how many bindings a channel may have.
    init(_ payload: JSONObject, limit: Int) throws(SupabaseRefusal) {
        self.token = Self.token(payload["access_token"]) ?? Self.token(payload["user_token"])
        guard case .object(let config)? = payload["config"] else {
            throw .payload("the join has no `config`; use a client that knows postgres_changes (2022 or later)")
        }
        var bindings: [SupabaseBinding] = []
        switch config["postgres_changes"] {
        case nil, .null?: break
        case .array(let items)?:
            guard items.count <= limit else {
                throw SupabaseRefusal(.tooManySubscriptions, "a channel has at most \(limit) bindings here")
            }
            for item in items where !item.isNull {
                guard case .object(let json) = item else { throw .payload("a postgres_changes binding is no object") }
                bindings.append(try SupabaseBinding(json))
            }
        default: throw .payload("`config.postgres_changes` has to be a list of bindings")
        }
        self.bindings = bindings
        let options = config["jobfeed"] ?? config["broadcast"]?.objectValue?["jobfeed"] ?? .null
        switch options {
        case .object(let json): self.options = try Options(json)
        case .null: self.options = Options()
        default: throw .payload("`jobfeed` has to be an object")
        }
    }

    /// Keys of the newer form (`sb_…`) are no tokens, and are sent in their place.
    static func token(_ value: JSONValue?) -> String? {
        guard let token = value?.stringValue, !token.isEmpty, !token.hasPrefix("sb_") else { return nil }
        return token
    }
}
