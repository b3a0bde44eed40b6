import NIOCore
import NIOWebSocket

@testable import WebSocketTransport

/// The machine behind a reference: `#expect` cannot take noncopyable operands.
final class TestMachine {
    private var machine: ConnectionStateMachine

    init(isServer: Bool, now: NIODeadline, _ change: (inout WebSocketConnection.Configuration) -> Void) {
        var configuration = WebSocketConnection.Configuration()
        configuration.maxQueuedBytes = 20
        configuration.pingInterval = nil
        change(&configuration)
        self.machine = ConnectionStateMachine(configuration: Shared(configuration), isServer: isServer, now: now)
    }

    var isOpen: Bool { self.machine.isOpen }
    var queuedBytes: Int { self.machine.queuedBytes }
    var nextDeadline: NIODeadline? { self.machine.nextDeadline }

    func send(_ text: String, now: NIODeadline) -> String {
        self.machine.send(.text(ByteBuffer(string: text)), now: now).name
    }

    @discardableResult
    func writabilityChanged(to isWritable: Bool, now: NIODeadline) -> Bool {
        self.machine.writabilityChanged(to: isWritable, now: now)
    }

    func nextQueued() -> String { self.machine.nextQueued().name }

    func frameReceived(_ frame: WebSocketFrame, now: NIODeadline) -> ConnectionStateMachine.FrameAction {
        self.machine.frameReceived(frame, now: now)
    }

    func decodingFailed(now: NIODeadline) -> ConnectionStateMachine.Close? {
        self.machine.decodingFailed(.longControlFrame, now: now)
    }

    func closeRequested(_ code: UInt16, _ reason: String, now: NIODeadline) -> ConnectionStateMachine.Close? {
        self.machine.closeRequested(CloseFrame(code: code, reason: reason), now: now)
    }

    func readingPaused(_ isPaused: Bool, now: NIODeadline) { self.machine.readingPaused(isPaused, now: now) }

    func tick(now: NIODeadline) -> String { self.machine.tick(now: now).name }

    func channelClosed() -> CloseReason? { self.machine.channelClosed() }
}
