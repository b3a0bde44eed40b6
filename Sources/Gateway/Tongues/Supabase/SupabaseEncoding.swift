import Feed
import JobFeedProtocol
import NIOCore
import WebSocketTransport

/// Changes as events `postgres_changes`, one frame each; whole rows, not what changed of them.
struct SupabaseEncoding: RowEncoding {
    private let serializer: PhoenixSerializer
    private let stream: SupabaseStream

    init(_ serializer: PhoenixSerializer, _ stream: SupabaseStream) {
        self.serializer = serializer
        self.stream = stream
    }

    var name: String {
        "supabase/\(self.serializer.rawValue)/\(self.stream.events.rawValue)"
            + (self.stream.isLeaveTold ? "/leave" : "") + (self.stream.isResumable ? "/cursor" : "")
    }

    // MARK: Heads and tails

    // Which bindings get a change depends on its kind: a head has the ids for each, and a tail begins with its own.

    private enum Kind: UInt8, CaseIterable {
        case insert, update, delete, cursor

        var event: SupabaseEvents {
            switch self {
            case .insert: .insert
            case .update: .update
            case .delete: .delete
            case .cursor: .all
            }
        }

        var name: StaticString {
            switch self {
            case .insert: "INSERT"
            case .update: "UPDATE"
            case .delete: "DELETE"
            case .cursor: ""
            }
        }
    }

    /// What no JSON has in it.
    private static let boundary: UInt8 = 0

    func head(of request: Subscribe) -> [UInt8] {
        var head = self.serializer.opening(joinRef: self.stream.joinRef, ref: .null, topic: self.stream.topic)
        for kind in Kind.allCases where kind != .cursor {
            head.append(Self.boundary)
            Self.write(self.stream.ids[kind.event] ?? [], to: &head)
        }
        head.append(Self.boundary)
        if self.stream.isResumable {
            head.append("\"stream\":")
            MessageWriter.quote(self.stream.name, to: &head)
            head.append(",\"ids\":")
            Self.write(self.stream.allIDs, to: &head)
        }
        return head
    }

    private static func write(_ ids: [Int], to bytes: inout [UInt8]) {
        bytes.append("[")
        bytes.append(contentsOf: ids.map(String.init).joined(separator: ",").utf8)
        bytes.append("]")
    }

    func frame(head: [UInt8], tail: [UInt8]) -> OutboundFrame {
        let parts = head.split(separator: Self.boundary, omittingEmptySubsequences: false)
        let kind = tail.first.flatMap(Kind.init(rawValue:)) ?? .cursor
        return OutboundFrame.text(capacity: head.count + tail.count + 80) { buffer in
            buffer.writeBytes(parts[0])
            buffer.writeStaticString(kind == .cursor ? "\"broadcast\"" : "\"postgres_changes\"")
            buffer.writeStaticString(self.serializer.separator)
            if kind == .cursor {
                buffer.writeStaticString(
                    "{\"type\":\"broadcast\",\"event\":\"jobfeed\",\"payload\":{\"type\":\"cursor\","
                )
                buffer.writeBytes(parts[4])
                buffer.writeStaticString(",\"cursor\":\"")
                buffer.writeBytes(tail.dropFirst())
                buffer.writeStaticString("\"}}")
            } else {
                buffer.writeStaticString("{\"ids\":")
                buffer.writeBytes(parts[1 + Int(kind.rawValue)])
                buffer.writeStaticString(",\"data\":")
                buffer.writeBytes(tail.dropFirst())
                buffer.writeStaticString("}")
            }
            buffer.writeStaticString(self.serializer.closing)
        }
    }

    func tails(cursor: String, _ elements: [(at: Int64, json: [UInt8])]) -> [[UInt8]] {
        var tails = elements.map(\.json)
        if self.stream.isResumable { tails.append([Kind.cursor.rawValue] + cursor.utf8) }
        return tails
    }

    // Counts are no rows of a table.
    func tails(cursor: String, at: Int64, counts: [(status: String, count: Int)]) -> [[UInt8]] { [] }

    // MARK: Changes

