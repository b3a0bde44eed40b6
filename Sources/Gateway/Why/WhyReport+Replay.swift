import Feed

extension WhyReport.Replay {
    /// What the log is replayed as from here, one step; first what is sent, then what is not.
    init(from snapshot: Snapshot, _ history: WhyHistory, _ judge: Judge, withValues: Bool) {
        let (all, before, isTruncated) = history.replay(since: snapshot)
        guard !isTruncated else {
            self.init(reason: "truncate", entries: [])
            return
        }
        let changes = all.filter { judge.isAddressed($0) }
        let steps = changes.compactMap { change in judge.view.delta(for: change).map { (change: change, delta: $0) } }
        let sent = judge.isCounts ? steps : Feed.Replay.compacted(steps, in: judge.view)
        let verdicts =
            sent.map { ($0.change, judge.verdict(on: $0.change, sentAs: $0.delta)) }
            + changes.filter { judge.view.delta(for: $0) == nil }.map { change in
                (change, judge.verdict(on: change, before: before, after: history.evidence.owners))
            }
        self.init(
            reason: nil,
            entries: verdicts.map { change, verdict in
                WhyReport.Entry(change, verdict, view: judge.view, withValues: withValues)
            }
        )
    }
}
