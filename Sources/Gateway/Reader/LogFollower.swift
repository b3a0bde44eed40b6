import Feed
import LibPQ

/// Where this node stands in the log, and what it knows of the feeds.
struct LogFollower {
    private let revocations: Revocations
    private let claims: KeptClaims
    private var epoch: UInt64? = nil
    private var snapshot: Snapshot? = nil
    private var catalog: [String: FeedDefinition] = [:] {
        didSet { self.claims.keep(self.catalog.values.reduce(into: []) { $0.formUnion($1.claims) }) }
    }
    private var statement = LogReader.Statement.plain
    /// Keys of these feeds do not cast to their columns' types any more; they are compared as texts.
    private var comparedAsText: Set<String> = []
    /// What subscribers are not told yet: feeds that are others now, and a catalog that says which.
    private var unannounced: (resets: [String: ResetReason], catalog: Bool) = ([:], false)
    /// `Step.stamp` of the log reader when the catalog was last looked at, and when that was.
    private var stamp = ""
    private var columnsChecked: ContinuousClock.Instant? = nil
    /// The next step is for the ring alone, which may be asked for any column.
    private var isPreloading = false

    init(revocations: Revocations, claims: KeptClaims) {
        self.revocations = revocations
        self.claims = claims
    }

    /// Checks after a connect that this is still the same history.
    /// - Parameter preload: how many bytes of the log the first step may go back.
    /// - Returns: a step that starts a new history, when it is another one.
    mutating func begin(_ connection: Connection, preload: Int) throws -> Step? {
        _ = try connection.query("SELECT jobfeed.begin_incarnation()")
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
        let before = self.catalog.keys
        self.catalog = try Catalog.load(connection)
        self.chooseStatement()
        self.epoch = epoch
        let start = isFirst ? try LogReader.start(connection, bytes: preload) ?? snapshot : snapshot
        self.snapshot = start
        self.isPreloading = isFirst
        var step = Step(epoch: epoch, end: start, readAt: result.int64(0, 2) ?? 0)
        step.catalog = self.catalog
        if !isFirst {
            for feed in Set(before).union(self.catalog.keys) { step.resets[feed] = .epoch }
        }
        return step
    }

    /// Reads what was committed since the last step; leaves the transaction open for the caller to end.
    mutating func next(_ connection: Connection, interest: FilterInterest) throws -> Step {
        guard let epoch = self.epoch, let start = self.snapshot else {
            preconditionFailure("LogFollower.next before begin")
        }
        var hasRetried = false
        while true {
            let read = try self.read(connection, since: start)
            if read.stamp != self.stamp || hasRetried || self.isColumnCheckDue || !self.fits(read.records) {
                try self.refreshCatalog(connection, stamp: read.stamp)
            }
            var step = Step(epoch: epoch, end: read.snapshot, readAt: read.readAt)
            step.found = read.records.values.reduce(0) { $0 + $1.count }
            step.resets = self.unannounced.resets
            if self.unannounced.catalog { step.catalog = self.catalog }
            if let horizon = read.horizon, !start.includes(horizon) {
                for feed in self.catalog.keys where step.resets[feed] == nil { step.resets[feed] = .retention }
            }
            if read.isTooLarge {
                for feed in self.catalog.keys where step.resets[feed] == nil { step.resets[feed] = .overflow }
            }
            do {
                if read.isRewritten { throw TableRewrite.Failure.rewritten }
                for (name, records) in read.records {
                    guard let feed = self.catalog[name], step.resets[name] == nil, feed.problem == nil else { continue }
                    try self.append(records, read.owners[name], of: feed, from: start, connection, interest, to: &step)
                }
            } catch TableRewrite.Failure.rewritten {
                try connection.execute("ROLLBACK")
                continue
            } catch let error as MismatchedKeys {
                self.comparedAsText.insert(error.feed)
                self.chooseStatement()
                try connection.execute("ROLLBACK")
                continue
            } catch let error as BrokenFeed {
                try connection.execute("ROLLBACK")
                // Perhaps it was altered a moment ago. If not, only this feed stops, until it is attached again.
                if hasRetried {
                    self.catalog[error.feed]?.problem = error.message
                    self.chooseStatement()
                    self.unannounced.resets[error.feed] = .schema
                    self.unannounced.catalog = true
                }
                hasRetried = true
                continue
            }
            self.unannounced = ([:], false)
            self.isPreloading = false
            self.snapshot = read.snapshot
            return step
        }
    }

