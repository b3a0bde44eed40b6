import CLinux
import Glibc

/// epoll, level-triggered.
struct Poller {
    private let descriptor: Int32
    private let events: UnsafeMutableBufferPointer<epoll_event>

    /// Lives as long as the process.
    init() {
        self.descriptor = epoll_create1(Int32(EPOLL_CLOEXEC))
        self.events = .allocate(capacity: 1024)
    }

    func add(_ descriptor: Int32, tag: Int, writing: Bool = false) {
        self.control(EPOLL_CTL_ADD, descriptor, tag, writing)
    }

    func change(_ descriptor: Int32, tag: Int, writing: Bool = false) {
        self.control(EPOLL_CTL_MOD, descriptor, tag, writing)
    }

    private func control(_ operation: Int32, _ descriptor: Int32, _ tag: Int, _ writing: Bool) {
        var event = epoll_event()
        event.events = (writing ? EPOLLOUT : EPOLLIN).rawValue
        event.data.u64 = UInt64(tag)
        epoll_ctl(self.descriptor, operation, descriptor, &event)
    }

    /// Calls `body` with the tag of each descriptor that is ready.
    func wait(milliseconds: Int32, _ body: (Int) -> Void) {
        let count = epoll_wait(self.descriptor, self.events.baseAddress, Int32(self.events.count), milliseconds)
        for index in 0..<max(Int(count), 0) { body(Int(self.events[index].data.u64)) }
    }
}
