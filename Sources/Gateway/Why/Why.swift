import Feed
import JobFeedProtocol
package import LibPQ

/// Answers a ``WhyQuestion`` from the log, with the rules that the gateway itself goes by.
package struct Why: Sendable {
    private let settings: ConnectionSettings
    private let question: WhyQuestion
    private let withValues: Bool

    /// - Parameters:
    ///   - settings: with the gateway's role, as ``DatabaseCheck`` reports them.
    ///   - withValues: whether the report holds values of rows, of columns that the user may see.
    package init(settings: ConnectionSettings, question: WhyQuestion, withValues: Bool) {
        self.settings = settings
        self.question = question
        self.withValues = withValues
    }

    package func report() async throws(WhyError) -> WhyReport {
        let result = await withCheckedContinuation { continuation in
            let thread = WorkerThread(name: "jobfeed-why") {
                continuation.resume(returning: Swift.Result { () throws(WhyError) in try self.answer() })
            }
            _ = thread
        }
        return try result.get()
    }

    private func answer() throws(WhyError) -> WhyReport {
        do {
            let connection = try Connection.open(self.settings)
            defer { connection.close() }
            return try self.answer(connection)
        } catch let error as WhyError {
            throw error
        } catch let error as PostgresError where error.kind == .connection {
            throw .unavailable("the database cannot be reached: \(error)")
        } catch {
            throw .configuration("the database refused a question: \(error)")
        }
    }

    private func answer(_ connection: Connection) throws -> WhyReport {
        var asText = false
        var resume: Cursor?
        if case .cursor(let text) = self.question.since { resume = Cursor(encoded: text) }
        while true {
            try WhyReader.begin(connection)
            do {
                // Under the snapshot of everything else.
                let plan = try self.plan(try Catalog.load(connection))
                let key = ByteText(self.question.job)
                let reader = WhyReader(
                    connection: connection,
                    view: plan.view,
                    key: key,
                    resume: resume,
                    asText: asText
                )
                let read = try reader.read()
                if read.evidence.row == nil, !read.evidence.records.contains(where: { $0.operation != .truncate }) {
                    throw WhyError.notFound(try self.missing(read, reader))
                }
                try connection.execute("COMMIT")
                return self.report(read, plan)
            } catch TableRewrite.Failure.rewritten {
                try connection.execute("ROLLBACK")
            } catch let error as PostgresError where error.isDataException && !asText {
                asText = true
                try connection.execute("ROLLBACK")
            }
        }
    }

    private func plan(_ catalog: [String: FeedDefinition]) throws(WhyError) -> SubscriptionPlan {
        do throws(SubscribeError) {
            return try SubscriptionPlan(
                self.question.subscribe,
                identity: self.question.identity(for: catalog.values),
                catalog: catalog
            )
        } catch {
            switch error.code {
            case .unknownFeed:
                let feeds = catalog.keys.sorted().joined(separator: ", ")
                throw .notFound(
                    "\(error.message); \(feeds.isEmpty ? "no table is attached" : "the feeds are: \(feeds)")"
                )
            case .unavailable: throw .configuration(error.message)
            // The subscription itself would be refused with these words.
            default: throw .usage("a client is refused with \(error.code.rawValue): \(error.message)")
            }
        }
    }

    /// Neither the table nor the log knows the key.
    private func missing(_ read: WhyReader.Read, _ reader: WhyReader) throws -> String {
        let feed = read.evidence.feed
        var message =
            "neither \(feed.table) nor the log of feed \"\(feed.name)\" has a job \(Printable.name(self.question.job))"
        for candidate in Self.spellings(of: self.question.job) where try reader.row(key: ByteText(candidate)) != nil {
            return message + "; did you mean \(Printable.name(candidate))?"
        }
        message += "; a key is the text of column \(feed.key.joined(separator: ", "))"
        if feed.key.count > 1 { message += ", values joined by commas (a comma in a value is %2C)" }
        return message + "; " + WhyReport.reach(read)
    }

    /// What somebody may have meant by a key that does not exist.
    static func spellings(of key: String) -> [String] {
        let trimmed = key.unicodeScalars.filter { !$0.properties.isWhitespace && !"\"'#".unicodeScalars.contains($0) }
        let bare = String(String.UnicodeScalarView(trimmed))
        let last = bare.split(separator: "/").last.map(String.init) ?? bare
        let candidates = [bare, last, last.lowercased(), Int64(last).map(String.init) ?? last]
        return candidates.filter { !$0.isEmpty && !$0.utf8.elementsEqual(key.utf8) }
    }

    private func report(_ read: WhyReader.Read, _ plan: SubscriptionPlan) -> WhyReport {
        let history = WhyHistory(read.evidence)
        let judge = Judge(
            view: plan.view,
            isCounts: plan.channel == .counts(feed: plan.view.feed.name),
            subject: self.question.subject,
            key: read.evidence.key
        )
        var steps = history.steps
        var replay: WhyReport.Replay? = nil
        switch self.question.since {
        case .always: break
        case .ago(let seconds):
            let start = read.now - Int64(seconds) * 1_000_000
            steps = steps.filter { $0.transaction.at >= start }
        case .time(let start): steps = steps.filter { $0.transaction.at >= start }
        case .cursor(let text):
            let cursor = Cursor(encoded: text)
            if let cursor, read.obstacle != "epoch" {
                steps = steps.filter { !cursor.snapshot.sees($0.transaction.xid) }
            }
            let obstacle = cursor == nil ? "malformed_cursor" : read.obstacle
            if let cursor, obstacle == nil {
                replay = WhyReport.Replay(from: cursor.snapshot, history, judge, withValues: self.withValues)
            } else {
                replay = WhyReport.Replay(reason: obstacle, entries: [])
            }
        }
        return WhyReport(
            question: self.question,
            feed: plan.view.feed.name,
            steps: steps.map { WhyReport.Step($0, judge: judge, withValues: self.withValues) },
            replay: replay,
            now: WhyReport.Now(read.evidence, judge),
            reach: WhyReport.reach(read),
            oldestAt: read.oldestAt,
            hints: WhyHints(read, history, judge).all
        )
    }
}
