package import NIOCore
import NIOWebSocket

/// A complete frame, header included: unmasked and shared by every receiver on a server, masked for one on a client.
package struct OutboundFrame: Sendable {
    package let bytes: ByteBuffer
    /// `nil` where nobody gets anything but `bytes`: control frames, short ones, those of a client.
    private let deflatedForms: DeflatedForms?

    private static let maximumHeaderBytes = 10

    /// Encodes a text frame in place: `write` appends `capacity` bytes or so of UTF-8, the header goes in front of them.
    package static func text(capacity: Int, _ write: (inout ByteBuffer) -> Void) -> OutboundFrame {
        var buffer = ByteBufferAllocator().buffer(capacity: Self.maximumHeaderBytes + capacity)
        buffer.moveWriterIndex(forwardBy: Self.maximumHeaderBytes)
        buffer.moveReaderIndex(forwardBy: Self.maximumHeaderBytes)
        write(&buffer)
        precondition(buffer.readerIndex == Self.maximumHeaderBytes, "the writer of a text frame may only append")
        let length = buffer.readableBytes
        let start = Self.maximumHeaderBytes - Self.headerBytes(forPayload: length)
        Self.setHeader(opcode: .text, length: length, maskBit: 0, at: start, in: &buffer)
        buffer.moveReaderIndex(to: start)
        return OutboundFrame(bytes: buffer, deflatedForms: Self.forms(forPayload: length))
    }

    package static func text(_ payload: ByteBuffer) -> OutboundFrame {
        Self.encode(.text, payload)
    }

    /// Bytes that are sent as they are, for a peer that speaks no WebSocket.
    package static func bare(_ bytes: ByteBuffer) -> OutboundFrame {
        OutboundFrame(bytes: bytes, deflatedForms: nil)
    }

    package static func binary(_ payload: ByteBuffer) -> OutboundFrame {
        Self.encode(.binary, payload)
    }

    package static let ping = OutboundFrame.encode(.ping, ByteBuffer())

    package static let pong = OutboundFrame.encode(.pong, ByteBuffer())

    package static func pong(_ payload: ByteBuffer) -> OutboundFrame {
        Self.encode(.pong, payload)
    }

    package static func close(code: UInt16, reason: String) -> OutboundFrame {
        Self.encode(.connectionClose, CloseFrame(code: code, reason: reason).payload)
    }

    static func encode(
        _ opcode: WebSocketOpcode,
        _ payload: ByteBuffer,
        maskingKey: WebSocketMaskingKey? = nil,
        isDeflated: Bool = false
    ) -> OutboundFrame {
        let length = payload.readableBytes
        let header = Self.headerBytes(forPayload: length)
        var buffer = ByteBufferAllocator().buffer(capacity: header + (maskingKey == nil ? 0 : 4) + length)
        Self.setHeader(opcode: opcode, length: length, maskBit: maskingKey == nil ? 0 : 0x80, at: 0, in: &buffer)
        if isDeflated {
            buffer.setInteger(0xC0 | UInt8(webSocketOpcode: opcode), at: 0)
        }
        buffer.moveWriterIndex(to: header)
        guard let maskingKey else {
            buffer.writeImmutableBuffer(payload)
            let isPlainMessage = !isDeflated && (opcode == .text || opcode == .binary)
            return OutboundFrame(bytes: buffer, deflatedForms: isPlainMessage ? Self.forms(forPayload: length) : nil)
        }
        buffer.writeBytes(maskingKey)
        buffer.moveReaderIndex(to: buffer.writerIndex)
        buffer.writeImmutableBuffer(payload)
        buffer.webSocketMask(maskingKey)
        buffer.moveReaderIndex(to: 0)
        return OutboundFrame(bytes: buffer, deflatedForms: nil)
    }

    /// The frame for a connection that agreed on this: the same, or a compressed form that all such connections share.
    func deflated(by deflate: PerMessageDeflate) -> OutboundFrame {
        guard let bytes = self.deflatedForms?.form(of: self, for: deflate) else {
            return self
        }
        deflate.observe?(self.bytes.readableBytes, bytes.readableBytes)
        return OutboundFrame(bytes: bytes, deflatedForms: nil)
    }

    private static func forms(forPayload length: Int) -> DeflatedForms? {
        length < DeflatedForms.minimumBytes ? nil : DeflatedForms()
    }

    private static func headerBytes(forPayload length: Int) -> Int {
        switch length {
        case ..<126: 2
        case ...0xFFFF: 4
        default: 10
        }
    }

    private static func setHeader(
        opcode: WebSocketOpcode,
        length: Int,
        maskBit: UInt8,
        at start: Int,
        in buffer: inout ByteBuffer
    ) {
        buffer.setInteger(0x80 | UInt8(webSocketOpcode: opcode), at: start)
        switch length {
        case ..<126:
            buffer.setInteger(maskBit | UInt8(length), at: start + 1)
        case ...0xFFFF:
            buffer.setInteger(maskBit | 126, at: start + 1)
            buffer.setInteger(UInt16(length), at: start + 2)
        default:
            buffer.setInteger(maskBit | 127, at: start + 1)
            buffer.setInteger(UInt64(length), at: start + 2)
        }
    }
}

extension OutboundFrame {
    var opcode: WebSocketOpcode {
        let first = self.bytes.getInteger(at: self.bytes.readerIndex, as: UInt8.self) ?? 0
        return WebSocketOpcode(encodedWebSocketOpcode: first & 0x0F) ?? .continuation
    }

    /// Of an unmasked frame.
    package var payload: ByteBuffer {
        let length = self.bytes.getInteger(at: self.bytes.readerIndex + 1, as: UInt8.self) ?? 0
        var payload = self.bytes
        payload.moveReaderIndex(forwardBy: length < 126 ? 2 : length == 126 ? 4 : 10)
        return payload
    }
}
