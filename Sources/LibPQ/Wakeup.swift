import CLibPQ

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// Ends a `Listener.wait` from any thread; signals that come before the wait are kept, and several count as one.
package final class Wakeup: Sendable {
    let readDescriptor: Int32
    private let writeDescriptor: Int32

    package init() throws(PostgresError) {
        #if os(Linux)
        self.readDescriptor = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        self.writeDescriptor = self.readDescriptor
        #else
        var pair: [Int32] = [-1, -1]
        _ = pipe(&pair)
        for descriptor in pair {
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
        }
        self.readDescriptor = pair[0]
        self.writeDescriptor = pair[1]
        #endif
        guard self.readDescriptor >= 0 else {
            throw PostgresError(
                kind: .connection,
                message: "the system refused a file descriptor for waking the listener (errno \(errno))",
                hint: "raise the limit of open files"
            )
        }
    }

    deinit {
        _ = close(self.readDescriptor)
        if self.writeDescriptor != self.readDescriptor { _ = close(self.writeDescriptor) }
    }

    package func signal() {
        var one: UInt64 = 1
        _ = write(self.writeDescriptor, &one, MemoryLayout<UInt64>.size)
    }

    /// Waits without a listener.
    ///
    /// - Returns: whether a signal came; it is forgotten then.
    package func wait(_ timeout: Duration) -> Bool {
        guard case .ready = Poll.wait(.reading, self.readDescriptor, nil, until: .now + timeout) else { return false }
        self.clear()
        return true
    }

    /// Forgets the signals received so far.
    func clear() {
        var buffer: (UInt64, UInt64) = (0, 0)
        while read(self.readDescriptor, &buffer, MemoryLayout.size(ofValue: buffer)) > 0 {}
    }
}
