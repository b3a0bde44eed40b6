import JobFeedProtocol

/// One subscription of the session, for all bindings of a channel that ask for the same rows.
struct SupabaseStream: Equatable, Sendable {
    /// Of the subscription.
    let id: String
    /// For the client to keep its cursor by; the same whenever it joins with the same bindings.
    let name: String
    let topic: String
    let joinRef: JSONValue
    let feed: String
    let filter: String?
    let select: [String]?
    /// Bindings that get each kind of change.
    private(set) var ids: [SupabaseEvents: [Int]] = [:]
    private(set) var events: SupabaseEvents = []
    /// All of its bindings.
    private(set) var allIDs: [Int] = []
    /// No binding names the table itself.
    private(set) var isOptional = true
    let isLeaveTold: Bool
    let isResumable: Bool

    init(
        id: String,
        feed: String,
        binding: SupabaseBinding,
        number: Int,
        of topic: String,
        joinRef: JSONValue,
        _ options: SupabaseJoin.Options
    ) {
        self.id = id
        self.name = "\(number)/\(feed)"
        self.topic = topic
        self.joinRef = joinRef
        self.feed = feed
        self.filter = binding.filter
        self.select = binding.select
        self.isLeaveTold = options.leave
        self.isResumable = options.isResumable
        self.add(binding, number)
    }

    func serves(_ feed: String, _ binding: SupabaseBinding) -> Bool {
        self.feed == feed && self.filter == binding.filter && self.select == binding.select
    }

    mutating func add(_ binding: SupabaseBinding, _ number: Int) {
        for event in [SupabaseEvents.insert, .update, .delete] where binding.events.contains(event) {
            self.ids[event, default: []].append(number)
        }
        self.events.formUnion(binding.events)
        self.allIDs.append(number)
        if !binding.isWildcard { self.isOptional = false }
    }

    func command(_ options: SupabaseJoin.Options) -> Command {
        .subscribe(
            Subscribe(
                id: self.id,
                channel: self.feed,
                filter: self.filter,
                columns: self.select,
                resume: options.cursor(of: self.name),
                snapshot: options.snapshot,
                limit: options.limit
            )
        )
    }

    /// What the client is told beside changes, as a broadcast: the one kind of message that all clients hand on whole.
    func note(_ type: String, _ members: KeyValuePairs<String, JSONValue>) -> PhoenixMessage {
        var payload: JSONObject = [
            "type": .string(type), "stream": .string(self.name),
            "ids": .array(self.allIDs.map { .number(String($0)) }),
        ]
        for (name, value) in members { payload[name] = value }
        return PhoenixMessage(
            joinRef: self.joinRef,
            topic: self.topic,
            event: "broadcast",
            payload: ["type": "broadcast", "event": "jobfeed", "payload": .object(payload)]
        )
    }
}
