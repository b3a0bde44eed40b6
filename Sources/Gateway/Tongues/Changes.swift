import Feed
import JobFeedProtocol
import NIOCore
import WebSocketTransport

/// What some subscriptions are told of one step, without the one thing that differs among them: the head of each frame.
struct Changes {
    private let encoding: any RowEncoding
    private let tails: [[UInt8]]

    init(cursor: String, _ elements: [(at: Int64, json: [UInt8])], _ encoding: any RowEncoding) {
        self.encoding = encoding
        self.tails = elements.isEmpty ? [] : encoding.tails(cursor: cursor, elements)
    }

    init(cursor: String, _ steps: [Coalescer.Step], _ shape: Shape) {
        let elements = steps.compactMap { change, delta in
            shape.encoding.element(change, delta, shape).map { (at: change.at, json: $0) }
        }
        self.init(cursor: cursor, elements, shape.encoding)
    }

    /// - Parameter statuses: whose counts are others now; none gives no frame.
    init(cursor: String, at: Int64, _ statuses: Set<ByteText>, of counts: StatusCounts, _ encoding: any RowEncoding) {
        let changed = statuses.map { (status: $0.string, count: counts.counts[$0, default: 0]) }
        self.encoding = encoding
        self.tails =
            statuses.isEmpty
            ? [] : encoding.tails(cursor: cursor, at: at, counts: changed.sorted { $0.status < $1.status })
    }

    var isEmpty: Bool { self.tails.isEmpty }

    func frames(head: [UInt8]) -> [OutboundFrame] {
        self.tails.map { self.encoding.frame(head: head, tail: $0) }
    }
}

extension Sequence<OutboundFrame> {
    var byteCount: Int { self.reduce(0) { $0 + $1.bytes.readableBytes } }
}
