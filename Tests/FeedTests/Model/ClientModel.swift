import Feed

/// What a client holds that does as it is told, and what it was told.
struct ClientModel {
    let view: View
    private(set) var rows: [ByteText: [String: JSONText]]
    private(set) var counts: StatusCounts
    /// Per job, in the order of arrival.
    private(set) var transitions: [ByteText: [String]] = [:]
    private(set) var mistakes: [String] = []

    /// A client whose snapshot was read at `world`.
    init(view: View, at world: World) {
        self.view = view
        self.rows = world.rows(of: view)
        self.counts = StatusCounts(Self.count(self.rows))
    }

    static func count(_ rows: [ByteText: [String: JSONText]]) -> [ByteText: Int] {
        Dictionary(grouping: rows.values, by: { $0["status"]?.byteText ?? "" }).mapValues(\.count)
    }

    /// - Returns: what was wrong; empty when all is well.
    mutating func apply(_ changes: [Change], of span: Span) -> [String] {
        self.mistakes = []
        self.transitions = [:]
        for change in changes {
            guard let delta = self.view.delta(for: change) else { continue }
            self.apply(delta, change, span)
        }
        let announced = self.counts.apply(changes, in: self.view)
        self.compare(with: span, announced)
        return self.mistakes
    }

    private mutating func apply(_ delta: View.Delta, _ change: Change, _ span: Span) {
        let key = change.key
        switch delta {
        case .enter:
            if self.rows[key] != nil { self.mistakes.append("job \(key) entered twice") }
            if self.view.columns.contains(where: { change.row[$0] == nil }) {
                self.mistakes.append("job \(key) entered in parts")
            }
            self.see(key, self.view.columns, change, span)
            self.rows[key] = [:]
            self.assign(self.view.columns, change)
            self.transitions[key, default: []].append("enter " + (change.row["status"]?.scalarText ?? ""))
        case .update(let columns):
            if self.rows[key] == nil { self.mistakes.append("job \(key) was updated, but never entered") }
            if columns.isEmpty { self.mistakes.append("job \(key) got an update of nothing") }
            self.see(key, columns, change, span)
            self.assign(columns, change)
            if columns.contains("status") {
                self.transitions[key, default: []].append(change.row["status"]?.scalarText ?? "")
            }
        case .leave(let reason, let columns):
            if self.rows.removeValue(forKey: key) == nil { self.mistakes.append("job \(key) left, but never entered") }
            if reason != .filter, !columns.isEmpty { self.mistakes.append("a leave by \(reason) says why") }
            self.see(key, columns, change, span)
            self.transitions[key, default: []].append("leave")
        }
    }

    private mutating func assign(_ columns: [String], _ change: Change) {
        for column in columns where !self.view.feed.quiet.contains(column) {
            self.rows[change.key]?[column] = change.row[column]
        }
    }

    /// Nothing may be shown that its receiver could not have selected.
    private mutating func see(_ key: ByteText, _ columns: [String], _ change: Change, _ span: Span) {
        guard case .account(let user, _) = self.view.viewer, !columns.isEmpty else { return }
        if !self.view.feed.hidden.isDisjoint(with: columns) {
            self.mistakes.append("hidden columns of \(key) are sent")
        }
        let isPermitted = span.permitted(job: key, to: user).contains { version in
            columns.allSatisfy { self.view.feed.quiet.contains($0) || change.row[$0] == version[$0] }
        }
        if !isPermitted { self.mistakes.append("\(user) was shown \(columns) of job \(key)") }
    }

    private mutating func compare(with span: Span, _ announced: Set<ByteText>) {
        let truth = span.truth.rows(of: self.view)
        if self.rows != truth { self.mistakes.append("holds \(Self.text(self.rows)), truth is \(Self.text(truth))") }
        let expected = Self.count(truth)
        if self.counts.counts.filter({ $0.value != 0 }) != expected {
            self.mistakes.append("counts \(self.counts.counts), truth is \(expected)")
        }
        let before = Self.count(span.states[0].rows(of: self.view))
        let different = Set(before.keys).union(expected.keys).filter {
            before[$0, default: 0] != expected[$0, default: 0]
        }
        if announced != different { self.mistakes.append("announces counts of \(announced), not of \(different)") }
        self.checkTransitions(span)
    }

    private static func text(_ rows: [ByteText: [String: JSONText]]) -> String {
        let texts = rows.map { key, row in
            key.string + ": "
                + row.filter { !$0.value.isNull }.map { "\($0.key)=\($0.value.scalarText ?? "")" }.sorted().joined(
                    separator: " "
                )
        }
        return "[" + texts.sorted().joined(separator: "; ") + "]"
    }

    /// Who owned a job all the while saw each step of it once, in order.
    private mutating func checkTransitions(_ span: Span) {
        guard self.view.filter == .everything, self.view.key == nil else { return }
        for key in Set(span.batch.records.filter { $0.operation != .ownerPath }.map(\.key)) {
            if case .account(let user, _) = self.view.viewer {
                guard span.ownersEver(ofJob: key) == [user] else { continue }
            }
            let expected = span.transitions(ofJob: key, forOperator: self.view.viewer == .operator)
            let seen = self.transitions[key, default: []]
            if seen != expected { self.mistakes.append("saw \(seen) of job \(key), which went through \(expected)") }
        }
    }
}
