import Feed

/// The steps that a shard applied last, as far back as memory allows, for those who come back.
struct ReplayRing {
    private var ring: Ring
    private var epoch: UInt64? = nil

    init(maximumBytes: Int) {
        self.ring = Ring(maximumBytes: maximumBytes)
    }

    var bytes: Int { self.ring.bytes }

    mutating func append(_ step: Step) {
        if step.epoch != self.epoch {
            self.epoch = step.epoch
            self.ring.reset(at: step.end)
        } else {
            self.ring.append(end: step.end, batches: step.batches, resetFeeds: Set(step.resets.keys))
        }
    }

    /// What happened to a view since this cursor, with as little as it takes to be where the last step ended; `nil` when
    /// memory does not reach back so far.
    func replay(of view: View, since cursor: Cursor) -> [Replay.Step]? {
        self.batches(for: view, since: cursor).map { batches in
            Replay.compacted(batches.flatMap { $0.steps(of: view, notIn: cursor.snapshot) }, in: view)
        }
    }

    func reaches(_ cursor: Cursor, for view: View) -> Bool {
        self.batches(for: view, since: cursor) != nil
    }

    private func batches(for view: View, since cursor: Cursor) -> [Batch]? {
        guard cursor.epoch == self.epoch, cursor.snapshot.sees(view.feed.since),
            let batches = self.ring.batches(of: view.feed.name, after: cursor.snapshot),
            batches.allSatisfy({ $0.isComplete(for: view.filter.columns) })
        else { return nil }
        return batches
    }
}
