import Feed
import JobFeedProtocol
import NIOCore
import WebSocketTransport

/// Writes the frames of one subscription class; what Postgres wrote passes through as it is.
enum FrameEncoder {
    /// Larger batches and snapshots are cut into frames of about this size.
    static let frameBytes = 48 << 10

    static func frame(_ json: [UInt8]) -> OutboundFrame {
        OutboundFrame.text(capacity: json.count) { $0.writeBytes(json) }
    }

    /// - Returns: frames of which only the last carries the cursor; none without deltas.
    static func changes(
        id: String,
        cursor: String,
        deltas: [(change: Feed.Change, delta: View.Delta)],
        view: View
    ) -> [OutboundFrame] {
        guard !deltas.isEmpty else { return [] }
        var frames: [OutboundFrame] = []
        var index = 0
        while index < deltas.count {
            var body = MessageWriter(capacity: 512)
            var at = Int64.min
            var elements: [[UInt8]] = []
            var bytes = 0
            while index < deltas.count, bytes < self.frameBytes {
                let (change, delta) = deltas[index]
                let element = self.element(change, delta, view)
                elements.append(element)
                bytes += element.count
                at = max(at, change.at)
                index += 1
            }
            body.beginObject()
            body.member("type", "changes")
            body.member("id", id)
            if index == deltas.count { body.member("cursor", cursor) }
            body.member("at", Timestamp.iso8601(micros: at))
            body.beginArray("changes")
            for element in elements { body.element(json: element) }
            body.endArray()
            body.endObject()
            frames.append(self.frame(body.bytes))
        }
        return frames
    }

    private static func element(_ change: Feed.Change, _ delta: View.Delta, _ view: View) -> [UInt8] {
        var writer = MessageWriter(capacity: 256)
        writer.beginObject()
        switch delta {
        case .enter(let reason):
            writer.member("op", "enter")
            writer.member("key", change.key.string)
            writer.member("reason", reason.rawValue)
            self.write(change.row, "row", view.columns, to: &writer)
        case .update(let columns):
            writer.member("op", "update")
            writer.member("key", change.key.string)
            self.write(change.row, "set", columns, to: &writer)
        case .leave(let reason, let columns):
            // By filter it carries its cause, even when that is in no column of the view.
            writer.member("op", "leave")
            writer.member("key", change.key.string)
            writer.member("reason", reason.rawValue)
            if reason == .filter { self.write(change.row, "set", columns, to: &writer) }
        }
        writer.endObject()
        return writer.bytes
    }

    private static func write(_ row: Row, _ name: String?, _ columns: [String], to writer: inout MessageWriter) {
        writer.beginObject(name)
        for column in columns {
            if let value = row[column] { writer.member(column, json: value.bytes) }
        }
        writer.endObject()
    }

    static func snapshot(id: String, rows: [Row], truncated: Bool, view: View) -> [OutboundFrame] {
        var frames: [OutboundFrame] = []
        var index = 0
        repeat {
            var writer = MessageWriter(capacity: 4096)
            writer.beginObject()
            writer.member("type", "snapshot")
            writer.member("id", id)
            let first = index
            writer.beginArray("rows")
            while index < rows.count, writer.count < self.frameBytes {
                self.write(rows[index], nil, view.columns, to: &writer)
                index += 1
            }
            writer.endArray()
            writer.beginArray("keys")
            for row in rows[first..<index] { writer.element(row.keyText(view.feed.key)?.string ?? "") }
            writer.endArray()
            writer.member("truncated", truncated)
            writer.endObject()
            frames.append(self.frame(writer.bytes))
        } while index < rows.count
        return frames
    }

    static func counts(
        id: String,
        cursor: String,
        at: Int64,
        statuses: Set<ByteText>,
        counts: StatusCounts
    ) -> OutboundFrame {
        let changed = statuses.map { (status: $0.string, count: counts.counts[$0, default: 0]) }.sorted {
            $0.status < $1.status
        }
        return self.frame(
            MessageWriter.changes(id: id, cursor: cursor, at: Timestamp.iso8601(micros: at), counts: changed)
        )
    }
}