    func preamble(of shape: Shape) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append("{\"schema\":")
        MessageWriter.quote(shape.feed.schema, to: &bytes)
        bytes.append(",\"table\":")
        MessageWriter.quote(shape.feed.table, to: &bytes)
        bytes.append(",\"errors\":null,\"columns\":[")
        for (place, column) in shape.columns.enumerated() {
            bytes.append(place == 0 ? "{\"name\":" : ",{\"name\":")
            MessageWriter.quote(column, to: &bytes)
            bytes.append(",\"type\":")
            MessageWriter.quote(PostgresTypeName.name(of: shape.feed.column(column)?.typeName ?? ""), to: &bytes)
            bytes.append("}")
        }
        bytes.append("],\"commit_timestamp\":\"")
        return bytes
    }

    private func kind(of delta: View.Delta) -> Kind? {
        let kind: Kind
        switch delta {
        case .enter(.created), .enter(.permission): kind = .insert
        case .enter(.filter), .update: kind = .update
        case .leave(.deleted, _), .leave(.permission, _): kind = .delete
        case .leave(.filter, _):
            guard self.stream.isLeaveTold else { return nil }
            kind = .delete
        }
        return self.stream.events.contains(kind.event) ? kind : nil
    }

    func element(_ change: Feed.Change, _ delta: View.Delta, _ shape: Shape) -> [UInt8]? {
        guard let kind = self.kind(of: delta) else { return nil }
        var json: [UInt8] = [kind.rawValue]
        json.reserveCapacity(shape.preamble.count + 512)
        json.append(contentsOf: shape.preamble)
        json.append(contentsOf: Timestamp.iso8601(micros: change.at).utf8.prefix(23))
        json.append("Z\",\"type\":\"")
        json.append(kind.name)
        json.append("\"")
        if kind != .delete {
            json.append(",\"record\":")
            shape.write(Self.plain(change.row, shape), to: &json)
        }
        if kind != .insert {
            json.append(",\"old_record\":")
            shape.write(Self.plain(Self.old(change, kind, shape.feed), shape), to: &json)
        }
        json.append("}")
        return json
    }

    /// The key; of an update also what the visible columns were that changed.
    private static func old(_ change: Feed.Change, _ kind: Kind, _ feed: FeedDefinition) -> Row {
        var row = kind == .update ? change.old : .empty
        for column in feed.key {
            if let value = change.before(column) { row.set(column, value) }
        }
        return row
    }

    /// Bytes without the `\x` that Postgres writes before them.
    private static func plain(_ row: Row, _ shape: Shape) -> Row {
        var row = row
        for column in shape.feed.columns where column.typeName == "bytea" {
            guard let bytes = row[column.name]?.bytes, bytes.starts(with: #""\\x"#.utf8) else { continue }
            row.set(column.name, JSONText(ArraySlice([UInt8(ascii: "\"")] + bytes.dropFirst(4))))
        }
        return row
    }

    // MARK: Snapshots

    func snapshot(of request: Subscribe, _ rows: [Row], isTruncated: Bool, _ shape: Shape) -> [OutboundFrame] {
        var frames: [OutboundFrame] = []
        var index = 0
        repeat {
            var bytes = self.serializer.opening(joinRef: self.stream.joinRef, ref: .null, topic: self.stream.topic)
            bytes.append("\"broadcast\"")
            bytes.append(self.serializer.separator)
            bytes.append("{\"type\":\"broadcast\",\"event\":\"jobfeed\",\"payload\":{\"type\":\"snapshot\",\"stream\":")
            MessageWriter.quote(self.stream.name, to: &bytes)
            bytes.append(",\"ids\":")
            Self.write(self.stream.allIDs, to: &bytes)
            bytes.append(",\"schema\":")
            MessageWriter.quote(shape.feed.schema, to: &bytes)
            bytes.append(",\"table\":")
            MessageWriter.quote(shape.feed.table, to: &bytes)
            bytes.append(isTruncated ? ",\"truncated\":true,\"rows\":[" : ",\"truncated\":false,\"rows\":[")
            var isFirst = true
            while index < rows.count, bytes.count < NativeEncoding.frameBytes {
                if !isFirst { bytes.append(",") }
                isFirst = false
                shape.write(Self.plain(rows[index], shape), to: &bytes)
                index += 1
            }
            bytes.append("]}}")
            bytes.append(self.serializer.closing)
            frames.append(OutboundFrame.text(capacity: bytes.count) { $0.writeBytes(bytes) })
        } while index < rows.count
        return frames
    }

    func snapshot(of request: Subscribe, counts: [(status: String, count: Int)]) -> [OutboundFrame] { [] }
}
