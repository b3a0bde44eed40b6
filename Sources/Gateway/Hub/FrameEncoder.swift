import Feed
import JobFeedProtocol
import NIOCore
import WebSocketTransport

/// Writes frames; what Postgres wrote passes through as it is.
enum FrameEncoder {
    /// Larger batches and snapshots are cut into frames of about this size.
    static let frameBytes = 48 << 10

    /// `changes` frames without the one thing that differs among those who get them: the id of their subscription.
    struct Changes {
        /// What follows the id.
        private var tails: [[UInt8]] = []

        /// - Parameters:
        ///   - cursor: only the last frame carries it.
        ///   - elements: none give no frame.
        init(cursor: String, _ elements: [(at: Int64, json: [UInt8])]) {
            var index = 0
            while index < elements.count {
                let first = index
                var bytes = 0
                var at = Int64.min
                while index < elements.count, bytes < FrameEncoder.frameBytes {
                    bytes += elements[index].json.count + 1
                    at = max(at, elements[index].at)
                    index += 1
                }
                var tail: [UInt8] = []
                tail.reserveCapacity(bytes + cursor.utf8.count + 80)
                if index == elements.count {
                    tail.append(contentsOf: #","cursor":""#.utf8)
                    tail.append(contentsOf: cursor.utf8)
                    tail.append(UInt8(ascii: "\""))
                }
                tail.append(contentsOf: #","at":""#.utf8)
                tail.append(contentsOf: Timestamp.iso8601(micros: at).utf8)
                tail.append(contentsOf: #"","changes":["#.utf8)
                for place in first..<index {
                    if place > first { tail.append(UInt8(ascii: ",")) }
                    tail.append(contentsOf: elements[place].json)
                }
                tail.append(contentsOf: "]}".utf8)
                self.tails.append(tail)
            }
        }

        init(cursor: String, at: Int64, counts: [(status: String, count: Int)]) {
            let whole = MessageWriter.changes(
                id: "",
                cursor: cursor,
                at: Timestamp.iso8601(micros: at),
                counts: counts
            )
            self.tails = [Array(whole.dropFirst(Self.head.count + 2))]
        }

        var isEmpty: Bool { self.tails.isEmpty }

        private static let head = Array(#"{"type":"changes","id":"#.utf8)

        /// - Parameter id: as JSON.
        func frames(id: [UInt8]) -> [OutboundFrame] {
            self.tails.map { tail in
                OutboundFrame.text(capacity: Self.head.count + id.count + tail.count) { buffer in
                    buffer.writeBytes(Self.head)
                    buffer.writeBytes(id)
                    buffer.writeBytes(tail)
                }
            }
        }
    }

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
        self.changes(cursor: cursor, deltas, Shape(view.columns)).frames(id: MessageWriter.quoted(id))
    }

    static func changes(
        cursor: String,
        _ deltas: [(change: Feed.Change, delta: View.Delta)],
        _ shape: Shape
    ) -> Changes {
        Changes(cursor: cursor, deltas.map { ($0.change.at, shape.element($0.change, $0.delta)) })
    }

    static func counts(cursor: String, at: Int64, statuses: Set<ByteText>, counts: StatusCounts) -> Changes {
        let changed = statuses.map { (status: $0.string, count: counts.counts[$0, default: 0]) }.sorted {
            $0.status < $1.status
        }
        return Changes(cursor: cursor, at: at, counts: changed)
    }

    static func snapshot(id: String, rows: [Row], truncated: Bool, view: View) -> [OutboundFrame] {
        var frames: [OutboundFrame] = []
        let shape = Shape(view.columns)
        var index = 0
        repeat {
            var writer = MessageWriter(capacity: 4096)
            writer.beginObject()
            writer.member("type", "snapshot")
            writer.member("id", id)
            let first = index
            writer.beginArray("rows")
            while index < rows.count, writer.count < self.frameBytes {
                writer.element { shape.write(rows[index], to: &$0) }
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
}
