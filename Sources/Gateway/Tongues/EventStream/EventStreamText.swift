import NIOCore
import WebSocketTransport

/// Server-sent events (HTML standard, 9.2.5), each as one chunk of an HTTP/1.1 body.
enum EventStreamText {
    /// What an event begins with; its object follows, and then what ``end(_:cursor:)`` makes.
    static func head(_ type: String) -> [UInt8] { Array("event: \(type)\ndata: ".utf8) }

    /// The rest of an object and the end of its event.
    ///
    /// - Parameter cursor: becomes the id that `EventSource` comes back with.
    static func end(_ json: [UInt8], cursor: String?) -> [UInt8] {
        var bytes = Self.oneLine(json)
        if let cursor {
            bytes.append("\nid: ")
            bytes.append(contentsOf: cursor.utf8)
        }
        bytes.append("\n\n")
        return bytes
    }

    static func event(_ type: String, _ json: [UInt8], cursor: String? = nil) -> OutboundFrame {
        Self.frame(Self.head(type), Self.end(json, cursor: cursor))
    }

    /// How long `EventSource` waits before it comes back.
    static func retry(milliseconds: Int) -> OutboundFrame {
        Self.frame(Array("retry: \(milliseconds)\n\n".utf8), [])
    }

    /// RFC 9112 §7.1
    static func frame(_ head: [UInt8], _ tail: [UInt8]) -> OutboundFrame {
        let size = String(head.count + tail.count, radix: 16)
        var buffer = ByteBufferAllocator().buffer(capacity: head.count + tail.count + size.utf8.count + 4)
        buffer.writeString(size)
        buffer.writeStaticString("\r\n")
        buffer.writeBytes(head)
        buffer.writeBytes(tail)
        buffer.writeStaticString("\r\n")
        return .bare(buffer)
    }

    /// Ends the body.
    static let lastChunk = OutboundFrame.bare(ByteBuffer(string: "0\r\n\r\n"))

    /// In JSON a line break can only stand between tokens; in an event it would end the line.
    private static func oneLine(_ json: [UInt8]) -> [UInt8] {
        func isBreak(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") }
        guard json.contains(where: isBreak) else { return json }
        return json.map { isBreak($0) ? UInt8(ascii: " ") : $0 }
    }
}
