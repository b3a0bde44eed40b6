import NIOCore

/// The code and reason of a Close frame, as sent or as received.
package struct CloseFrame: Sendable, Hashable {
    package let code: UInt16
    package let reason: String

    /// Cuts `reason` at a character boundary to the 123 bytes that fit into a control frame.
    package init(code: UInt16, reason: String) {
        self.code = code
        guard reason.utf8.count > 123 else {
            self.reason = reason
            return
        }
        var end = reason.utf8.index(reason.startIndex, offsetBy: 123)
        while end.samePosition(in: reason.unicodeScalars) == nil {
            end = reason.utf8.index(before: end)
        }
        self.reason = String(reason[..<end])
    }

    /// Reads the body of a Close frame; `nil` when it is empty, which RFC 6455 section 7.1.5 calls 1005.
    static func parse(_ payload: ByteBuffer) throws(ProtocolViolation) -> CloseFrame? {
        guard payload.readableBytes > 0 else {
            return nil
        }
        var rest = payload
        guard let code = rest.readInteger(as: UInt16.self) else {
            throw .invalidClose("a close payload of one byte")
        }
        guard Self.isAllowedOnTheWire(code) else {
            throw .invalidClose("close code \(code)")
        }
        guard rest.isValidUTF8 else {
            throw .invalidUTF8
        }
        return CloseFrame(code: code, reason: String(buffer: rest))
    }

    /// RFC 6455 section 7.4 and the IANA registry: 1004 to 1006 and 1015 are never sent.
    static func isAllowedOnTheWire(_ code: UInt16) -> Bool {
        switch code {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }

    var payload: ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: 2 + self.reason.utf8.count)
        buffer.writeInteger(self.code)
        buffer.writeString(self.reason)
        return buffer
    }
}

/// Why a connection ended: what the first of the two sides to close said, or 1006 when TCP ended without a word.
package struct CloseReason: Sendable, Hashable {
    package enum Initiator: Sendable, Hashable {
        case local
        case peer
        case transport
    }

    package let initiator: Initiator
    package let code: UInt16
    package let reason: String

    package init(initiator: Initiator, code: UInt16, reason: String) {
        self.initiator = initiator
        self.code = code
        self.reason = reason
    }

    static let connectionLost = CloseReason(initiator: .transport, code: 1006, reason: "connection lost")

    static func local(_ frame: CloseFrame) -> CloseReason {
        CloseReason(initiator: .local, code: frame.code, reason: frame.reason)
    }

    static func peer(_ frame: CloseFrame?) -> CloseReason {
        CloseReason(initiator: .peer, code: frame?.code ?? 1005, reason: frame?.reason ?? "")
    }
}
