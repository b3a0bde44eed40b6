import NIOCore
import NIOWebSocket

extension WebSocketFrame {
    /// A frame as a server's decoder hands it over: its data still masked.
    static func masked(
        _ opcode: WebSocketOpcode,
        bytes: [UInt8],
        fin: Bool = true,
        rsv1: Bool = false,
        rsv2: Bool = false,
        rsv3: Bool = false
    ) -> WebSocketFrame {
        let key: WebSocketMaskingKey = [0x11, 0x82, 0xF3, 0x04]
        var data = ByteBuffer(bytes: bytes)
        data.webSocketMask(key)
        return WebSocketFrame(
            fin: fin,
            rsv1: rsv1,
            rsv2: rsv2,
            rsv3: rsv3,
            opcode: opcode,
            maskKey: key,
            data: data
        )
    }

    static func masked(
        _ opcode: WebSocketOpcode,
        _ text: String,
        fin: Bool = true,
        rsv1: Bool = false,
        rsv2: Bool = false,
        rsv3: Bool = false
    ) -> WebSocketFrame {
        .masked(opcode, bytes: Array(text.utf8), fin: fin, rsv1: rsv1, rsv2: rsv2, rsv3: rsv3)
    }
}
