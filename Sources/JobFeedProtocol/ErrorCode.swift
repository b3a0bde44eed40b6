/// What an `error` answer says was wrong; the one table of codes.
public enum ErrorCode: String, Sendable, Equatable, CaseIterable {
    /// The frame is not one JSON object; the connection is closed with 4500.
    case invalidJSON = "invalid_json"
    /// `type` is none of the commands.
    case unknownType = "unknown_type"
    /// A required field is absent.
    case missingField = "missing_field"
    /// A field has the wrong type or a value that is not allowed.
    case invalidField = "invalid_field"
    /// A field looks like a misspelling of a known one.
    case unknownField = "unknown_field"
    /// `channel` does not follow the grammar.
    case invalidChannel = "invalid_channel"
    /// The channel names a feed that does not exist.
    case unknownFeed = "unknown_feed"
    /// The filter does not parse, or does not fit the columns and their types.
    case invalidFilter = "invalid_filter"
    /// A column does not exist or is hidden.
    case invalidColumns = "invalid_columns"
    /// `id` belongs to a subscription that is still open.
    case duplicateID = "duplicate_id"
    /// `id` belongs to no open subscription.
    case unknownID = "unknown_id"
    /// The connection holds as many subscriptions as it may.
    case tooManySubscriptions = "too_many_subscriptions"
    /// The user or address holds as many connections as it may; close one first.
    case connectionLimit = "connection_limit"
    /// Commands come faster than the connection may send them; try again later.
    case rateLimited = "rate_limited"
    /// A command came before the authentication.
    case unauthenticated = "unauthenticated"
    /// The token is malformed, expired or not signed by a known key.
    case invalidToken = "invalid_token"
    /// The user may not do this.
    case forbidden = "forbidden"
    /// The feed or Postgres cannot serve this now; try again later.
    case unavailable = "unavailable"
    /// A fault of the server, written to its log; try again later.
    case internalError = "internal"

    /// Whether the same command may succeed later without being changed.
    public var mayRetry: Bool {
        switch self {
        case .rateLimited, .unavailable, .internalError: true
        case .invalidJSON, .unknownType, .missingField, .invalidField, .unknownField, .invalidChannel, .unknownFeed,
            .invalidFilter, .invalidColumns, .duplicateID, .unknownID, .tooManySubscriptions, .connectionLimit,
            .unauthenticated, .invalidToken, .forbidden:
            false
        }
    }
}
