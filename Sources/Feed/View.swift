/// The rows one kind of subscription holds: who asks, what passes the filter, which columns.
package struct View: Sendable, Equatable {
    package enum Viewer: Hashable, Sendable {
        /// `user` is what the owner of a row has to be.
        case account(user: ByteText, scope: Scope = .everything)
        case `operator`

        /// Whether rows of this owner are this viewer's; no owner is nobody's.
        package func owns(_ owner: ByteText?) -> Bool {
            switch self {
            case .operator: true
            case .account(let user, _): owner == user
            }
        }

        /// Whether a row is within the scope of this viewer's token.
        package func reaches(_ row: (String) -> JSONText?) -> Bool {
            switch self {
            case .operator: true
            case .account(_, let scope): scope.allows(row)
            }
        }
    }

    /// Columns that must have one of a few values, as a token says.
    package struct Scope: Hashable, Sendable {
        package let columns: [String: Set<ByteText>]

        package static let everything = Scope(columns: [:])

        package init(columns: [String: Set<ByteText>]) {
            self.columns = columns
        }

        func allows(_ row: (String) -> JSONText?) -> Bool {
            self.columns.allSatisfy { column, values in
                row(column)?.scalarText.map { values.contains(ByteText($0)) } ?? false
            }
        }
    }

    package enum EnterReason: String, Sendable, CaseIterable {
        case created, filter, permission
    }

    package enum LeaveReason: String, Sendable, CaseIterable {
        case deleted, filter, permission
    }

    /// What a change means for a view. Columns come in the table's order.
    package enum Delta: Equatable, Sendable {
        case enter(EnterReason)
        case update(columns: [String])
        /// `columns`: what the change that caused a leave by filter assigned.
        case leave(LeaveReason, columns: [String])
    }

    package let feed: FeedDefinition
    package let viewer: Viewer
    package let filter: Filter
    package let key: ByteText?
    /// Columns sent, in the table's order: masked, then chosen; key and status always among them.
    package let columns: [String]

    /// - Parameter columns: as the client asked; already checked to be visible.
    package init(feed: FeedDefinition, viewer: Viewer, filter: Filter, key: ByteText?, columns: [String]?) {
        self.feed = feed
        self.viewer = viewer
        self.filter = filter
        self.key = key
        let visible = Self.visibleColumns(of: feed, for: viewer)
        if let columns {
            let chosen = Set(columns).union(feed.key).union([feed.status])
            self.columns = visible.filter(chosen.contains)
        } else {
            self.columns = visible
        }
    }

    /// What the viewer may ever see of a row, in the table's order, and then what its lifecycle adds.
    package static func visibleColumns(of feed: FeedDefinition, for viewer: Viewer) -> [String] {
        let masked: Set<String>
        switch viewer {
        case .operator: masked = feed.secret
        case .account: masked = feed.secret.union(feed.hidden)
        }
        return feed.columns.map(\.name).filter { !masked.contains($0) }
            + feed.derived.filter { masked.isDisjoint(with: $0.sources) }.map(\.name)
    }

    /// Compares the view before and after one change; `nil`: the viewer must not notice it.
    package func delta(for change: Change) -> Delta? {
        if let key, change.key != key { return nil }
        switch (change.audience, self.viewer) {
        case (.operators, .account), (.accounts, .operator): return nil
        case (.everybody, _), (.operators, .operator), (.accounts, .account): break
        }
        let ownedBefore =
            change.existedBefore && self.viewer.owns(change.ownerBefore) && self.viewer.reaches(change.before)
        let ownedAfter = change.existsAfter && self.viewer.owns(change.ownerAfter) && self.viewer.reaches(change.after)
        if !ownedBefore && !ownedAfter { return nil }
        let before = ownedBefore && self.filter.matches(change.before)
        let after = ownedAfter && self.filter.matches(change.after)
        switch (before, after) {
        case (false, false): return nil
        case (false, true):
            return .enter(!change.existedBefore ? .created : !ownedBefore ? .permission : .filter)
        case (true, false):
            if !change.existsAfter { return .leave(.deleted, columns: []) }
            if !ownedAfter { return .leave(.permission, columns: []) }
            return .leave(.filter, columns: self.changedColumns(of: change))
        case (true, true):
            // Masked first, then compared: a change of hidden or quiet columns alone must not even be noticed.
            let columns = self.changedColumns(of: change)
            return columns.allSatisfy(self.feed.quiet.contains) ? nil : .update(columns: columns)
        }
    }

    private func changedColumns(of change: Change) -> [String] {
        self.columns.filter { change.old[$0] != nil && change.row[$0] != nil }
    }
}
