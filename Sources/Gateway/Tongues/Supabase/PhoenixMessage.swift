import JobFeedProtocol
import NIOCore
import WebSocketTransport

/// One message of a Phoenix socket, which is how Supabase Realtime speaks; `topic` names a channel of the client.
struct PhoenixMessage: Equatable {
    /// Of the join that a message belongs to: a text or a number that the client chose, or null.
    var joinRef: JSONValue = .null
    var ref: JSONValue = .null
    var topic: String
    var event: String
    var payload: JSONObject = [:]

    func reply(_ status: String, _ response: JSONObject) -> PhoenixMessage {
        PhoenixMessage(
            joinRef: self.joinRef,
            ref: self.ref,
            topic: self.topic,
            event: "phx_reply",
            payload: ["status": .string(status), "response": .object(response)]
        )
    }
}

/// How messages stand in text frames; the client chooses by `vsn`.
enum PhoenixSerializer: String, Sendable {
    /// `vsn=1.0.0`: objects; what the server sends names no join.
    case objects = "1"
    /// `vsn=2.0.0`: arrays of join_ref, ref, topic, event and payload.
    case arrays = "2"

    private static let maximumTopic = 1024
    private static let maximumRef = 64

    /// - Parameter version: as in `vsn`; without one it is 1.0.0.
    init?(version: String?) {
        switch version.map({ $0.split(separator: ".", omittingEmptySubsequences: false) }) {
        case nil: self = .objects
        case .some(let parts) where parts.count == 3 && parts[1] == "0" && UInt16(parts[2]) != nil:
            self.init(rawValue: String(parts[0]))
        case .some: return nil
        }
    }

    /// `nil` when it is no message of this version.
    func message(in text: some Sequence<UInt8>) -> PhoenixMessage? {
        guard let value = try? JSONValue(parsing: text) else { return nil }
        switch (self, value) {
        case (.objects, .object(let object)):
            return Self.message(
                joinRef: object["join_ref"] ?? .null,
                ref: object["ref"] ?? .null,
                topic: object["topic"],
                event: object["event"],
                payload: object["payload"]
            )
        case (.arrays, .array(let array)) where array.count == 5:
            return Self.message(
                joinRef: array[0],
                ref: array[1],
                topic: array[2],
                event: array[3],
                payload: array[4]
            )
        default: return nil
        }
    }

    private static func message(
        joinRef: JSONValue,
        ref: JSONValue,
        topic: JSONValue?,
        event: JSONValue?,
        payload: JSONValue?
    ) -> PhoenixMessage? {
        guard self.isRef(joinRef), self.isRef(ref), let topic = topic?.stringValue, let event = event?.stringValue,
            topic.utf8.count <= self.maximumTopic, event.utf8.count <= self.maximumTopic
        else { return nil }
        switch payload {
        case .object(let object)?:
            return PhoenixMessage(joinRef: joinRef, ref: ref, topic: topic, event: event, payload: object)
        // Of events without one, as some clients write it.
        case nil, .null?: return PhoenixMessage(joinRef: joinRef, ref: ref, topic: topic, event: event)
        default: return nil
        }
    }

    private static func isRef(_ value: JSONValue) -> Bool {
        switch value {
        case .null: true
        case .string(let text), .number(let text): text.utf8.count <= self.maximumRef
        case .object, .array, .bool: false
        }
    }

    // MARK: Writing

    /// What a message begins with, before its event.
    func opening(joinRef: JSONValue, ref: JSONValue, topic: String) -> [UInt8] {
        var bytes: [UInt8] = []
        switch self {
        case .objects:
            bytes.append("{\"ref\":")
            ref.append(to: &bytes)
            bytes.append(",\"topic\":")
            MessageWriter.quote(topic, to: &bytes)
            bytes.append(",\"event\":")
        case .arrays:
            bytes.append("[")
            joinRef.append(to: &bytes)
            bytes.append(",")
            ref.append(to: &bytes)
            bytes.append(",")
            MessageWriter.quote(topic, to: &bytes)
            bytes.append(",")
        }
        return bytes
    }

    /// Between event and payload.
    var separator: StaticString { self == .objects ? ",\"payload\":" : "," }
    var closing: StaticString { self == .objects ? "}" : "]" }

    func frame(_ message: PhoenixMessage) -> OutboundFrame {
        var bytes = self.opening(joinRef: message.joinRef, ref: message.ref, topic: message.topic)
        MessageWriter.quote(message.event, to: &bytes)
        bytes.append(self.separator)
        message.payload.append(to: &bytes)
        bytes.append(self.closing)
        return OutboundFrame.text(capacity: bytes.count) { $0.writeBytes(bytes) }
    }
}

/// The head of a binary frame, in which clients of `vsn=2.0.0` send broadcasts.
struct PhoenixBroadcastPush: Equatable {
    let joinRef: JSONValue
    let ref: JSONValue
    let topic: String

    private static let kind: UInt8 = 3

    /// `nil` when it is none.
    init?(_ bytes: ByteBuffer) {
        var bytes = bytes
        // Kind, then the lengths of join_ref, ref, topic, event and metadata, then how the payload is encoded.
        guard let head = bytes.readBytes(length: 7), head[0] == Self.kind,
            let joinRef = bytes.readString(length: Int(head[1])), let ref = bytes.readString(length: Int(head[2])),
            let topic = bytes.readString(length: Int(head[3]))
        else { return nil }
        self.joinRef = joinRef.isEmpty ? .null : .string(joinRef)
        self.ref = ref.isEmpty ? .null : .string(ref)
        self.topic = topic
    }
}
