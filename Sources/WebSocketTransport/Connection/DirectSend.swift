import NIOCore

// The build for the sanitizers has no TLS.
#if canImport(NIOSSL)
import NIOSSL
#endif

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Hands frames to the socket of a channel past NIO, whose `write` and `flush` take nearly twice as much time.
///
/// That is right as long as all of this holds, and otherwise frames take the way through NIO:
/// 1. It is used on the channel's event loop only.
/// 2. Nothing between the connection and its socket changes what is written: there is no TLS.
/// 3. The channel is active. NIO makes a channel inactive before anybody can learn that its descriptor is closed, so the
///    number of an active channel is not that of another socket yet.
/// 4. NIO holds nothing for the socket. What the socket does not take goes to NIO, in order, and from then on this is
///    shut until NIO was asked and holds nothing.
struct DirectSend {
    /// More than that waits in NIO, which says when it is too much.
    private static let maximumBytes = 64 << 10
    /// Linux takes 1024 (`IOV_MAX`) in one call; this many fit on the stack.
    private static let maximumFrames = 64

    private let descriptor: NIOBSDSocket.Handle
    private(set) var isOpen = false
    private var first: ByteBuffer?
    private var others: [ByteBuffer] = []
    private var bytes = 0

    /// - Parameter descriptor: of a stream socket that does not block; `nil`: every frame goes through NIO.
    init(descriptor: NIOBSDSocket.Handle?) {
        self.descriptor = descriptor ?? -1
    }

    var isEmpty: Bool { self.first == nil }

    /// - Returns: `false` if the frame, and what waits before it, has to go through NIO.
    mutating func append(_ frame: ByteBuffer) -> Bool {
        guard self.isOpen else { return false }
        if self.first == nil {
            self.first = frame
        } else {
            guard self.bytes + frame.readableBytes <= Self.maximumBytes, self.others.count < Self.maximumFrames - 1
            else {
                return false
            }
            self.others.append(frame)
        }
        self.bytes += frame.readableBytes
        return true
    }

    /// Sends what waits with one system call.
    ///
    /// - Returns: `false` if something is left, for NIO. That is also where an error of the socket is met again.
    mutating func flush() -> Bool {
        guard let first = self.first else { return true }
        let sent = self.others.isEmpty ? self.sendOne(first) : self.sendAll(first)
        if sent == self.bytes {
            self.first = nil
            if !self.others.isEmpty { self.others = [] }
            self.bytes = 0
            return true
        }
        if sent > 0 { self.drop(sent) }
        return false
    }

    /// The next frame, or what is left of it, for NIO; this is shut from then on.
    mutating func takeForNIO() -> ByteBuffer? {
        self.isOpen = false
        guard let frame = self.first else { return nil }
        self.bytes -= frame.readableBytes
        self.first = self.others.isEmpty ? nil : self.others.removeFirst()
        return frame
    }

    /// - Parameter bytesInNIO: what NIO holds for the socket, flushed or not.
    mutating func reopen(bytesInNIO: Int) {
        if bytesInNIO == 0, self.descriptor >= 0 { self.isOpen = true }
    }

    private mutating func drop(_ sent: Int) {
        var left = sent
        while var frame = self.first, left > 0 {
            let part = min(left, frame.readableBytes)
            left -= part
            self.bytes -= part
            frame.moveReaderIndex(forwardBy: part)
            self.first = frame.readableBytes > 0 ? frame : self.others.isEmpty ? nil : self.others.removeFirst()
        }
    }
}

#if os(Linux)
extension DirectSend {
    private static let flags = CInt(MSG_DONTWAIT) | CInt(MSG_NOSIGNAL)

    /// What to send to without NIO; `nil` where NIO or TLS has to be in between.
    static func descriptor(of channel: any Channel) -> NIOBSDSocket.Handle? {
        let pipeline = channel.pipeline.syncOperations
        #if canImport(NIOSSL)
        guard (try? pipeline.context(handlerType: NIOSSLHandler.self)) == nil else { return nil }
        #endif
        return try? pipeline.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) { $0 }
    }

    private func sendOne(_ frame: ByteBuffer) -> Int {
        frame.withUnsafeReadableBytes { send(self.descriptor, $0.baseAddress, $0.count, Self.flags) }
    }

    private func sendAll(_ first: ByteBuffer) -> Int {
        withUnsafeTemporaryAllocation(of: iovec.self, capacity: 1 + self.others.count) { vectors in
            vectors.initializeElement(at: 0, to: Self.vector(first))
            for (index, frame) in self.others.enumerated() {
                vectors.initializeElement(at: index + 1, to: Self.vector(frame))
            }
            var message = msghdr()
            message.msg_iov = vectors.baseAddress
            message.msg_iovlen = vectors.count
            return sendmsg(self.descriptor, &message, Self.flags)
        }
    }

    /// Good for as long as the frame is held and not written to.
    private static func vector(_ frame: ByteBuffer) -> iovec {
        frame.withUnsafeReadableBytesWithStorageManagement { bytes, _ in
            iovec(iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress), iov_len: bytes.count)
        }
    }
}
#else
extension DirectSend {
    /// Elsewhere `send` cannot be told to raise no SIGPIPE.
    static func descriptor(of channel: any Channel) -> NIOBSDSocket.Handle? { nil }

    private func sendOne(_ frame: ByteBuffer) -> Int { -1 }

    private func sendAll(_ first: ByteBuffer) -> Int { -1 }
}
#endif
