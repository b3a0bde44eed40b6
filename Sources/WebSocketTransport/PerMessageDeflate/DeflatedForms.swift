import NIOCore
import Synchronization

/// The compressed forms of one frame, each made when the first connection wants it and then shared by all.
final class DeflatedForms: Sendable {
    /// Whatever the threshold, shorter messages hardly ever become smaller.
    static let minimumBytes = 64

    private struct Form {
        let windowBits: Int
        /// `nil`: it is not smaller.
        let frame: ByteBuffer?
    }

    private struct State {
        var requests = 0
        var forms: [Form] = []
    }

    private let state = Mutex(State())

    /// What to send instead of `plain` to whoever agreed on this; `nil`: `plain` itself.
    func form(of plain: OutboundFrame, for deflate: PerMessageDeflate) -> ByteBuffer? {
        let payload = plain.payload
        guard payload.readableBytes >= deflate.thresholdBytesForMany else {
            return nil
        }
        return self.state.withLock { state in
            state.requests += 1
            guard payload.readableBytes >= deflate.thresholdBytes || state.requests > PerMessageDeflate.manyReceivers
            else {
                return nil
            }
            if let form = state.forms.first(where: { $0.windowBits == deflate.windowBits }) {
                return form.frame
            }
            let deflated = DeflateCodec.current.deflate(payload, windowBits: deflate.windowBits)
            let frame = deflated.map { OutboundFrame.encode(plain.opcode, $0, isDeflated: true).bytes }
            state.forms.append(Form(windowBits: deflate.windowBits, frame: frame))
            return frame
        }
    }
}
