import Feed

extension WhyReport.Now {
    /// What a snapshot that is read now says of the job.
    init(_ evidence: WhyEvidence, _ judge: Judge) {
        guard let row = evidence.row else {
            self.exists = false
            self.status = nil
            self.owner = nil
            self.isVisible = false
            self.message = "job \(judge.keyText) does not exist any more: nobody holds it"
            return
        }
        let feed = evidence.feed
        let isShown = View.visibleColumns(of: feed, for: judge.view.viewer).contains(feed.status)
        self.exists = true
        self.status = isShown ? row[feed.status]?.scalarText : nil
        let owner = evidence.owners.ownerAtEnd { row[$0] }
        self.owner = owner?.string
        // A row that is read is judged as one that appears.
        let record = LogRecord(
            seq: 0,
            xid: 0,
            operation: .insert,
            key: evidence.key,
            hop: 0,
            at: 0,
            row: row,
            before: nil
        )
        guard
            let appearance = Change.derive(from: [record], owners: evidence.owners, moved: [:], feed: feed).first
        else {
            self.isVisible = false
            self.message = "job \(judge.keyText) cannot be judged"
            return
        }
        self.isVisible = judge.view.delta(for: appearance) != nil
        guard !self.isVisible else {
            let rule = judge.view.viewer == .operator ? "operators see every row" : "it belongs to \(judge.subject)"
            let filter = judge.view.filter.conditions.map { Printable.text($0.text) }.joined(separator: "&")
            self.message =
                "\(judge.subject) sees job \(judge.keyText): \(rule)" + (filter.isEmpty ? "" : " and matches \(filter)")
            return
        }
        let verdict = judge.verdict(on: appearance, before: evidence.owners, after: evidence.owners)
        let reason = verdict.message.drop { $0 != " " }.dropFirst().drop { $0 != " " }.dropFirst()
        self.message = "\(judge.subject) does not see job \(judge.keyText): \(reason)"
    }
}

extension WhyReport {
    static func reach(_ read: WhyReader.Read) -> String {
        if read.isCut {
            return "only the newest \(WhyReader.maximumRecords) changes of this job were looked at"
        }
        let attached = "the feed was attached at \(Timestamp.iso8601(micros: read.attachedAt))"
        guard read.horizon != nil else {
            return "the log is whole: nothing was ever dropped from it; \(attached)"
        }
        guard let oldest = read.oldestAt else {
            return "the log is empty, older changes have been dropped: nothing can be said about them"
        }
        return "the log reaches back to \(Timestamp.iso8601(micros: oldest)); changes before that have been dropped:"
            + " nothing can be said about them"
    }
}
