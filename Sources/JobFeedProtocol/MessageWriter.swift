/// Writes the server's answers as JSON text; values that Postgres wrote pass through as they are.
package struct MessageWriter: Sendable {
    package private(set) var bytes: [UInt8] = []
    private var needsComma = false

    package init(capacity: Int = 256) {
        self.bytes.reserveCapacity(capacity)
    }

    package var count: Int { self.bytes.count }

    // MARK: Structure

    package mutating func beginObject(_ name: String? = nil) {
        self.begin(name, UInt8(ascii: "{"))
    }

    package mutating func endObject() {
        self.bytes.append(UInt8(ascii: "}"))
        self.needsComma = true
    }

    package mutating func beginArray(_ name: String) {
        self.begin(name, UInt8(ascii: "["))
    }

    package mutating func endArray() {
        self.bytes.append(UInt8(ascii: "]"))
        self.needsComma = true
    }

    private mutating func begin(_ name: String?, _ bracket: UInt8) {
        self.separate()
        if let name { self.name(name) }
        self.bytes.append(bracket)
        self.needsComma = false
    }

    private mutating func separate() {
        if self.needsComma { self.bytes.append(UInt8(ascii: ",")) }
        self.needsComma = true
    }

    private mutating func name(_ name: String) {
        self.quote(name)
        self.bytes.append(UInt8(ascii: ":"))
    }

    // MARK: Members

    package mutating func member(_ name: String, _ value: String) {
        self.separate()
        self.name(name)
        self.quote(value)
    }

    package mutating func member(_ name: String, _ value: Int) {
        self.separate()
        self.name(name)
        self.bytes.append(contentsOf: String(value).utf8)
    }

    package mutating func member(_ name: String, _ value: Bool) {
        self.separate()
        self.name(name)
        self.bytes.append(contentsOf: (value ? "true" : "false").utf8)
    }

    /// A value that is JSON already.
    package mutating func member(_ name: String, json: ArraySlice<UInt8>) {
        self.separate()
        self.name(name)
        self.bytes.append(contentsOf: json)
    }

    /// An element of an array that is JSON already.
    package mutating func element(json: [UInt8]) {
        self.separate()
        self.bytes.append(contentsOf: json)
    }

    package mutating func element(_ value: String) {
        self.separate()
        self.quote(value)
    }

    /// An element of an array that is JSON already.
    package mutating func element(_ write: (inout [UInt8]) -> Void) {
        self.separate()
        write(&self.bytes)
    }

    private mutating func quote(_ text: String) {
        Self.quote(text, to: &self.bytes)
    }

    package static func quoted(_ text: String) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count + 2)
        Self.quote(text, to: &bytes)
        return bytes
    }

    /// RFC 8259 §7.
    package static func quote(_ text: String, to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "\""))
        var text = text
        text.withUTF8 { utf8 in
            if utf8.allSatisfy({ $0 >= 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }) {
                bytes.append(contentsOf: utf8)
            } else {
                for byte in utf8 { Self.escape(byte, to: &bytes) }
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    private static func escape(_ byte: UInt8, to bytes: inout [UInt8]) {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"):
            bytes.append(UInt8(ascii: "\\"))
            bytes.append(byte)
        case 0x00..<0x20:
            let digits = Array("0123456789abcdef".utf8)
            bytes.append(contentsOf: [0x5c, 0x75, 0x30, 0x30, digits[Int(byte >> 4)], digits[Int(byte & 15)]])
        default: bytes.append(byte)
        }
    }
}

// MARK: - The messages that carry no rows

extension MessageWriter {
    private static func message(_ type: String, _ body: (inout MessageWriter) -> Void) -> [UInt8] {
        var writer = MessageWriter()
        writer.beginObject()
        writer.member("type", type)
        body(&writer)
        writer.endObject()
        return writer.bytes
    }

    package static func welcome(
        connection: String,
        node: String,
        user: String,
        access: String,
        expiresAt: String,
        heartbeatSeconds: Int,
        subscriptions: Int,
        messageBytes: Int
    ) -> [UInt8] {
        Self.message("welcome") { writer in
            writer.member("connection", connection)
            writer.member("node", node)
            writer.member("user", user)
            writer.member("access", access)
            writer.member("expires_at", expiresAt)
            writer.member("heartbeat_seconds", heartbeatSeconds)
            writer.beginObject("limits")
            writer.member("subscriptions", subscriptions)
            writer.member("message_bytes", messageBytes)
            writer.endObject()
        }
    }

    /// - Parameter reason: why the subscription was not recovered; `nil` when it was.
    package static func subscribed(id: String, recovered: Bool, reason: String?) -> [UInt8] {
        Self.message("subscribed") { writer in
            writer.member("id", id)
            writer.member("recovered", recovered)
            if let reason { writer.member("reason", reason) }
        }
    }

    package static func live(id: String, cursor: String) -> [UInt8] {
        Self.message("live") { writer in
            writer.member("id", id)
            writer.member("cursor", cursor)
        }
    }

    package static func reset(id: String, reason: String) -> [UInt8] {
        Self.message("reset") { writer in
            writer.member("id", id)
            writer.member("reason", reason)
        }
    }

    package static func unsubscribed(id: String) -> [UInt8] {
        Self.message("unsubscribed") { $0.member("id", id) }
    }

    package static func authenticated(id: String, expiresAt: String) -> [UInt8] {
        Self.message("authenticated") { writer in
            writer.member("id", id)
            writer.member("expires_at", expiresAt)
        }
    }

    package static func pong(id: String) -> [UInt8] {
        Self.message("pong") { $0.member("id", id) }
    }

    /// - Parameter cursor: every live subscription of the connection is complete up to here.
    package static func heartbeat(asOf: String, tokenExpiresIn: Int, cursor: String?) -> [UInt8] {
        Self.message("heartbeat") { writer in
            writer.member("as_of", asOf)
            writer.member("token_expires_in", tokenExpiresIn)
            if let cursor { writer.member("cursor", cursor) }
        }
    }

    package static func error(id: String?, code: ErrorCode, message: String) -> [UInt8] {
        Self.message("error") { writer in
            if let id { writer.member("id", id) }
            writer.member("code", code.rawValue)
            writer.member("message", message)
            writer.member("retry", code.mayRetry)
        }
    }

    package static func snapshot(id: String, counts: [(status: String, count: Int)]) -> [UInt8] {
        Self.message("snapshot") { writer in
            writer.member("id", id)
            writer.member("counts", json: Self.counts(counts)[...])
        }
    }

    /// How many rows have which status, as an object.
    package static func counts(_ counts: [(status: String, count: Int)]) -> [UInt8] {
        var writer = MessageWriter()
        writer.beginObject()
        for (status, count) in counts { writer.member(status, count) }
        writer.endObject()
        return writer.bytes
    }
}
