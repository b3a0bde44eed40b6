/// How many rows of a view have which status.
package struct StatusCounts: Sendable, Equatable {
    package private(set) var counts: [ByteText: Int]

    package init(_ counts: [ByteText: Int] = [:]) {
        self.counts = counts
    }

    /// Applies what the view's changes add and take away.
    /// - Returns: the statuses whose count is another one now.
    package mutating func apply(_ changes: some Sequence<Change>, in view: View) -> Set<ByteText> {
        let before = self.counts
        for change in changes {
            for (status, difference) in Self.differences(of: change, in: view) {
                self.counts[status, default: 0] += difference
            }
        }
        let touched = Set(self.counts.keys)
        return touched.filter { before[$0, default: 0] != self.counts[$0] }
    }

    /// The statuses that a change may have moved rows between.
    package static func differences(of change: Change, in view: View) -> [(status: ByteText, difference: Int)] {
        let status = view.feed.status
        func text(_ value: JSONText?) -> ByteText { ByteText(value?.scalarText ?? "") }
        switch view.delta(for: change) {
        case .enter: return [(text(change.after(status)), 1)]
        case .leave: return [(text(change.before(status)), -1)]
        case .update:
            let before = text(change.before(status))
            let after = text(change.after(status))
            return before == after ? [] : [(before, -1), (after, 1)]
        case nil: return []
        }
    }
}
