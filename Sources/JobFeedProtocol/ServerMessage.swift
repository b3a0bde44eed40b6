/// What the server says.
public enum ServerMessage: Sendable, Equatable {
    case welcome(Welcome)
    case subscribed(Subscribed)
    case snapshot(id: String, Snapshot)
    /// The view is complete, as of `cursor`.
    case live(id: String, cursor: String?)
    case changes(Changes)
    /// The view starts anew: keep showing the old rows and swap at `live`.
    case reset(id: String, reason: String?)
    case unsubscribed(id: String)
    case authenticated(id: String, expiresAt: String?)
    case pong(id: String)
    case heartbeat(Heartbeat)
    case error(Refusal)
    /// A message of a later version of the protocol, to be ignored.
    case unknown(type: String)
}

extension ServerMessage {
    public struct Welcome: Sendable, Equatable {
        public var connection: String?
        public var node: String?
        public var user: String?
        public var access: String?
        public var expiresAt: String?
        public var heartbeatSeconds: Double?
        public var subscriptionLimit: Int?
        public var messageBytesLimit: Int?
    }

    public struct Subscribed: Sendable, Equatable {
        public var id: String
        /// Every change since the cursor follows; otherwise a snapshot does.
        public var recovered: Bool
        /// Why not: `no_cursor`, `retention`, `epoch` or `malformed_cursor`.
        public var reason: String?
    }

    public enum Snapshot: Sendable, Equatable {
        case rows([Row], truncated: Bool)
        case counts([String: Int])
    }

    /// A row with its primary key as text.
    public struct Row: Sendable, Equatable {
        public var key: String
        public var columns: JSONObject

        public init(key: String, columns: JSONObject) {
            self.key = key
            self.columns = columns
        }
    }

    public struct Changes: Sendable, Equatable {
        public var id: String
        /// Only on the last frame of a batch; stored after the frame has been applied.
        public var cursor: String?
        public var at: String?
        public var body: Body

        public enum Body: Sendable, Equatable {
            case changes([Change])
            /// The statuses whose number of rows changed.
            case counts([String: Int])
        }
    }

    public struct Heartbeat: Sendable, Equatable {
        /// The time up to which the views are complete.
        public var asOf: String?
        /// Seconds.
        public var tokenExpiresIn: Double?
        /// Every live subscription of the connection is complete up to here.
        public var cursor: String?
    }

    public struct Refusal: Sendable, Equatable {
        public var id: String?
        /// As it was sent; ``known`` when it is in this version's table.
        public var code: String
        public var message: String
        /// The same command may succeed later.
        public var retry: Bool

        public var known: ErrorCode? { ErrorCode(rawValue: self.code) }
    }
}
