public import JobFeedProtocol

#if canImport(FoundationEssentials)
public import FoundationEssentials
#else
public import Foundation
#endif

/// What happens to a subscription, in order.
public enum Event: Sendable, Equatable {
    /// A connection is being opened; `attempt` counts from 1 since the last good one.
    case connecting(attempt: Int)
    /// The view is complete and every further change will be delivered as it happens.
    case live
    /// The view is complete only up to `since`; ``live`` follows when it has caught up.
    case behind(since: Date)
    /// The connection was lost or the subscription postponed; another attempt follows by itself.
    case reconnecting(after: Duration, reason: String)
    /// All rows of the view, replacing everything held before.
    case snapshot(Snapshot)
    /// The step from one consistent view to the next.
    case changes(Batch)
    /// The number of rows per status (channel `FEED#counts`), all of them, whichever changed.
    case counts([String: Int], cursor: String?)
}

extension Event {
    /// The rows of a view as of a cursor.
    public struct Snapshot: Sendable, Equatable {
        public var rows: [ServerMessage.Row]
        /// There are more rows than the limit that was asked for.
        public var truncated: Bool
        public var cursor: String?

        public init(rows: [ServerMessage.Row], truncated: Bool = false, cursor: String? = nil) {
            self.rows = rows
            self.truncated = truncated
            self.cursor = cursor
        }
    }

    /// The changes that lead to a cursor; in order for each key.
    public struct Batch: Sendable, Equatable {
        public var changes: [Change]
        /// Store it after the changes have been applied, and resume from it.
        public var cursor: String
        /// When the server read the batch, RFC 3339.
        public var at: String?

        public init(changes: [Change], cursor: String, at: String? = nil) {
            self.changes = changes
            self.cursor = cursor
            self.at = at
        }
    }
}
