/// What a view missed, made shorter: the same rows at the end and every status on the way, but not every tick.
package enum Replay {
    package typealias Step = (change: Change, delta: View.Delta)

    /// - Parameter steps: of one view, in order.
    /// - Returns: in which the order of each row's steps is kept; a merged one stands where the first of its parts stood.
    package static func compacted(_ steps: [Step], in view: View) -> [Step] {
        var kept: [Step?] = []
        var last: [ByteText: Int] = [:]
        for step in steps {
            let key = step.change.key
            if let place = last[key], let earlier = kept[place] {
                if let merged = Self.merged(step, over: earlier, in: view) {
                    kept[place] = merged
                    continue
                }
                // Nobody needs to know what a row was before it went, except which statuses it had.
                if case (.leave, .update(let columns)) = (step.delta, earlier.delta),
                    !columns.contains(view.feed.status)
                {
                    kept[place] = nil
                }
            }
            last[key] = kept.count
            kept.append(step)
        }
        return kept.compactMap { $0 }
    }

    /// Both steps of one row as one; `nil` where that would lose more than values that were replaced.
    static func merged(_ step: Step, over earlier: Step, in view: View) -> Step? {
        guard case .update(let new) = step.delta else { return nil }
        let isTransition = new.contains(view.feed.status)
        switch earlier.delta {
        case .enter where !isTransition: return (step.change.merged(over: earlier.change), earlier.delta)
        case .update(let old) where !isTransition || !old.contains(view.feed.status):
            let columns = Set(old).union(new)
            return (step.change.merged(over: earlier.change), .update(columns: view.columns.filter(columns.contains)))
        case .enter, .update, .leave: return nil
        }
    }
}
