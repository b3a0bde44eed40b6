/// What a peer did against RFC 6455, with the close code that answers it.
struct ProtocolViolation: Error, Hashable {
    let code: UInt16
    let reason: String

    static let unmaskedClientFrame = Self(code: 1002, reason: "frames from a client must be masked")
    static let maskedServerFrame = Self(code: 1002, reason: "frames from a server must not be masked")
    static let reservedBits = Self(code: 1002, reason: "reserved bits are set but no extension was negotiated")
    static let misplacedRSV1 = Self(code: 1002, reason: "RSV1 may only be set on the first frame of a message")
    static let fragmentedControlFrame = Self(code: 1002, reason: "control frames must not be fragmented")
    static let longControlFrame = Self(code: 1002, reason: "control frames carry at most 125 bytes")
    static let unexpectedContinuation = Self(code: 1002, reason: "continuation frame without a message to continue")
    static let interleavedMessage = Self(code: 1002, reason: "new message before the last fragment of another")
    static let invalidCompression = Self(code: 1007, reason: "the compressed message cannot be decompressed")
    static let deflatedToMore = Self(code: 1009, reason: "the message is much larger compressed than it is plain")
    static let outOfMemory = Self(code: 1011, reason: "out of memory")
    static let invalidUTF8 = Self(code: 1007, reason: "text is not valid UTF-8")

    static func unknownOpcode(_ opcode: UInt8) -> Self {
        Self(code: 1002, reason: "unknown opcode \(opcode)")
    }

    static func invalidClose(_ what: String) -> Self {
        Self(code: 1002, reason: "\(what) is not allowed")
    }

    static func tooBig(limit: Int) -> Self {
        Self(code: 1009, reason: "messages are limited to \(limit) bytes")
    }

    var closeFrame: CloseFrame {
        CloseFrame(code: self.code, reason: self.reason)
    }
}
