import Feed
import JobFeedProtocol

/// Finds the groups that a change may concern: those of one job by its key, operators in a list of their own, all
/// others by owner; so the cost of a change follows those who may receive it.
struct GroupIndex {
    private var byGroupKey: [Group.Key: Group] = [:]
    private var byJob: [String: [ByteText: [Group]]] = [:]
    private var byOwner: [String: [ByteText: [Group]]] = [:]
    private var operators: [String: [Group]] = [:]

    /// The group of a subscription, made when it is the first of its kind.
    mutating func group(for subscription: Subscription) -> Group {
        let view = subscription.view
        let key = Group.Key(
            feed: view.feed.name,
            viewer: view.viewer,
            channel: ByteText(subscription.channel.description),
            filter: subscription.request.filter.map { ByteText($0) },
            columns: view.columns,
            maxRate: subscription.request.maxRate,
            id: ByteText(subscription.id)
        )
        if let group = self.byGroupKey[key] { return group }
        let group = Group(key: key, for: subscription)
        self.byGroupKey[key] = group
        self.updateList(of: group) { $0.append(group) }
        return group
    }

    mutating func removeIfEmpty(_ group: Group) {
        guard group.members.isEmpty, self.byGroupKey.removeValue(forKey: group.key) != nil else { return }
        self.updateList(of: group) { $0.removeAll { $0 === group } }
    }

    private mutating func updateList(of group: Group, _ change: (inout [Group]) -> Void) {
        let feed = group.key.feed
        func update<Key: Hashable>(_ lists: inout [Key: [Group]], _ key: Key) {
            change(&lists[key, default: []])
            if lists[key]?.isEmpty ?? false { lists[key] = nil }
        }
        switch (group.view.key, group.key.viewer) {
        case (let job?, _): update(&self.byJob[feed, default: [:]], job)
        case (nil, .account(let user)): update(&self.byOwner[feed, default: [:]], user)
        case (nil, .operator): update(&self.operators, feed)
        }
    }

    /// Calls `body` once for each group that the change may concern.
    func forEachGroup(of change: Feed.Change, feed: String, _ body: (Group) -> Void) {
        self.operators[feed]?.forEach(body)
        self.byJob[feed]?[change.key]?.forEach(body)
        guard let owners = self.byOwner[feed] else { return }
        if let owner = change.ownerBefore { owners[owner]?.forEach(body) }
        if let owner = change.ownerAfter, owner != change.ownerBefore { owners[owner]?.forEach(body) }
    }
}
