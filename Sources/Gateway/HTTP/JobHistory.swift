import Feed
import JobFeedProtocol
import LibPQ

/// What one viewer could see of one row, as far back as the log reaches, and how long it was in which state.
struct JobHistory {
    /// A time during which the viewer saw one status; `nil`: it began before the log, or has not ended.
    struct State: Equatable {
        let status: String
        let since: Int64?
        var until: Int64?
    }

    private let view: View
    private let key: ByteText
    private let cursor: Cursor
    private let now: Int64
    /// Whether the log still has the row's creation, and so everything since.
    private let isComplete: Bool
    /// Nothing is known of what was before.
    private let since: Int64
    private let elements: [[UInt8]]
    private let states: [State]

    /// `nil` when the viewer never saw the row.
    init?(of view: View, _ transaction: FeedTransaction) throws {
        guard let key = view.key else { return nil }
        let reader = WhyReader(
            connection: transaction.connection,
            view: view,
            key: key,
            resume: nil,
            asText: transaction.isComparingAsText
        )
        let (evidence, isCut) = try reader.evidence()
        let current = try SnapshotLoader.rows(of: view, limit: 1, transaction.connection).rows.first
        var timeline = Timeline(view)
        for step in WhyHistory(evidence).steps { timeline.append(step) }
        guard current != nil || !timeline.isEmpty else { return nil }
        if timeline.isEmpty, let current { timeline.begin(with: current) }
        let first = evidence.records.first { $0.operation != .ownerPath && $0.operation != .truncate }
        self.view = view
        self.key = key
        self.cursor = transaction.cursor
        self.now = transaction.readAt
        self.isComplete = !isCut && first?.operation == .insert
        self.since =
            isCut || self.isComplete
            ? first?.at ?? transaction.readAt : try Self.start(of: view.feed, transaction)
        self.elements = timeline.elements
        self.states = timeline.states
    }

    /// Since when every change of the feed is in the log.
    private static func start(of feed: FeedDefinition, _ transaction: FeedTransaction) throws -> Int64 {
        let result = try transaction.connection.query(
            """
            SELECT (extract(epoch FROM greatest(f.attached_at, CASE WHEN $2 = '' THEN NULL ELSE coalesce(
                       (SELECT at FROM jobfeed.change ORDER BY xid LIMIT 1), clock_timestamp()) END)) * 1000000)::bigint
            FROM jobfeed.feed f WHERE f.name = $1
            """,
            // Until something was dropped, the log is whole.
            [feed.name, transaction.horizon == nil ? "" : "cut"]
        )
        return result.rowCount > 0 ? result.int64(0, 0) ?? transaction.readAt : transaction.readAt
    }

    // MARK: JSON

    func json(limit: Int) -> [UInt8] {
        var writer = MessageWriter(capacity: 4096)
        writer.beginObject()
        writer.member("key", self.key.string)
        writer.member("complete", self.isComplete)
        writer.member("since", Timestamp.iso8601(micros: self.since))
        writer.member("until", Timestamp.iso8601(micros: self.now))
        writer.beginArray("states")
        for state in self.states { writer.element { self.write(state, to: &$0) } }
        writer.endArray()
        writer.beginObject("seconds")
        for (status, micros) in self.durations { writer.member(status, json: Self.seconds(micros)[...]) }
        writer.endObject()
        writer.beginArray("changes")
        for element in self.elements.suffix(limit) { writer.element(json: element) }
        writer.endArray()
        writer.member("truncated", self.elements.count > limit)
        writer.member("cursor", self.cursor.encoded())
        writer.endObject()
        return writer.bytes
    }

    private func write(_ state: State, to json: inout [UInt8]) {
        func time(_ micros: Int64?) -> [UInt8] {
            micros.map { MessageWriter.quoted(Timestamp.iso8601(micros: $0)) } ?? Array("null".utf8)
        }
        var writer = MessageWriter()
        writer.beginObject()
        writer.member("status", state.status)
        writer.member("since", json: time(state.since)[...])
        writer.member("until", json: time(state.until)[...])
        writer.member("seconds", json: self.micros(state).map(Self.seconds)?[...] ?? Array("null".utf8)[...])
        writer.endObject()
        json.append(contentsOf: writer.bytes)
    }

    /// Clocks of two transactions may stand the wrong way round.
    private func micros(_ state: State) -> Int64? { state.since.map { max(0, (state.until ?? self.now) - $0) } }

    /// By status, in the order of their coming; times whose beginning is not known are not in.
    private var durations: [(status: String, micros: Int64)] {
        var durations: [(status: String, micros: Int64)] = []
        for state in self.states {
            guard let micros = self.micros(state) else { continue }
            if let place = durations.firstIndex(where: { $0.status == state.status }) {
                durations[place].micros += micros
            } else {
                durations.append((state.status, micros))
            }
        }
        return durations
    }

    private static func seconds(_ micros: Int64) -> [UInt8] {
        let fraction = String(micros % 1_000_000 + 1_000_000).dropFirst()
        return Array("\(micros / 1_000_000).\(fraction)".utf8)
    }
}

extension JobHistory {
    /// Changes as a subscription to the row would be told of them, one transaction after the other.
    struct Timeline {
        private let view: View
        private let shape: Shape
        private(set) var elements: [[UInt8]] = []
        private(set) var states: [State] = []
        private var isVisible = false

        init(_ view: View) {
            self.view = view
            self.shape = Shape(view, NativeEncoding())
        }

        var isEmpty: Bool { self.elements.isEmpty && self.states.isEmpty }

        mutating func append(_ step: WhyHistory.Step) {
            for change in step.changes {
                guard let delta = self.view.delta(for: change) else { continue }
                self.append(change, delta)
            }
            let truncation = step.transaction.records.last { $0.operation == .truncate }
            if let truncation, self.isVisible, step.rowAfter == nil {
                self.close(at: truncation.at)
                self.isVisible = false
                var leave = Array(#"{"op":"leave","key":"#.utf8)
                MessageWriter.quote(self.view.key?.string ?? "", to: &leave)
                leave.append(#","reason":"truncate"}"#)
                self.add(leave, at: truncation.at)
            }
        }

        /// The log knows nothing, the table does.
        mutating func begin(with row: Row) {
            self.open(row[self.view.feed.status], at: nil)
        }

        private mutating func append(_ change: Feed.Change, _ delta: View.Delta) {
            let status = self.view.feed.status
            switch delta {
            case .enter:
                self.close(at: change.at)
                self.open(change.after(status), at: change.at)
                self.isVisible = true
            case .update(let columns):
                if self.states.isEmpty { self.open(change.before(status), at: nil) }
                if columns.contains(status) {
                    self.close(at: change.at)
                    self.open(change.after(status), at: change.at)
                }
                self.isVisible = true
            case .leave:
                if self.states.isEmpty { self.open(change.before(status), at: nil) }
                self.close(at: change.at)
                self.isVisible = false
            }
            guard let element = NativeEncoding().element(change, delta, self.shape) else { return }
            self.add(element, at: change.at)
        }

        private mutating func add(_ element: [UInt8], at: Int64) {
            self.elements.append(Array(#"{"at":"\#(Timestamp.iso8601(micros: at))","#.utf8) + element.dropFirst())
        }

        private mutating func open(_ status: JSONText?, at: Int64?) {
            guard self.view.columns.contains(self.view.feed.status) else { return }
            self.states.append(State(status: status?.scalarText ?? "", since: at, until: nil))
        }

        private mutating func close(at: Int64) {
            guard let last = self.states.indices.last, self.states[last].until == nil else { return }
            self.states[last].until = at
        }
    }
}
