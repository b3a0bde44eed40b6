import Feed
import JobFeedProtocol

/// All groups of one loop.
struct GroupIndex {
    private var byKey: [Group.Key: Group] = [:]
    private var feeds: [String: FeedGroups] = [:]
    private var shapes: [Shape.Key: Shape] = [:]

    subscript(_ feed: String) -> FeedGroups? { self.feeds[feed] }

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
            encoding: subscription.encoding.name
        )
        if let group = self.byKey[key] { return group }
        let shapeKey = Shape.Key(view, subscription.encoding)
        let shape = self.shapes[shapeKey] ?? Shape(view, subscription.encoding)
        shape.users += 1
        self.shapes[shapeKey] = shape
        let group = Group(key: key, shape: shape, for: subscription)
        self.byKey[key] = group
        let feed = self.feeds[key.feed] ?? FeedGroups()
        self.feeds[key.feed] = feed
        feed.add(group)
        return group
    }

    mutating func removeIfEmpty(_ group: Group) {
        guard group.isEmpty, self.byKey.removeValue(forKey: group.key) != nil else { return }
        group.shape.users -= 1
        if group.shape.users == 0 { self.shapes[group.shape.key] = nil }
        self.feeds[group.key.feed]?.remove(group)
        if self.feeds[group.key.feed]?.isEmpty ?? false { self.feeds[group.key.feed] = nil }
    }
}

/// Finds the groups of one feed that a change may concern: those of one job by its key, operators in a list of their
/// own, all others by owner; so the cost of a change follows those who may receive it.
final class FeedGroups {
    private var byJob: [ByteText: [Group]] = [:]
    private var byOwner: [ByteText: [Group]] = [:]
    private var operators: [Group] = []

    var isEmpty: Bool { self.byJob.isEmpty && self.byOwner.isEmpty && self.operators.isEmpty }

    func add(_ group: Group) {
        switch (group.view.key, group.key.viewer) {
        case (let job?, _): self.byJob[job, default: []].append(group)
        case (nil, .account(let user, _)): self.byOwner[user, default: []].append(group)
        case (nil, .operator): self.operators.append(group)
        }
    }

    func remove(_ group: Group) {
        func remove(from lists: inout [ByteText: [Group]], _ key: ByteText) {
            lists[key]?.removeAll { $0 === group }
            if lists[key]?.isEmpty ?? false { lists[key] = nil }
        }
        switch (group.view.key, group.key.viewer) {
        case (let job?, _): remove(from: &self.byJob, job)
        case (nil, .account(let user, _)): remove(from: &self.byOwner, user)
        case (nil, .operator): self.operators.removeAll { $0 === group }
        }
    }

    /// Calls `body` once for each group that the change may concern.
    func forEach(of change: Feed.Change, _ body: (Group) -> Void) {
        for group in self.operators { body(group) }
        if !self.byJob.isEmpty, let groups = self.byJob[change.key] {
            for group in groups { body(group) }
        }
        guard !self.byOwner.isEmpty else { return }
        if let owner = change.ownerBefore, let groups = self.byOwner[owner] {
            for group in groups { body(group) }
        }
        if let owner = change.ownerAfter, owner != change.ownerBefore, let groups = self.byOwner[owner] {
            for group in groups { body(group) }
        }
    }
}

@available(*, unavailable)
extension FeedGroups: Sendable {}
