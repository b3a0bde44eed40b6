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

    /// - Parameter conditions: each one condition of the filter's grammar, besides the request's filter.
    init(
        _ request: Subscribe,
        conditions: [String] = [],
        identity: Identity,
        catalog: [String: FeedDefinition],
        grammar: FilterParser.Grammar = .postgREST
    ) throws(SubscribeError) {
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
            viewer = try Self.account(identity, of: feed)
        }
        let visible = View.visibleColumns(of: feed, for: viewer)
        var filter = Filter.everything
        var key: ByteText? = nil
        switch self.channel {
        case .all, .counts: break
        case .statuses(_, let statuses):
            filter = .statuses(try Self.statuses(statuses, of: feed), of: feed)
        case .key(_, let text): key = ByteText(text)
        }
        if request.filter != nil || !conditions.isEmpty {
            let parser = FilterParser(feed: feed, visible: Set(visible), grammar: grammar)
            do {
                if let text = request.filter { filter = filter.and(try parser.parse(text)) }
                filter = filter.and(try parser.parse(conditions))
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

    /// What an account sees of a feed, as its token says.
    private static func account(_ identity: Identity, of feed: FeedDefinition) throws(SubscribeError) -> View.Viewer {
        var user = identity.user
        if let claim = feed.ownerClaim {
            let owners = try Self.values(of: claim, identity, feed)
            guard owners.count == 1, !owners[0].isEmpty else {
                throw SubscribeError(
                    code: .forbidden,
                    message: "the token's claim \(claim) does not name one owner of rows of feed \"\(feed.name)\""
                )
            }
            user = owners[0]
        }
        var scope: [String: Set<ByteText>] = [:]
        for (column, claim) in feed.scope.sorted(by: { $0.key < $1.key }) {
            let allowed = try Self.values(of: claim, identity, feed)
            // Nothing listed, or a star, is everything.
            if !allowed.isEmpty, !allowed.contains("*") { scope[column] = Set(allowed.map { ByteText($0) }) }
        }
        return .account(user: ByteText(user), scope: View.Scope(columns: scope))
    }

    private static func values(
        of claim: String,
        _ identity: Identity,
        _ feed: FeedDefinition
    ) throws(SubscribeError) -> [String] {
        guard let found = identity.claims[claim] else {
            // The feed was attached after the token was looked at.
            throw SubscribeError(
                code: .unavailable,
                message: "feed \"\(feed.name)\" asks for the claim \(claim); send the token again (authenticate)"
            )
        }
        guard let values = found else {
            throw SubscribeError(
                code: .forbidden,
                message: "the token has no claim \(claim), which decides whose rows of feed \"\(feed.name)\" it shows"
            )
        }
        return values
    }

    /// The table's own statuses for the words of a channel, which may also be states or classes.
    private static func statuses(_ words: [String], of feed: FeedDefinition) throws(SubscribeError) -> [String] {
        var labels: [String]? = nil
        if case .enumeration(let known) = feed.column(feed.status)?.type { labels = known }
        var statuses: [String] = []
        for word in words {
            if labels?.contains(word) ?? false {
                statuses.append(word)
            } else if let meant = feed.lifecycle?.statuses(word) {
                statuses += meant
            } else if let labels {
                throw SubscribeError(
                    code: .invalidChannel,
                    message: "\"\(word)\" is no status of \(feed.name)" + Spelling.suggestion(for: word, among: labels)
                )
            } else {
                statuses.append(word)
            }
        }
        return statuses
    }
}
