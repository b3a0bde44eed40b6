import NIOCore
import Testing

@testable import WebSocketTransport

#if os(Linux)
import Glibc

/// Two ends of a connection; the receiving one tells what the sending one's system calls did.
private final class SocketPair {
    let sender: CInt
    private var receiver: CInt

    /// - Parameter keepsCalls: what one call sends is received as one message, so that calls can be counted.
    init(keepsCalls: Bool = false) {
        var ends: [CInt] = [-1, -1]
        let kind = keepsCalls ? SOCK_SEQPACKET : SOCK_STREAM
        #expect(socketpair(AF_UNIX, CInt(kind.rawValue) | CInt(SOCK_NONBLOCK.rawValue), 0, &ends) == 0)
        (self.sender, self.receiver) = (ends[0], ends[1])
    }

    deinit {
        close(self.sender)
        self.closeReceiver()
    }

    func closeReceiver() {
        if self.receiver >= 0 { close(self.receiver) }
        self.receiver = -1
    }

    /// What one call receives; `nil`: nothing is there.
    func receive() -> String? {
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        let count = recv(self.receiver, &bytes, bytes.count, 0)
        return count < 0 ? nil : String(decoding: bytes.prefix(count), as: UTF8.self)
    }

    func receiveAll() -> String {
        var all = ""
        while let more = self.receive(), !more.isEmpty { all += more }
        return all
    }

    /// Fills the socket.
    func fill() -> Int {
        let bytes = [UInt8](repeating: 0x2E, count: 4096)
        var total = 0
        while case let count = send(self.sender, bytes, bytes.count, CInt(MSG_DONTWAIT)), count > 0 { total += count }
        return total
    }
}

/// Lets the expectation macros call what mutates.
private final class Direct {
    private var direct: DirectSend

    init(_ descriptor: CInt?, isOpen: Bool = true) {
        self.direct = DirectSend(descriptor: descriptor)
        if isOpen { self.direct.reopen(bytesInNIO: 0) }
    }

    var isOpen: Bool { self.direct.isOpen }
    var isEmpty: Bool { self.direct.isEmpty }
    func append(_ text: String) -> Bool { self.direct.append(ByteBuffer(string: text)) }
    func append(_ frame: ByteBuffer) -> Bool { self.direct.append(frame) }
    func flush() -> Bool { self.direct.flush() }
    func reopen(bytesInNIO: Int) { self.direct.reopen(bytesInNIO: bytesInNIO) }

    /// What NIO gets.
    func rest() -> [String] {
        var rest: [String] = []
        while let bytes = self.direct.takeForNIO() { rest.append(String(buffer: bytes)) }
        return rest
    }
}

@Suite struct DirectSendTests {
    private func open(_ pair: SocketPair) -> Direct { Direct(pair.sender) }

    @Test(arguments: [1, 2, 3, 64])
    func whatWaitsLeavesInOrderWithOneCall(count: Int) {
        let pair = SocketPair(keepsCalls: true)
        let direct = self.open(pair)
        for number in 0..<count { #expect(direct.append("<\(number)>")) }
        #expect(pair.receive() == nil)
        #expect(direct.flush())
        #expect(pair.receive() == (0..<count).map { "<\($0)>" }.joined())
        #expect(direct.isEmpty)
        #expect(direct.flush())
        #expect(pair.receive() == nil)
    }

    @Test func framesAreSharedAndOnlyTheirReadablePartIsSent() {
        let pair = SocketPair()
        let direct = self.open(pair)
        var frame = ByteBuffer(string: "xxframe")
        frame.moveReaderIndex(forwardBy: 2)
        #expect(direct.append(frame))
        #expect(direct.append(frame))
        #expect(direct.flush())
        #expect(pair.receiveAll() == "frameframe")
        #expect(String(buffer: frame) == "frame")
    }

    @Test func whatASocketDoesNotTakeIsLeftForNIO() {
        let pair = SocketPair()
        let direct = self.open(pair)
        let large = String(repeating: "abcdefghij", count: 100_000)
        #expect(direct.append(large))
        #expect(!direct.flush())
        let rest = direct.rest()
        #expect(rest.count == 1)
        let received = pair.receiveAll()
        #expect(!received.isEmpty)
        #expect(received + rest.joined() == large)
        #expect(!direct.isOpen)
        #expect(direct.isEmpty)
    }

    @Test func aCallThatEndsInsideALaterFrameLeavesTheRestOfIt() {
        let pair = SocketPair()
        let direct = self.open(pair)
        let filled = pair.fill()
        #expect(filled > 0)
        #expect(pair.receive() != nil)
        // Room for some of these, and not for all.
        var sent = ""
        for number in 0..<60 {
            let frame = String(repeating: "\(number % 10)", count: 1000)
            sent += frame
            #expect(direct.append(frame))
        }
        while direct.flush() {
            for number in 0..<60 {
                let frame = String(repeating: "\(number % 10)", count: 1000)
                sent += frame
                #expect(direct.append(frame))
            }
        }
        let rest = direct.rest().joined()
        let received = pair.receiveAll().drop { $0 == "." }
        #expect(!rest.isEmpty)
        #expect(received + rest == sent)
    }

    @Test func aFullSocketLeavesEverything() {
        let pair = SocketPair()
        let direct = self.open(pair)
        #expect(pair.fill() > 0)
        #expect(direct.append("a"))
        #expect(direct.append("b"))
        #expect(!direct.flush())
        #expect(direct.rest() == ["a", "b"])
    }

    @Test func aPeerThatIsGoneRaisesNoSignal() {
        let pair = SocketPair()
        let direct = self.open(pair)
        pair.closeReceiver()
        #expect(direct.append("a"))
        #expect(!direct.flush())
        #expect(direct.rest() == ["a"])
    }

    @Test func onceNIOHoldsSomethingItIsShut() {
        let pair = SocketPair()
        let direct = self.open(pair)
        #expect(direct.rest().isEmpty)
        #expect(!direct.append("a"))
        direct.reopen(bytesInNIO: 1)
        #expect(!direct.append("a"))
        direct.reopen(bytesInNIO: 0)
        #expect(direct.append("a"))
    }

    @Test func itNeverOpensWithoutADescriptor() {
        let direct = Direct(nil)
        #expect(!direct.append("a"))
        #expect(direct.flush())
    }

    @Test func whatWaitsIsBounded() {
        let pair = SocketPair()
        let direct = self.open(pair)
        // One frame may be of any size: the socket takes what it takes.
        #expect(direct.append(ByteBuffer(repeating: 0x61, count: 200_000)))
        #expect(!direct.append("b"))
        let other = self.open(pair)
        for _ in 0..<64 { #expect(other.append("a")) }
        #expect(!other.append("a"))
    }
}
#endif
