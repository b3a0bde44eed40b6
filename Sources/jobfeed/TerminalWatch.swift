import JobFeedClient
import JobFeedProtocol

/// Decides for `--until-terminal` when there is nothing left to wait for.
struct TerminalWatch: Sendable {
    enum Verdict: Sendable, Equatable {
        case goOn
        case success
        /// With a line that says why, unless the job's own line just did.
        case failure(String?)
    }

    let channel: Channel
    let statuses: Statuses
    let statusColumn: String
    private var isLive = false
    private var hasFailures = false

    init(channel: Channel, statuses: Statuses, statusColumn: String) {
        self.channel = channel
        self.statuses = statuses
        self.statusColumn = statusColumn
    }

    /// - Parameter rows: what the view holds after the event.
    mutating func observed(_ event: Event, rows: RowStore) -> Verdict {
        var left: [(reason: String?, kind: Statuses.Kind)] = []
        switch event {
        case .connecting, .reconnecting:
            self.isLive = false
            return .goOn
        case .counts, .behind: return .goOn
        case .live: self.isLive = true
        case .snapshot: break
        case .changes(let batch):
            for case .leave(_, let reason, let set) in batch.changes {
                left.append((reason, self.statuses.kind(of: set?[self.statusColumn]?.stringValue)))
            }
        }
        if case .key(_, let key) = self.channel {
            return self.single(key, rows: rows, left: left.last)
        }
        self.hasFailures = self.hasFailures || left.contains { $0.kind == .failure }
        guard self.isLive else { return .goOn }
        let kinds = rows.rows.values.map { self.statuses.kind(of: $0[self.statusColumn]?.stringValue) }
        guard !kinds.contains(.underway) else { return .goOn }
        return self.hasFailures || kinds.contains(.failure) ? .failure(nil) : .success
    }

    private func single(_ key: String, rows: RowStore, left: (reason: String?, kind: Statuses.Kind)?) -> Verdict {
        if let row = rows[key] ?? rows.rows.values.first {
            switch self.statuses.kind(of: row[self.statusColumn]?.stringValue) {
            case .underway: return .goOn
            case .success: return .success
            case .failure: return .failure(nil)
            }
        }
        switch left {
        case (_, .success)?: return .success
        case (_, .failure)?: return .failure(nil)
        case (let reason, .underway)?:
            return .failure("\(self.channel) is gone (\(reason ?? "no reason given")) before it came to an end")
        case nil:
            return self.isLive ? .failure("\(self.channel) does not exist, or is not yours to see") : .goOn
        }
    }
}
