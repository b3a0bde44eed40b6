import Feed

/// What one change meant for one view, and the rule that decided.
///
/// ``View`` decides; this only says why, in the order in which it looked.
struct Verdict: Sendable, Equatable {
    enum Outcome: Sendable, Equatable {
        case sent(View.Delta, columns: [String])
        /// By a subscription of counts: status and difference.
        case counted([String: Int])
        case notSent(Rule)
        /// The view is read anew.
        case reset(String)
    }

    /// What kept a change from being sent.
    enum Rule: String, Sendable {
        case anotherKey = "another_key"
        case neverVisible = "never_visible"
        case notOwner = "not_owner"
        case noOwner = "no_owner"
        case sameOwner = "same_owner"
        case hiddenColumns = "hidden_columns"
        case columnsNotAsked = "columns_not_asked"
        case quietColumns = "quiet_columns"
        case nothingVisible = "nothing_visible"
        case sameStatus = "same_status"
        case filter
    }

    let outcome: Outcome
    let message: String

    var isSent: Bool {
        switch outcome {
        case .sent, .counted, .reset: true
        case .notSent: false
        }
    }

    static func name(_ owner: ByteText?) -> String { owner.map { Printable.name($0.string) } ?? "nobody" }

    static func notSent(_ rule: Rule, _ message: String) -> Verdict {
        Verdict(outcome: .notSent(rule), message: "not sent: \(message)")
    }
}

/// Asks a view about changes and words its answers.
struct Judge: Sendable {
    let view: View
    let isCounts: Bool
    /// How messages name the viewer.
    let subject: String
    let key: ByteText

    var keyText: String { Printable.name(self.key.string) }

    /// Whether a change is meant for viewers of this kind at all.
    func isAddressed(_ change: Change) -> Bool {
        switch change.audience {
        case .everybody: true
        case .operators: self.view.viewer == .operator
        case .accounts: self.view.viewer != .operator
        }
    }

    /// - Parameters:
    ///   - before, after: the owner path as it was before and after the change's transaction.
    func verdict(on change: Change, before: OwnerTable, after: OwnerTable) -> Verdict {
        guard let delta = self.view.delta(for: change) else {
            return self.refusal(of: change, before: before, after: after)
        }
        return self.verdict(on: change, sentAs: delta)
    }

    func verdict(on change: Change, sentAs delta: View.Delta) -> Verdict {
        if self.isCounts {
            var differences: [String: Int] = [:]
            for (status, difference) in StatusCounts.differences(of: change, in: self.view) {
                differences[status.string, default: 0] += difference
            }
            guard !differences.isEmpty else {
                return .notSent(.sameStatus, "a subscription of counts hears of changes of the status only")
            }
            let list = differences.sorted { $0.key < $1.key }.map {
                "\(Printable.name($0.key)) \($0.value < 0 ? "" : "+")\($0.value)"
            }
            return Verdict(outcome: .counted(differences), message: "sent as counts {\(list.joined(separator: ", "))}")
        }
        switch delta {
        case .enter(let reason):
            let columns = self.view.columns.filter { change.row[$0] != nil }
            return Verdict(outcome: .sent(delta, columns: columns), message: "sent as enter (\(reason.rawValue))")
        case .update(let columns):
            return Verdict(outcome: .sent(delta, columns: columns), message: "sent as update \(Self.braced(columns))")
        case .leave(let reason, let columns):
            return Verdict(
                outcome: .sent(delta, columns: columns),
                message: "sent as leave (\(reason.rawValue))" + (columns.isEmpty ? "" : " \(Self.braced(columns))")
            )
        }
    }

    private func refusal(of change: Change, before: OwnerTable, after: OwnerTable) -> Verdict {
        if let key = self.view.key, key != change.key {
            return .notSent(.anotherKey, "the channel is for job \(Printable.name(key.string)) alone")
        }
        let viewer = self.view.viewer
        let isReachedBefore = viewer.reaches(change.before)
        let isReachedAfter = viewer.reaches(change.after)
        var ownedBefore = change.existedBefore && viewer.owns(change.ownerBefore)
        var ownedAfter = change.existsAfter && viewer.owns(change.ownerAfter)
        if !ownedBefore, !ownedAfter { return self.ownerRefusal(of: change, before: before, after: after) }
        ownedBefore = ownedBefore && isReachedBefore
        ownedAfter = ownedAfter && isReachedAfter
        if !ownedBefore, !ownedAfter {
            return .notSent(
                .notOwner,
                "it is out of the token's scope (\(Self.list(self.view.feed.scope.keys.sorted())))"
            )
        }
        let failedBefore = ownedBefore ? self.view.filter.firstFailure(change.before) : nil
        let failedAfter = ownedAfter ? self.view.filter.firstFailure(change.after) : nil
        switch (ownedBefore, ownedAfter) {
        case (true, true):
            if let failedBefore, let failedAfter {
                return .notSent(.filter, self.filterRefusal(failedBefore, failedAfter, of: change))
            }
        case (true, false):
            if let failedBefore {
                let was = self.failure(failedBefore, change.before)
                guard change.existsAfter else { return .notSent(.filter, was) }
                return .notSent(.filter, "it went to \(Self.name(change.ownerAfter)), and before that \(was)")
            }
        case (false, true):
            if let failedAfter {
                let now = self.failure(failedAfter, change.after)
                guard change.existedBefore else { return .notSent(.filter, now) }
                return .notSent(.filter, "it came from \(Self.name(change.ownerBefore)), but \(now)")
            }
        case (false, false): break
        }
        return self.columnRefusal(of: change)
    }

