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
    /// Whatever the reason, no connection holds more; a larger batch comes again as a replay, which is bulk.
    private static let maximumLiveBytes = 32 << 20

    private struct Waiting {
        let frame: OutboundFrame
        let isBulk: Bool
        let since: NIODeadline
    }

    private var waiting: Deque<Waiting> = []
    /// Waiting bytes that are not part of a snapshot or a replay.
    private var liveBytes = 0

    var isEmpty: Bool { self.waiting.isEmpty }

    /// Whether the peer does not read as fast as its subscriptions change: more than `limit` bytes wait, and have for
    /// longer than one large batch takes. What waits behind a snapshot is not held against it: a socket that takes
    /// nothing at all is closed by the connection itself.
    func isTooSlow(limit: Int, now: NIODeadline) -> Bool {
        guard let first = self.waiting.first else { return false }
        if self.liveBytes > Self.maximumLiveBytes { return true }
        return !first.isBulk && self.liveBytes > limit && now - first.since > Self.patience
    }

    mutating func send(
        _ frame: OutboundFrame,
        inBulk isBulk: Bool,
        to connection: any ClientConnection,
        now: NIODeadline
    ) {
        if self.waiting.isEmpty, connection.queuedBytes < Self.windowBytes {
            connection.send(frame)
            return
        }
        self.waiting.append(Waiting(frame: frame, isBulk: isBulk, since: now))
        if !isBulk { self.liveBytes += frame.bytes.readableBytes }
    }

    mutating func drain(to connection: any ClientConnection) {
        while connection.queuedBytes < Self.windowBytes, let next = self.waiting.popFirst() {
            if !next.isBulk { self.liveBytes -= next.frame.bytes.readableBytes }
            connection.send(next.frame)
        }
    }
}
