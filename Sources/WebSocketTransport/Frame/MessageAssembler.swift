import NIOCore
import NIOWebSocket

/// Joins frames into messages, decompresses them and refuses what RFC 6455 sections 5 and 8.1 and RFC 7692 section 6
/// forbid.
struct MessageAssembler {
    enum Event {
        case incomplete
        case text(ByteBuffer)
        /// Empty unless binary messages are kept.
        case binary(ByteBuffer)
        case ping(ByteBuffer)
        case pong
        case close(CloseFrame?)
    }

    private enum Message {
        case none
        case text
        case binary
        /// A binary message that nobody reads.
        case ignored
    }

    private let isServer: Bool
    private let maxMessageBytes: Int
    private let keepsBinary: Bool
    /// Whether permessage-deflate was agreed on.
    private let inflates: Bool
    private var message = Message.none
    private var isDeflated = false
    /// Of the message so far; beside the enumeration, whose payload would be copied for each fragment.
    private var bytes = 0
    private var payload = ByteBuffer()

    init(isServer: Bool, maxMessageBytes: Int, keepsBinary: Bool = false, inflates: Bool = false) {
        self.isServer = isServer
        self.maxMessageBytes = maxMessageBytes
        self.keepsBinary = keepsBinary
        self.inflates = inflates
    }

    mutating func frameReceived(_ frame: WebSocketFrame) throws(ProtocolViolation) -> Event {
        guard (frame.maskKey != nil) == self.isServer else {
            throw self.isServer ? .unmaskedClientFrame : .maskedServerFrame
        }
        guard !frame.rsv2, !frame.rsv3, !frame.rsv1 || self.inflates else {
            throw .reservedBits
        }
        guard !frame.rsv1 || frame.opcode == .text || frame.opcode == .binary else {
            throw .misplacedRSV1
        }
        switch frame.opcode {
        case .connectionClose, .ping, .pong:
            return try Self.controlFrameReceived(frame)
        case .text, .binary:
            return try self.firstFrameReceived(frame)
        case .continuation:
            return try self.continuationReceived(frame)
        default:
            throw .unknownOpcode(UInt8(webSocketOpcode: frame.opcode))
        }
    }

    private static func controlFrameReceived(_ frame: WebSocketFrame) throws(ProtocolViolation) -> Event {
        guard frame.fin else {
            throw .fragmentedControlFrame
        }
        guard frame.length <= 125 else {
            throw .longControlFrame
        }
        switch frame.opcode {
        case .ping: return .ping(frame.unmaskedData)
        case .pong: return .pong
        default: return .close(try CloseFrame.parse(frame.unmaskedData))
        }
    }

    private mutating func firstFrameReceived(_ frame: WebSocketFrame) throws(ProtocolViolation) -> Event {
        guard case .none = self.message else {
            throw .interleavedMessage
        }
        guard frame.length <= self.maxMessageBytes else {
            throw .tooBig(limit: self.maxMessageBytes)
        }
        let isText = frame.opcode == .text
        self.message = isText ? .text : self.keepsBinary ? .binary : .ignored
        self.isDeflated = frame.rsv1
        if frame.fin {
            return try self.finish(frame.unmaskedData)
        }
        // A copy: the payload of a fragment is a slice of the whole receive buffer.
        self.append(frame)
        return .incomplete
    }

    private mutating func continuationReceived(_ frame: WebSocketFrame) throws(ProtocolViolation) -> Event {
        if case .none = self.message {
            throw .unexpectedContinuation
        }
        guard frame.length <= self.maxMessageBytes - self.bytes else {
            throw .tooBig(limit: self.maxMessageBytes)
        }
        self.append(frame)
        return try frame.fin ? self.finish(self.payload) : .incomplete
    }

    private mutating func append(_ frame: WebSocketFrame) {
        self.bytes += frame.length
        if case .ignored = self.message { return }
        self.payload.writeImmutableBuffer(frame.unmaskedData)
    }

    private mutating func finish(_ payload: ByteBuffer) throws(ProtocolViolation) -> Event {
        defer {
            self.message = .none
            self.bytes = 0
            self.payload = ByteBuffer()
        }
        switch self.message {
        case .none: return .incomplete
        case .ignored: return .binary(ByteBuffer())
        case .binary: return .binary(try self.inflated(payload))
        case .text: return try Self.completed(try self.inflated(payload))
        }
    }

    private func inflated(_ payload: ByteBuffer) throws(ProtocolViolation) -> ByteBuffer {
        self.isDeflated ? try DeflateCodec.current.inflate(payload, limit: self.maxMessageBytes) : payload
    }

    private static func completed(_ text: ByteBuffer) throws(ProtocolViolation) -> Event {
        guard text.isValidUTF8 else {
            throw .invalidUTF8
        }
        return .text(text)
    }
}
