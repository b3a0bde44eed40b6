import Feed
import LibPQ

/// Where this node stands in the log, and what it knows of the feeds.
struct LogFollower {
    private var epoch: UInt64? = nil
    private var snapshot: Snapshot? = nil
    private var catalog: [String: FeedDefinition] = [:]
    /// Keys of these feeds do not cast to their columns' types any more; they are compared as texts.
    private var comparedAsText: Set<String> = []
    /// Feeds that turned out not to fit their tables, and that subscribers do not know of yet.
    private var newlyBroken: Set<String> = []

    /// Checks after a connect that this is still the same history.
    /// - Returns: a step that starts a new history, when it is another one.
    mutating func begin(_ connection: Connection) throws -> Step? {
        let result = try connection.query(
            "SELECT jobfeed.epoch(), pg_current_snapshot()::text, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        )
        guard let epoch = result.string(0, 0).map(Cursor.fingerprint(ofEpoch:)),
            let snapshot = result.string(0, 1).flatMap({ Snapshot(text: $0) })
        else {
            throw PostgresError(
                kind: .server,
                message: "jobfeed is not installed in this database",
                hint: "run `jobfeed-server install` as the role that owns the tables"
            )
        }
        guard epoch != self.epoch else { return nil }
        let isFirst = self.epoch == nil
        self.catalog = try Catalog.load(connection)
        self.epoch = epoch
        self.snapshot = snapshot
        var step = Step(epoch: epoch, end: snapshot, readAt: result.int64(0, 2) ?? 0)
        step.catalog = self.catalog
        if !isFirst {
            for feed in self.catalog.keys { step.resets[feed] = .epoch }
        }
        return step
    }

    /// Reads what was committed since the last step; leaves the transaction open for the caller to end.
    mutating func next(_ connection: Connection, interest: FilterInterest) throws -> Step {
        guard let epoch = self.epoch, let start = self.snapshot else {
            preconditionFailure("LogFollower.next before begin")
        }
        while true {
            let read = try LogReader.read(connection, since: start)
            var step = Step(epoch: epoch, end: read.snapshot, readAt: read.readAt)
            if read.revisions != Catalog.revisions(of: self.catalog) {
                try self.reloadCatalog(connection, &step)
            }
            if read.isTooLarge {
                for feed in self.catalog.keys where step.resets[feed] == nil { step.resets[feed] = .overflow }
            }
            do {
                for (name, records) in read.records {
                    guard let feed = self.catalog[name], step.resets[name] == nil, feed.problem == nil else { continue }
                    try self.append(records, of: feed, from: start, connection, interest, to: &step)
                }
            } catch let error as MismatchedKeys {
                self.comparedAsText.insert(error.feed)
                try connection.execute("ROLLBACK")
                continue
            } catch let error as BrokenFeed {
                // Only this feed stops, until it is attached again.
                self.catalog[error.feed]?.problem = error.message
                self.newlyBroken.insert(error.feed)
                try connection.execute("ROLLBACK")
                continue
            }
            if !self.newlyBroken.isEmpty {
                for name in self.newlyBroken { step.resets[name] = .schema }
                step.catalog = self.catalog
                self.newlyBroken = []
            }
            self.snapshot = read.snapshot
            return step
        }
    }

    private func append(
        _ records: [LogRecord],
        of feed: FeedDefinition,
        from start: Snapshot,
        _ connection: Connection,
        _ interest: FilterInterest,
        to step: inout Step
    ) throws {
        let assembler = BatchAssembler(
            connection: connection,
            feed: feed,
            filterColumns: interest.columns(of: feed.name),
            asText: self.comparedAsText.contains(feed.name)
        )
        do {
            let batch = try assembler.batch(records, start: start, end: step.end)
            if batch.isTruncated { step.resets[feed.name] = .truncate } else { step.batches.append(batch) }
        } catch LogReader.Failure.tooLarge {
            step.resets[feed.name] = .overflow
        } catch let error as PostgresError where error.isDataException && !assembler.asText {
            throw MismatchedKeys(feed: feed.name)
        } catch let error as PostgresError where error.isSchemaMismatch {
            throw BrokenFeed(
                feed: feed.name,
                message: "feed \(feed.name) does not fit its tables any more (\(error.message)); "
                    + "the operator has to run jobfeed.attach again"
            )
        }
    }

    private mutating func reloadCatalog(_ connection: Connection, _ step: inout Step) throws {
        let fresh = try Catalog.load(connection)
        for (name, feed) in fresh where self.catalog[name]?.revision != feed.revision { step.resets[name] = .schema }
        for name in self.catalog.keys where fresh[name] == nil { step.resets[name] = .schema }
        self.catalog = fresh
        self.comparedAsText = []
        step.catalog = fresh
    }
}

/// A logged key is no value of the column's type: the type was changed after it was logged.
private struct MismatchedKeys: Error {
    let feed: String
}

/// A table of the feed was altered so that its definition does not fit.
private struct BrokenFeed: Error {
    let feed: String
    let message: String
}

extension PostgresError {
    /// SQLSTATE class 42: a column or table that is not there, or may not be read.
    var isSchemaMismatch: Bool { self.sqlState?.hasPrefix("42") ?? false }

    /// SQLSTATE class 22, such as an invalid text representation.
    var isDataException: Bool { self.sqlState?.hasPrefix("22") ?? false }
}