    // MARK: The statement

    private mutating func chooseStatement() {
        self.statement = LogReader.Statement(
            self.catalog.values.filter { !self.comparedAsText.contains($0.name) }
        )
    }

    private mutating func read(_ connection: Connection, since start: Snapshot) throws -> LogReader.Step {
        do {
            return try LogReader.read(connection, self.statement, since: start)
        } catch let error as PostgresError where error.isOfStatement && !self.statement.feeds.isEmpty {
            // Which feed it is that cannot be read is found out when each is asked for its owners on its own.
            if connection.transactionStatus != .idle { try connection.execute("ROLLBACK") }
            self.statement = .plain
            return try LogReader.read(connection, self.statement, since: start)
        }
    }

    // MARK: Catalog

    /// Columns are altered without a trace in `jobfeed.feed`, so they are compared now and then …
    private var isColumnCheckDue: Bool {
        self.columnsChecked.map { .now - $0 > .seconds(1) } ?? true
    }

    /// … and at once when a row has other columns than it should.
    private func fits(_ records: [String: [LogRecord]]) -> Bool {
        records.allSatisfy { name, records in
            guard let names = self.catalog[name]?.columnNames else { return true }
            return records.allSatisfy { record in
                guard let row = record.row, record.operation != .ownerPath else { return true }
                let isWhole = record.operation != .update
                return row.columns.allSatisfy { names.contains($0.name) }
                    && (!isWhole || row.columns.count == names.count)
            }
        }
    }

    private mutating func refreshCatalog(_ connection: Connection, stamp: String) throws {
        if stamp != self.stamp { try self.revocations.load(connection) }
        if let fresh = try Catalog.reload(connection, unlessStill: self.catalog) {
            for name in Set(fresh.keys).union(self.catalog.keys)
            where self.catalog[name]?.revision != fresh[name]?.revision {
                self.unannounced.resets[name] = .schema
            }
            self.unannounced.catalog = true
            self.catalog = fresh
            self.comparedAsText = []
            self.chooseStatement()
        }
        self.stamp = stamp
        self.columnsChecked = .now
    }

    private func append(
        _ records: [LogRecord],
        _ owners: [Row]?,
        of feed: FeedDefinition,
        from start: Snapshot,
        _ connection: Connection,
        _ interest: FilterInterest,
        to step: inout Step
    ) throws {
        let assembler = BatchAssembler(
            connection: connection,
            feed: feed,
            filterColumns: self.isPreloading ? Set(feed.columns.map(\.name)) : interest.columns(of: feed.name),
            asText: self.comparedAsText.contains(feed.name)
        )
        do {
            let batch = try assembler.batch(records, firstRows: owners, start: start, end: step.end)
            if batch.isTruncated { step.resets[feed.name] = .truncate } else { step.batches.append(batch) }
        } catch LogReader.Failure.tooLarge {
            step.resets[feed.name] = .overflow
        } catch let error as PostgresError where error.isDataException && !assembler.asText {
            throw MismatchedKeys(feed: feed.name)
        } catch let error as PostgresError where error.isOfStatement {
            // Whatever the reason, it would be the same each time: the other feeds go on.
            throw BrokenFeed(
                feed: feed.name,
                // A class 22 message quotes values; this one goes to clients.
                message: "feed \(feed.name) does not fit its tables any more (SQLSTATE "
                    + "\(error.sqlState ?? "unknown")); the operator has to run jobfeed.attach again"
            )
        }
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
    /// It would fail again: neither the connection nor an operator's intervention is to blame.
    fileprivate var isOfStatement: Bool { self.kind == .server && self.sqlState?.hasPrefix("57") != true }

    /// SQLSTATE class 22, such as an invalid text representation.
    var isDataException: Bool { self.sqlState?.hasPrefix("22") ?? false }
}
