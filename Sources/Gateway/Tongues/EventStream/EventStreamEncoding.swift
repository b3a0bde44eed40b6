import Feed
import JobFeedProtocol
import NIOCore
import WebSocketTransport

/// The objects of `jobfeed.v1` as server-sent events.
struct EventStreamEncoding: RowEncoding {
    private static let changes = EventStreamText.head("changes")

    private let native = NativeEncoding()

    var name: String { "sse" }

    func head(of request: Subscribe) -> [UInt8] { Self.changes + self.native.head(of: request) }

    func element(_ change: Feed.Change, _ delta: View.Delta, _ shape: Shape) -> [UInt8]? {
        self.native.element(change, delta, shape)
    }

    func tails(cursor: String, _ elements: [(at: Int64, json: [UInt8])]) -> [[UInt8]] {
        Self.ended(self.native.tails(cursor: cursor, elements), cursor)
    }

    func tails(cursor: String, at: Int64, counts: [(status: String, count: Int)]) -> [[UInt8]] {
        Self.ended(self.native.tails(cursor: cursor, at: at, counts: counts), cursor)
    }

    /// The cursor holds for the last one alone.
    private static func ended(_ tails: [[UInt8]], _ cursor: String) -> [[UInt8]] {
        tails.enumerated().map { place, tail in
            EventStreamText.end(tail, cursor: place == tails.count - 1 ? cursor : nil)
        }
    }

    func frame(head: [UInt8], tail: [UInt8]) -> OutboundFrame { EventStreamText.frame(head, tail) }

    func snapshot(of request: Subscribe, _ rows: [Row], isTruncated: Bool, _ shape: Shape) -> [OutboundFrame] {
        Self.events(self.native.snapshot(of: request, rows, isTruncated: isTruncated, shape))
    }

    func snapshot(of request: Subscribe, counts: [(status: String, count: Int)]) -> [OutboundFrame] {
        Self.events(self.native.snapshot(of: request, counts: counts))
    }

    private static func events(_ frames: [OutboundFrame]) -> [OutboundFrame] {
        frames.map { EventStreamText.event("snapshot", Array($0.payload.readableBytesView)) }
    }
}
