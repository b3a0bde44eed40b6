import Feed
import JobFeedProtocol
import LibPQ

/// Why a subscription was refused.
struct SubscribeError: Error {
    let code: ErrorCode
    let message: String

    static func unavailable(_ error: any Error) -> String {
        switch error {
        case PoolError.overloaded: "too many snapshots are asked for at once; try again in a moment"
        default: "the database cannot serve this now; try again in a moment"
        }
    }
}

/// What a `subscribe` asks for, checked against the feed as it is defined now.
struct SubscriptionPlan {
    let channel: Channel
    let view: View

    init(_ request: Subscribe, identity: Identity, catalog: [String: FeedDefinition]) throws(SubscribeError) {
        do {
            self.channel = try Channel(parsing: request.channel)
        } catch {
            throw SubscribeError(code: .invalidChannel, message: error.description)
        }
        guard let feed = catalog[self.channel.feed] else {
            throw SubscribeError(
                code: .unknownFeed,
                message: "there is no feed \"\(self.channel.feed)\""
                    + Spelling.suggestion(for: self.channel.feed, among: catalog.keys.sorted())
            )
        }
        if let problem = feed.problem { throw SubscribeError(code: .unavailable, message: problem) }
        let viewer: View.Viewer
        switch identity.access {
        case .operator: viewer = .operator
        case .account:
            guard feed.ownerColumn != nil else {
                throw SubscribeError(
                    code: .forbidden,
                    message: "feed \"\(feed.name)\" has no owners; only operators may see its rows"
                )
            }
            viewer = .account(user: ByteText(identity.user))
        }
        let visible = View.visibleColumns(of: feed, for: viewer)
        var filter = Filter.everything
        var key: ByteText? = nil
        switch self.channel {
        case .all, .counts: break
        case .statuses(_, let statuses):
            try Self.check(statuses, of: feed)
            filter = .statuses(statuses, of: feed)
        case .key(_, let text): key = ByteText(text)
        }
        if let text = request.filter {
            do {
                filter = filter.and(try FilterParser(feed: feed, visible: Set(visible)).parse(text))
            } catch {
                throw SubscribeError(code: .invalidFilter, message: error.message)
            }
        }
        for column in request.columns ?? [] where !visible.contains(column) {
            throw SubscribeError(
                code: .invalidColumns,
                message: "\(feed.table) has no column \"\(column)\"" + Spelling.suggestion(for: column, among: visible)
            )
        }
        self.view = View(feed: feed, viewer: viewer, filter: filter, key: key, columns: request.columns)
    }

    private static func check(_ statuses: [String], of feed: FeedDefinition) throws(SubscribeError) {
        guard case .enumeration(let labels) = feed.column(feed.status)?.type else { return }
        for status in statuses where !labels.contains(status) {
            throw SubscribeError(
                code: .invalidChannel,
                message: "\"\(status)\" is no status of \(feed.name)" + Spelling.suggestion(for: status, among: labels)
            )
        }
    }
}
