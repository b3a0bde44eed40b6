import Feed
import JobFeedProtocol
import NIOCore
import WebSocketTransport

/// `changes` and `snapshot` of `jobfeed.v1`; what Postgres wrote passes through as it is.
struct NativeEncoding: RowEncoding {
    /// Larger batches and snapshots are cut into frames of about this size.
    static let frameBytes = 48 << 10

    var name: String { "native" }

    private static let head = Array(#"{"type":"changes","id":"#.utf8)

    func head(of request: Subscribe) -> [UInt8] {
        var head = Self.head
        MessageWriter.quote(request.id, to: &head)
        return head
    }

    func frame(head: [UInt8], tail: [UInt8]) -> OutboundFrame {
        OutboundFrame.text(capacity: head.count + tail.count) { buffer in
            buffer.writeBytes(head)
            buffer.writeBytes(tail)
        }
    }

    // MARK: Changes

    func element(_ change: Feed.Change, _ delta: View.Delta, _ shape: Shape) -> [UInt8]? {
        var json: [UInt8] = []
        json.reserveCapacity(256)
        switch delta {
        case .enter(let reason):
            Self.open("enter", change.key, reason.rawValue, to: &json)
            Self.write(change.row, as: "row", nil, shape, to: &json)
        case .update(let columns):
            Self.open("update", change.key, nil, to: &json)
            Self.write(change.row, as: "set", columns, shape, to: &json)
        case .leave(let reason, let columns):
            Self.open("leave", change.key, reason.rawValue, to: &json)
            // By filter it carries its cause, even when that is in no column of the view.
            if reason == .filter { Self.write(change.row, as: "set", columns, shape, to: &json) }
        }
        json.append(UInt8(ascii: "}"))
        return json
    }

    private static func open(_ operation: StaticString, _ key: ByteText, _ reason: String?, to json: inout [UInt8]) {
        json.append("{\"op\":\"")
        json.append(operation)
        json.append("\",\"key\":")
        MessageWriter.quote(key.string, to: &json)
        if let reason {
            json.append(",\"reason\":")
            MessageWriter.quote(reason, to: &json)
        }
    }

    private static func write(
        _ row: Row,
        as name: StaticString,
        _ chosen: [String]?,
        _ shape: Shape,
        to json: inout [UInt8]
    ) {
        json.append(",\"")
        json.append(name)
        json.append("\":")
        shape.write(row, chosen, to: &json)
    }

    func tails(cursor: String, _ elements: [(at: Int64, json: [UInt8])]) -> [[UInt8]] {
        var tails: [[UInt8]] = []
        var index = 0
        while index < elements.count {
            let first = index
            var bytes = 0
            var at = Int64.min
            while index < elements.count, bytes < Self.frameBytes {
                bytes += elements[index].json.count + 1
                at = max(at, elements[index].at)
                index += 1
            }
            var tail: [UInt8] = []
            tail.reserveCapacity(bytes + cursor.utf8.count + 80)
            // Only the last frame carries the cursor.
            Self.writeMembers(cursor: index == elements.count ? cursor : nil, at: at, to: &tail)
            tail.append(",\"changes\":[")
            for place in first..<index {
                if place > first { tail.append(UInt8(ascii: ",")) }
                tail.append(contentsOf: elements[place].json)
            }
            tail.append("]}")
            tails.append(tail)
        }
        return tails
    }

    func tails(cursor: String, at: Int64, counts: [(status: String, count: Int)]) -> [[UInt8]] {
        var tail: [UInt8] = []
        Self.writeMembers(cursor: cursor, at: at, to: &tail)
        tail.append(",\"counts\":")
        tail.append(contentsOf: MessageWriter.counts(counts))
        tail.append("}")
        return [tail]
    }

    private static func writeMembers(cursor: String?, at: Int64, to tail: inout [UInt8]) {
        if let cursor {
            tail.append(",\"cursor\":\"")
            tail.append(contentsOf: cursor.utf8)
            tail.append("\"")
        }
        tail.append(",\"at\":\"")
        tail.append(contentsOf: Timestamp.iso8601(micros: at).utf8)
        tail.append("\"")
    }

    // MARK: Snapshots

    func snapshot(of request: Subscribe, _ rows: [Row], isTruncated: Bool, _ shape: Shape) -> [OutboundFrame] {
        var frames: [OutboundFrame] = []
        var index = 0
        repeat {
            var writer = MessageWriter(capacity: 4096)
            writer.beginObject()
            writer.member("type", "snapshot")
            writer.member("id", request.id)
            let first = index
            writer.beginArray("rows")
            while index < rows.count, writer.count < Self.frameBytes {
                writer.element { shape.write(rows[index], to: &$0) }
                index += 1
            }
            writer.endArray()
            writer.beginArray("keys")
            for row in rows[first..<index] { writer.element(row.keyText(shape.feed.key)?.string ?? "") }
            writer.endArray()
            writer.member("truncated", isTruncated)
            writer.endObject()
            frames.append(self.frame(head: writer.bytes, tail: []))
        } while index < rows.count
        return frames
    }

    func snapshot(of request: Subscribe, counts: [(status: String, count: Int)]) -> [OutboundFrame] {
        [self.frame(head: MessageWriter.snapshot(id: request.id, counts: counts), tail: [])]
    }
}
