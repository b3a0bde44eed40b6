import Feed
import JobFeedProtocol

/// What is alike in all that some groups are told: the feed, the columns, and the way they are written.
final class Shape {
    struct Key: Hashable {
        let feed: String
        let revision: String
        let columns: [String]
        let encoding: String

        init(_ view: View, _ encoding: any RowEncoding) {
            self.feed = view.feed.name
            self.revision = view.feed.revision
            self.columns = view.columns
            self.encoding = encoding.name
        }
    }

    let key: Key
    let feed: FeedDefinition
    let columns: [String]
    let encoding: any RowEncoding
    /// How many groups have it.
    var users = 0
    /// `"name":` of each column.
    private let labels: [[UInt8]]

    init(_ view: View, _ encoding: any RowEncoding) {
        self.key = Key(view, encoding)
        self.feed = view.feed
        self.columns = view.columns
        self.encoding = encoding
        self.labels = view.columns.map { MessageWriter.quoted($0) + [UInt8(ascii: ":")] }
    }

    /// What the encoding says of every change alike.
    private(set) lazy var preamble = self.encoding.preamble(of: self)

    /// A row as an object.
    ///
    /// - Parameter chosen: in the order of ``columns``; `nil`: all of them.
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
    private var known: [Key: [UInt8]?] = [:]

    init(_ changes: [Feed.Change]) {
        self.changes = changes
    }

    /// - Parameters:
    ///   - place: of the change in the batch.
    ///   - delta: what it means for a view of this shape. The columns of an update follow from change and shape.
    mutating func element(_ place: Int, _ delta: View.Delta, _ shape: Shape) -> [UInt8]? {
        let key = Key(place: place, kind: Self.kind(delta), shape: ObjectIdentifier(shape))
        if let element = self.known[key] { return element }
        let element = shape.encoding.element(self.changes[place], delta, shape)
        self.known[key] = .some(element)
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

extension [UInt8] {
    mutating func append(_ text: StaticString) {
        text.withUTF8Buffer { self.append(contentsOf: $0) }
    }
}
