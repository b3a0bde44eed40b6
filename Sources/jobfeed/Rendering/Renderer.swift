import JobFeedClient
import JobFeedProtocol

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Turns events into lines, and holds the rows that a line needs to be told from: what was the status before?
struct Renderer: Sendable {
    enum Format: Sendable, Equatable {
        case lines
        case json
    }

    struct Output: Sendable, Equatable {
        var lines: [String] = []
        /// For stderr.
        var notes: [String] = []
    }

    var format: Format
    var style: Style
    /// A live block shows the progress, so that a change of nothing else needs no line.
    var hasLiveBlock: Bool
    var statuses = Statuses()
    var statusColumn = "status"
    var localTime: @Sendable (Date) -> String

    private(set) var store = RowStore()

    static let progressColumn = "progress"
    /// Changes with every other column and says nothing that the time of the line does not.
    private static let silentColumns: Set = ["updated_at"]
    private static let labelColumns = ["path", "title", "name", "label"]

    mutating func render(_ event: Event, now: Date) -> Output {
        switch event {
        case .snapshot(let snapshot): return self.render(snapshot, now: now)
        case .changes(let batch):
            let time = batch.at.flatMap { Date(timestamp: $0) } ?? now
            let last = batch.changes.count - 1
            var output = Output()
            for (index, change) in batch.changes.enumerated() {
                // As on the wire: a cursor stands only where a step ends, where it is safe to resume from.
                let cursor = index == last ? batch.cursor : nil
                output.lines += self.line(change, cursor: cursor, at: batch.at, time: time)
            }
            return output
        case .counts(let counts, let cursor): return Output(lines: [self.line(counts, cursor: cursor, time: now)])
        case .connecting, .live, .behind, .reconnecting:
            return Output(notes: self.note(event, now: now).map { [$0] } ?? [])
        }
    }

    /// A snapshot after a gap is told as what changed meanwhile; the first one as rows that enter.
    private mutating func render(_ snapshot: Event.Snapshot, now: Date) -> Output {
        var output = Output()
        let difference = self.store.difference(to: snapshot)
        for (index, change) in difference.enumerated() {
            let cursor = index == difference.count - 1 ? snapshot.cursor : nil
            output.lines += self.line(change, cursor: cursor, at: nil, time: now)
        }
        self.store.replace(with: snapshot.rows)
        if snapshot.truncated {
            let message = "only the newest \(snapshot.rows.count) rows are shown; raise --limit for more"
            output.notes.append(self.format == .json ? Self.json(["event": "truncated"]) : message)
        }
        return output
    }

    private mutating func line(_ change: Change, cursor: String?, at: String?, time: Date) -> [String] {
        let before = self.store.apply(change)
        switch self.format {
        case .json: return [Self.json(change, cursor: cursor, at: at)]
        case .lines:
            // An update of a row beyond the limit is not part of this view.
            if case .update = change, before == nil { return [] }
            return self.text(change, before: before, time: time).map { [$0] } ?? []
        }
    }
}

// MARK: Lines

extension Renderer {
    private func text(_ change: Change, before: JSONObject?, time: Date) -> String? {
        let sign: String
        var words: [String]
        switch change {
        case .enter(_, let reason, let row):
            sign = self.style.paint("+", .green)
            words = [self.status(row[self.statusColumn])] + self.progress(row[Self.progressColumn])
            if let reason, reason != "created", reason != "snapshot" {
                words.append(self.style.paint("(\(DisplayText.sanitized(reason)))", .dim))
            }
        case .update(_, let set):
            let told = set.keys.filter { !Self.silentColumns.contains($0) }
            if told.isEmpty || self.hasLiveBlock && told == [Self.progressColumn] { return nil }
            sign = self.style.paint("~", .yellow)
            words = self.assignments(set, before: before)
        case .leave(_, let reason, let set):
            sign = self.style.paint("−", .red)
            words = [DisplayText.sanitized(reason ?? "gone")] + self.assignments(set ?? [:], before: before)
        }
        let time = self.style.paint(self.localTime(time), .dim)
        let key = self.style.paint(DisplayText.sanitized(change.key), .bold)
        let label = self.label(change.key, before).map { [$0] } ?? []
        return ([time, sign, key] + label + words).filter { !$0.isEmpty }.joined(separator: "  ")
    }

    private func assignments(_ set: JSONObject, before: JSONObject?) -> [String] {
        var words: [String] = []
        if let status = set[self.statusColumn] {
            let old = before?[self.statusColumn].flatMap { $0 == status ? nil : self.status($0) + " → " } ?? ""
            words.append(old + self.status(status))
        }
        words += self.progress(set[Self.progressColumn])
        for (column, value) in set where column != self.statusColumn && column != Self.progressColumn {
            if Self.silentColumns.contains(column) { continue }
            let text = DisplayText.truncated(DisplayText.sanitized(value.stringValue ?? value.encoded()), to: 60)
            words.append(self.style.paint("\(DisplayText.sanitized(column))=", .dim) + text)
        }
        return words
    }

    private func progress(_ value: JSONValue?) -> [String] {
        Progress.percent(value).map { ["\(Int($0)) %"] } ?? []
    }

    func status(_ value: JSONValue?) -> String {
        guard let value, !value.isNull else { return "" }
        let text = value.stringValue ?? value.encoded()
        let color: Style.Color =
            switch self.statuses.kind(of: text) {
            case .success: .green
            case .failure: .red
            case .underway: .cyan
            }
        return self.style.paint(DisplayText.sanitized(text), color)
    }

    /// What people call the job, when a column says so.
    func label(_ key: String, _ before: JSONObject? = nil) -> String? {
        let row = self.store[key] ?? before
        let text = Self.labelColumns.lazy.compactMap { row?[$0]?.stringValue }.first { !$0.isEmpty }
        return text.map { DisplayText.truncated(DisplayText.sanitized($0), to: 40) }
    }

    private func line(_ counts: [String: Int], cursor: String?, time: Date) -> String {
        let sorted = counts.sorted { $0.key < $1.key }
        if self.format == .json {
            let members = JSONObject(sorted.map { ($0.key, .number(String($0.value))) })
            let cursor = cursor.map(JSONValue.string) ?? .null
            return Self.json(["op": "counts", "counts": .object(members), "cursor": cursor])
        }
        let words = sorted.map { "\(self.status(.string($0.key))) \($0.value)" }
        return ([self.style.paint(self.localTime(time), .dim)] + words).joined(separator: "  ")
    }
}

// MARK: JSON

extension Renderer {
    private static func json(_ change: Change, cursor: String?, at: String?) -> String {
        var object: JSONObject
        switch change {
        case .enter(let key, let reason, let row):
            object = ["op": "enter", "key": .string(key), "reason": Self.value(reason), "row": .object(row)]
        case .update(let key, let set):
            object = ["op": "update", "key": .string(key), "reason": .null, "set": .object(set)]
        case .leave(let key, let reason, let set):
            object = ["op": "leave", "key": .string(key), "reason": Self.value(reason)]
            object["set"] = set.map(JSONValue.object)
        }
        object["cursor"] = Self.value(cursor)
        object["at"] = Self.value(at)
        return Self.json(object)
    }

    private static func value(_ text: String?) -> JSONValue { text.map(JSONValue.string) ?? .null }

    static func json(_ object: JSONObject) -> String { object.encoded() }
}
