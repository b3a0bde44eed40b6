import DequeModule
import NIOCore
import WebSocketTransport

/// Frames that wait before the connection's own queue: snapshots go out as the socket takes them, and what follows
/// keeps its place behind them.
struct Outbox {
    /// The connection is handed no more than this at once.
    private static let windowBytes = 256 << 10

    private var waiting: Deque<(frame: OutboundFrame, isBulk: Bool)> = []
    /// Waiting bytes that are not part of a snapshot or a replay: a reader that keeps up has few of them.
    private(set) var liveBytes = 0

    var isEmpty: Bool { self.waiting.isEmpty }

    mutating func send(_ frame: OutboundFrame, inBulk isBulk: Bool, to connection: WebSocketConnection) {
        if self.waiting.isEmpty, connection.queuedBytes < Self.windowBytes {
            connection.send(frame)
            return
        }
        self.waiting.append((frame, isBulk))
        if !isBulk { self.liveBytes += frame.bytes.readableBytes }
    }

    mutating func drain(to connection: WebSocketConnection) {
        while connection.queuedBytes < Self.windowBytes, let next = self.waiting.popFirst() {
            if !next.isBulk { self.liveBytes -= next.frame.bytes.readableBytes }
            connection.send(next.frame)
        }
    }
}
