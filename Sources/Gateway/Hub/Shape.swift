import Feed
import JobFeedProtocol

/// The columns that some groups show, and how the changes of the batch at hand read with them.
final class Shape {
    let columns: [String]
    /// How many groups have it.
    var users = 0
    /// `"name":` of each column.
    private let labels: [[UInt8]]

    init(_ columns: [String]) {
        self.columns = columns
        self.labels = columns.map { MessageWriter.quoted($0) + [UInt8(ascii: ":")] }
    }

    /// What stands in a `changes` frame for one change.
    func element(_ change: Feed.Change, _ delta: View.Delta) -> [UInt8] {
        var json: [UInt8] = []
        json.reserveCapacity(256)
        switch delta {
        case .enter(let reason):
            Self.open("enter", change.key, reason.rawValue, to: &json)
            self.write(change.row, as: "row", nil, to: &json)
        case .update(let columns):
            Self.open("update", change.key, nil, to: &json)
            self.write(change.row, as: "set", columns, to: &json)
        case .leave(let reason, let columns):
            Self.open("leave", change.key, reason.rawValue, to: &json)
            // By filter it carries its cause, even when that is in no column of the view.
            if reason == .filter { self.write(change.row, as: "set", columns, to: &json) }
        }
        json.append(UInt8(ascii: "}"))
        return json
    }

    private static func open(_ operation: StaticString, _ key: ByteText, _ reason: String?, to json: inout [UInt8]) {
        Self.write("{\"op\":\"", to: &json)
        Self.write(operation, to: &json)
        Self.write("\",\"key\":", to: &json)
        MessageWriter.quote(key.string, to: &json)
        if let reason {
            Self.write(",\"reason\":", to: &json)
            MessageWriter.quote(reason, to: &json)
        }
    }

    private static func write(_ text: StaticString, to json: inout [UInt8]) {
        text.withUTF8Buffer { json.append(contentsOf: $0) }
    }

    /// - Parameter chosen: in the order of ``columns``; `nil`: all of them.
    private func write(_ row: Row, as name: StaticString, _ chosen: [String]?, to json: inout [UInt8]) {
        Self.write(",\"", to: &json)
        Self.write(name, to: &json)
        Self.write("\":", to: &json)
        self.write(row, chosen, to: &json)
    }

    /// A row as an object.
    func write(_ row: Row, _ chosen: [String]? = nil, to json: inout [UInt8]) {
        json.append(UInt8(ascii: "{"))
        var isFirst = true
        var next = 0
        for (place, column) in self.columns.enumerated() {
            if let chosen {
                guard next < chosen.count, chosen[next] == column else { continue }
                next += 1
            }
            guard let value = row[column] else { continue }
            if !isFirst { json.append(UInt8(ascii: ",")) }
            isFirst = false
            json.append(contentsOf: self.labels[place])
            json.append(contentsOf: value.bytes)
        }
        json.append(UInt8(ascii: "}"))
    }
}

@available(*, unavailable)
extension Shape: Sendable {}

/// The elements of one batch, each encoded once for all who are told of a change in the same words.
struct Elements {
    private struct Key: Hashable {
        let place: Int
        let kind: UInt8
        let shape: ObjectIdentifier
    }

    private let changes: [Feed.Change]
    private var known: [Key: [UInt8]] = [:]

    init(_ changes: [Feed.Change]) {
        self.changes = changes
    }

    /// - Parameters:
    ///   - place: of the change in the batch.
    ///   - delta: what it means for a view of this shape. The columns of an update follow from change and shape.
    mutating func element(_ place: Int, _ delta: View.Delta, _ shape: Shape) -> [UInt8] {
        let key = Key(place: place, kind: Self.kind(delta), shape: ObjectIdentifier(shape))
        if let element = self.known[key] { return element }
        let element = shape.element(self.changes[place], delta)
        self.known[key] = element
        return element
    }

    private static func kind(_ delta: View.Delta) -> UInt8 {
        switch delta {
        case .enter(.created): 0
        case .enter(.filter): 1
        case .enter(.permission): 2
        case .update: 3
        case .leave(.deleted, _): 4
        case .leave(.filter, _): 5
        case .leave(.permission, _): 6
        }
    }
}