    // MARK: Owners

    private func ownerRefusal(of change: Change, before: OwnerTable, after: OwnerTable) -> Verdict {
        let was = change.existedBefore ? change.ownerBefore : change.ownerAfter
        let now = change.existsAfter ? change.ownerAfter : change.ownerBefore
        guard was == now else {
            return .notSent(
                .notOwner,
                "it belonged to \(Self.name(was)) and then to \(Self.name(now)), not to \(self.subject)"
            )
        }
        guard let owner = now else {
            let gap =
                change.existsAfter ? after.gapAtEnd(of: change.after) : before.gapAtEnd(of: change.before)
            let reason = gap.map { " (\(Self.text($0, of: self.view.feed)))" } ?? ""
            return .notSent(.noOwner, "the job has no owner\(reason); only operators see it")
        }
        return .notSent(.notOwner, self.foreign(owner.string, verb: change.existsAfter ? "belongs" : "belonged"))
    }

    private func foreign(_ owner: String, verb: String) -> String {
        let text = "it \(verb) to \(Printable.name(owner)), not to \(self.subject)"
        guard case .account(let user, _) = self.view.viewer,
            let difference = NearName.difference(owner, user.string)
        else { return text }
        return "it \(verb) to \"\(Printable.text(owner))\", not to \"\(Printable.text(user.string))\":"
            + " two users, whose names differ in \(difference)"
    }

    private static func name(_ owner: ByteText?) -> String { Verdict.name(owner) }

    static func text(_ gap: OwnerTable.Gap, of feed: FeedDefinition) -> String {
        switch gap {
        case .null(0, _): "\(feed.linkColumns.joined(separator: ", ")) is null"
        case .null(let hop, let key):
            OwnerTable.nextColumns(of: feed, hop: hop - 1).joined(separator: ", ")
                + " of \(feed.hops[hop - 1].table) \(Printable.name(key?.string ?? "")) is null"
        case .noRow(let hop, let key): "there is no \(feed.hops[hop].table) \(Printable.name(key.string))"
        }
    }

    // MARK: Filters

    private func filterRefusal(
        _ before: Filter.Condition,
        _ after: Filter.Condition,
        of change: Change
    ) -> String {
        let was = self.value(before, change.before)
        let now = self.value(after, change.after)
        guard before == after else {
            return "filter \(Printable.text(before.text)) did not match before (\(was)), and"
                + " \(Printable.text(after.text)) does not match after (\(now))"
        }
        return was == now
            ? self.failure(after, change.after)
            : "filter \(Printable.text(after.text)) matches neither before (\(was)) nor after (\(now))"
    }

    private func failure(_ condition: Filter.Condition, _ row: (String) -> JSONText?) -> String {
        "filter \(Printable.text(condition.text)) does not match (\(self.value(condition, row)))"
    }

    private func value(_ condition: Filter.Condition, _ row: (String) -> JSONText?) -> String {
        let visible = View.visibleColumns(of: self.view.feed, for: self.view.viewer)
        return visible.contains(condition.column) ? Printable.value(condition.value(of: row)) : "hidden"
    }

    // MARK: Columns

    /// Visible before and after, and nothing that the viewer may notice.
    private func columnRefusal(of change: Change) -> Verdict {
        let feed = self.view.feed
        let changed = feed.columns.map(\.name).filter { change.old[$0] != nil && change.row[$0] != nil }
        let loud = changed.filter { !feed.quiet.contains($0) }
        let visible = View.visibleColumns(of: feed, for: self.view.viewer)
        let hidden = loud.filter { !visible.contains($0) }
        let others = loud.filter { visible.contains($0) && !self.view.columns.contains($0) }
        switch (hidden.isEmpty, others.isEmpty) {
        case (true, true) where changed.isEmpty:
            return .notSent(.nothingVisible, "no column changed in the end")
        case (true, true): return .notSent(.quietColumns, "only quiet columns changed (\(Self.list(changed)))")
        case (false, true): return .notSent(.hiddenColumns, "only hidden columns changed (\(Self.list(hidden)))")
        case (true, false):
            return .notSent(.columnsNotAsked, "only columns that were not asked for changed (\(Self.list(others)))")
        case (false, false):
            return .notSent(
                .nothingVisible,
                "only columns changed that are hidden (\(Self.list(hidden))) or were not asked for (\(Self.list(others)))"
            )
        }
    }

    private static func list(_ columns: [String]) -> String { columns.map(Printable.text).joined(separator: ", ") }
    private static func braced(_ columns: [String]) -> String { "{\(self.list(columns))}" }
}
