/// What the columns of a job mean in words that all job systems share.
///
/// The columns that it adds to a row are a function of that row alone, never of the clock: a row is not delayed or
/// stalled because it says so but because a moment that it names has come, or has not.
package struct Lifecycle: Sendable, Equatable, Decodable {
    package enum State: String, Sendable, CaseIterable, Decodable {
        case scheduled, pending, running, succeeded, failed, dead, cancelled

        package var phase: Phase {
            switch self {
            case .scheduled, .pending: .waiting
            case .running: .active
            case .succeeded, .failed, .dead, .cancelled: .terminal
            }
        }
    }

    /// Column `class`.
    package enum Phase: String, Sendable, CaseIterable {
        case waiting, active, terminal
    }

    package struct Attempts: Sendable, Equatable, Decodable {
        package enum Counting: String, Sendable, Decodable {
            case attempts, retries
        }

        /// How many attempts have failed.
        let failed: String
        let limit: String
        /// What the limit counts: all attempts, or those after the first.
        let counts: Counting
        /// Who has a failed job attempted again; `nil`: the system does.
        let by: By?

        package enum By: String, Sendable, Decodable {
            case hand
        }
    }

    package struct Moment: Sendable, Equatable, Decodable {
        package enum Unit: String, Sendable, Decodable {
            case ms, s
        }

        /// The first of these that is not null …
        let at: [String]
        /// … and so many units later.
        let delay: String?
        let unit: Unit?
    }

    let states: [String: State]
    let attempts: Attempts?
    let next_attempt: Moment?
    let stalled: Moment?

    package init(states: [String: State], attempts: Attempts?, nextAttempt: Moment?, stalled: Moment?) {
        self.states = states
        self.attempts = attempts
        self.next_attempt = nextAttempt
        self.stalled = stalled
    }

    /// A column that a table does not have.
    package struct Column: Sendable, Equatable {
        package enum Kind: String, Sendable {
            case state
            case phase = "class"
            case most = "max_attempts"
            case willRetry = "will_retry"
            case nextAttempt = "next_attempt_at"
            case stalled = "stalled_at"
        }

        let kind: Kind
        package let name: String
        package let typeName: String
        /// The table's columns that it is computed from; who may not see one of them may not see it.
        package let sources: [String]

        init(_ kind: Kind, _ typeName: String, _ sources: [String]) {
            self.kind = kind
            self.name = kind.rawValue
            self.typeName = typeName
            self.sources = sources
        }
    }

    /// - Parameter status: the table's status column.
    func columns(status: String) -> [Column] {
        var columns = [Column(.state, "text", [status]), Column(.phase, "text", [status])]
        if let attempts {
            columns.append(Column(.most, "numeric", [attempts.limit]))
            columns.append(Column(.willRetry, "boolean", [status, attempts.failed, attempts.limit]))
        }
        for (kind, moment) in [(Column.Kind.nextAttempt, self.next_attempt), (.stalled, self.stalled)] {
            guard let moment else { continue }
            let sources = [status] + moment.at + [moment.delay].compactMap { $0 }
            columns.append(Column(kind, "timestamp with time zone", sources))
        }
        return columns
    }

    /// - Parameter state: of the row's status.
    func value(of column: Column, _ state: State?, _ row: (String) -> JSONText?) -> JSONText {
        switch column.kind {
        case .state: return state?.json ?? .null
        case .phase: return state?.phase.json ?? .null
        case .most: return self.attempts?.most(row).map { JSONText(Self.text($0)) } ?? .null
        case .willRetry:
            guard let phase = state?.phase else { return .null }
            guard phase != .terminal, self.attempts?.by == nil else { return .no }
            return self.attempts?.isFollowed(row).map { $0 ? .yes : .no } ?? .null
        case .nextAttempt: return state?.phase == .waiting ? self.next_attempt?.value(row) ?? .null : .null
        case .stalled: return state?.phase == .active ? self.stalled?.value(row) ?? .null : .null
        }
    }

    /// The statuses that a word of a status channel stands for: itself when the system has it, else those of the state
    /// or of the class; `nil` for a word that is unknown here.
    package func statuses(_ word: String) -> [String]? {
        if self.states[word] != nil { return [word] }
        if let state = State(rawValue: word) { return self.statuses { $0 == state } }
        if let phase = Phase(rawValue: word) { return self.statuses { $0.phase == phase } }
        return nil
    }

    private func statuses(_ isMeant: (State) -> Bool) -> [String] {
        self.states.filter { isMeant($0.value) }.map(\.key).sorted()
    }

    /// Statuses and what `state` or `class` is then.
    package func values(of column: String) -> [(status: String, value: String)]? {
        let states = self.states.sorted { $0.key < $1.key }
        switch Column.Kind(rawValue: column) {
        case .state: return states.map { ($0.key, $0.value.rawValue) }
        case .phase: return states.map { ($0.key, $0.value.phase.rawValue) }
        default: return nil
        }
    }

    private static func text(_ number: Double) -> String {
        Int64(exactly: number).map { String($0) } ?? String(number)
    }
}

extension Lifecycle.Attempts {
    /// How often a job may be attempted, at least once.
    func most(_ row: (String) -> JSONText?) -> Double? {
        row(self.limit)?.double.map { max(1, $0 + (self.counts == .retries ? 1 : 0)) }
    }

    /// Whether another attempt follows if the one that runs, or comes next, fails.
    func isFollowed(_ row: (String) -> JSONText?) -> Bool? {
        guard let failed = row(self.failed)?.double, let most = self.most(row) else { return nil }
        return failed + 1 < most
    }
}

extension Lifecycle.Moment {
    func value(_ row: (String) -> JSONText?) -> JSONText? {
        guard let start = self.at.lazy.compactMap(row).first(where: { !$0.isNull }) else { return nil }
        var delay = 0.0
        if let column = self.delay, let value = row(column), !value.isNull {
            guard let units = value.double else { return nil }
            delay = units * (self.unit == .ms ? 1e3 : 1e6)
        }
        // What Postgres wrote in UTC is what is to be written: parsing it takes most of the time that a change does.
        if delay == 0, start.isUTC { return start }
        guard let text = start.scalarText, let micros = Instant.microseconds(text) else { return nil }
        // Infinity stays what it is.
        guard micros != .max, micros != .min else { return start }
        // From the year 1 to the year 9999, whose text sorts as it should.
        let sum = Double(micros) + delay
        guard sum > -62_135_596_800e6, sum < 253_402_300_799e6 else { return nil }
        return JSONText("\"\(Timestamp.postgres(micros: micros + Int64(delay)))\"")
    }
}

extension Lifecycle.State {
    private static let texts = Dictionary(
        uniqueKeysWithValues: Self.allCases.map { ($0, JSONText("\"\($0.rawValue)\"")) }
    )

    fileprivate var json: JSONText { Self.texts[self] ?? .null }
}

extension Lifecycle.Phase {
    private static let texts = Dictionary(
        uniqueKeysWithValues: Self.allCases.map { ($0, JSONText("\"\($0.rawValue)\"")) }
    )

    fileprivate var json: JSONText { Self.texts[self] ?? .null }
}

extension JSONText {
    static let null = JSONText("null")
    fileprivate static let yes = JSONText("true")
    fileprivate static let no = JSONText("false")
    private static let utc = Array("+00:00\"".utf8)

    fileprivate var isUTC: Bool { self.bytes.suffix(Self.utc.count).elementsEqual(Self.utc) }

    fileprivate var double: Double? { self.scalarText.flatMap { Double($0) }.flatMap { $0.isFinite ? $0 : nil } }
}
