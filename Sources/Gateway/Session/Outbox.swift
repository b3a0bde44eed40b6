import DequeModule
import NIOCore
import WebSocketTransport

/// Frames that wait before the connection's own queue: snapshots and large batches go out as the socket takes them, and
/// what follows keeps its place behind them.
struct Outbox {
    /// The connection is handed no more than this at once.
    private static let windowBytes = 256 << 10
    /// A reader that keeps up has no live frame waiting for so long.
    private static let patience = TimeAmount.seconds(3)
    /// Whatever the reason, no connection holds more.
    private static let maximumBytes = 32 << 20

    private struct Waiting {
        let frame: OutboundFrame
        let isBulk: Bool
        let since: NIODeadline
    }

    private var waiting: Deque<Waiting> = []
    private var bytes = 0
    /// Waiting bytes that are not part of a snapshot or a replay.
    private var liveBytes = 0

    var isEmpty: Bool { self.waiting.isEmpty }

    /// Whether the peer does not read as fast as its subscriptions change: more than `limit` bytes wait, and have for
    /// longer than one large batch takes.
    func isTooSlow(limit: Int, now: NIODeadline) -> Bool {
        guard let first = self.waiting.first else { return false }
        return self.bytes > Self.maximumBytes || self.liveBytes > limit && now - first.since > Self.patience
    }

    mutating func send(
        _ frame: OutboundFrame,
        inBulk isBulk: Bool,
        to connection: WebSocketConnection,
        now: NIODeadline
    ) {
        if self.waiting.isEmpty, connection.queuedBytes < Self.windowBytes {
            connection.send(frame)
            return
        }
        self.waiting.append(Waiting(frame: frame, isBulk: isBulk, since: now))
        self.bytes += frame.bytes.readableBytes
        if !isBulk { self.liveBytes += frame.bytes.readableBytes }
    }

    mutating func drain(to connection: WebSocketConnection) {
        while connection.queuedBytes < Self.windowBytes, let next = self.waiting.popFirst() {
            self.bytes -= next.frame.bytes.readableBytes
            if !next.isBulk { self.liveBytes -= next.frame.bytes.readableBytes }
            connection.send(next.frame)
        }
    }
}
