import Feed

extension Cursor {
    /// The reason for which a client cannot go on from here by what the log holds; `nil`: it can.
    ///
    /// - Parameters:
    ///   - now: where the transaction stands that reads the log.
    ///   - horizon: sees all that was ever dropped from the log; `nil` when nothing was.
    func obstacle(now: Cursor, horizon: Snapshot?, feed: FeedDefinition) -> String? {
        // A snapshot that sees more than now is of a future that this database will not have.
        guard self.epoch == now.epoch, now.snapshot.includes(self.snapshot) else { return "epoch" }
        guard horizon.map(self.snapshot.includes) ?? true, self.snapshot.sees(feed.since) else { return "retention" }
        return nil
    }
}
