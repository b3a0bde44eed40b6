/// One step of a view.
public enum Change: Sendable, Equatable {
    /// The row joins the view, or replaces what is held under its key.
    case enter(key: String, reason: String?, row: JSONObject)
    /// Columns of a row in the view get new values.
    case update(key: String, set: JSONObject)
    /// The row leaves the view; `set` is the change that caused a leave by filter.
    case leave(key: String, reason: String?, set: JSONObject?)

    /// The primary key as text.
    public var key: String {
        switch self {
        case .enter(let key, _, _), .update(let key, _), .leave(let key, _, _): key
        }
    }
}
