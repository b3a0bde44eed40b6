import NIOCore

@testable import WebSocketTransport

/// Notes what it is told, and answers as a test wants.
final class RecordingSession: WebSocketSession {
    private(set) var events: [String] = []
    private(set) var connection: WebSocketConnection?
    var onText: (WebSocketConnection, ByteBuffer) -> Void = { _, _ in }
    var onDraining: (WebSocketConnection) -> Void = { _ in }
    var onClosed: () -> Void = {}

    func opened(_ connection: WebSocketConnection) {
        self.connection = connection
        self.events.append("opened")
    }

    func received(text: ByteBuffer) {
        self.events.append("text \(String(buffer: text))")
        self.connection.map { self.onText($0, text) }
    }

    func receivedBinary() {
        self.events.append("binary")
    }

    func draining() {
        self.events.append("draining")
        self.connection.map(self.onDraining)
    }

    func drained() {
        self.events.append("drained")
    }

    func closed(_ reason: CloseReason) {
        self.events.append("closed \(reason.initiator) \(reason.code)")
        self.connection = nil
        self.onClosed()
    }
}
