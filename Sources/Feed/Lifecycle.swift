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
        package let name: String
        package let typeName: String
        /// The table's columns that it is computed from; who may not see one of them may not see it.
        package let sources: [String]
    }

    /// - Parameter status: the table's status column.
    func columns(status: String) -> [Column] {
        var columns = [
            Column(name: "state", typeName: "text", sources: [status]),
            Column(name: "class", typeName: "text", sources: [status]),
        ]
        if let attempts {
            let sources = [attempts.failed, attempts.limit]
            columns.append(Column(name: "max_attempts", typeName: "numeric", sources: [attempts.limit]))
            columns.append(Column(name: "will_retry", typeName: "boolean", sources: [status] + sources))
        }
        for (name, moment) in [("next_attempt_at", self.next_attempt), ("stalled_at", self.stalled)] {
            guard let moment else { continue }
            let sources = [status] + moment.at + [moment.delay].compactMap { $0 }
            columns.append(Column(name: name, typeName: "timestamp with time zone", sources: sources))
        }
        return columns
    }

    /// The value of one of ``columns(status:)``.
    func value(of column: String, status: String, _ row: (String) -> JSONText?) -> JSONText {
        let state = row(status)?.scalarText.flatMap { self.states[$0] }
        switch column {
        case "state": return state.map { JSONText("\"\($0.rawValue)\"") } ?? .null
        case "class": return state.map { JSONText("\"\($0.phase.rawValue)\"") } ?? .null
        case "max_attempts": return self.attempts?.most(row).map { JSONText(Self.text($0)) } ?? .null
        case "will_retry":
            guard let phase = state?.phase else { return .null }
            guard phase != .terminal else { return JSONText("false") }
            guard self.attempts?.by == nil else { return JSONText("false") }
            return self.attempts?.isFollowed(row).map { JSONText($0 ? "true" : "false") } ?? .null
        case "next_attempt_at": return state?.phase == .waiting ? self.next_attempt?.value(row) ?? .null : .null
        case "stalled_at": return state?.phase == .active ? self.stalled?.value(row) ?? .null : .null
        default: return .null
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
        switch column {
        case "state": return states.map { ($0.key, $0.value.rawValue) }
        case "class": return states.map { ($0.key, $0.value.phase.rawValue) }
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
        guard let text = start.scalarText, let micros = Instant.microseconds(text) else { return nil }
        // Infinity stays what it is.
        guard micros != .max, micros != .min else { return start }
        var delay = 0.0
        if let column = self.delay, let value = row(column), !value.isNull {
            guard let units = value.double else { return nil }
            delay = units * (self.unit == .ms ? 1e3 : 1e6)
        }
        // From the year 1 to the year 9999, whose text sorts as it should.
        let sum = Double(micros) + delay
        guard sum > -62_135_596_800e6, sum < 253_402_300_799e6 else { return nil }
        return JSONText("\"\(Timestamp.postgres(micros: micros + Int64(delay)))\"")
    }
}

extension JSONText {
    static let null = JSONText("null")

    fileprivate var double: Double? { self.scalarText.flatMap { Double($0) }.flatMap { $0.isFinite ? $0 : nil } }
}
