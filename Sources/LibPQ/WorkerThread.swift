import CLibPQ
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// A thread of our own, for work that blocks; it outlives this object unless it is joined.
package final class WorkerThread: Sendable {
    private final class Start: Sendable {
        let name: String
        let body: @Sendable () -> Void

        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }

    // Unchecked: a thread id is a number (Linux) or a pointer that only pthread_join looks behind.
    private struct ID: @unchecked Sendable {
        let value: pthread_t
    }

    private let id: Mutex<ID?>

    /// Linux shows the first 15 bytes of `name` in top and gdb.
    package init(name: String, _ body: @escaping @Sendable () -> Void) {
        let start = Unmanaged.passRetained(Start(name: String(name.prefix(15)), body: body))
        #if canImport(Darwin)
        var id: pthread_t?
        #else
        var id = pthread_t()
        #endif
        let status = pthread_create(&id, nil, { WorkerThread.main($0) }, start.toOpaque())
        precondition(status == 0, "the system refused a thread for \(name): error \(status)")
        #if canImport(Darwin)
        self.id = Mutex(id.map { ID(value: $0) })
        #else
        self.id = Mutex(ID(value: id))
        #endif
    }

    deinit {
        if let id = self.takeID() { pthread_detach(id.value) }
    }

    /// Blocks until the body has returned; only the first call waits.
    package func join() {
        if let id = self.takeID() { pthread_join(id.value, nil) }
    }

    private func takeID() -> ID? {
        self.id.withLock { id in
            defer { id = nil }
            return id
        }
    }

    #if canImport(Darwin)
    private static func main(_ context: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
        Self.run(context)
        return nil
    }
    #else
    private static func main(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
        if let context { Self.run(context) }
        return nil
    }
    #endif

    private static func run(_ context: UnsafeMutableRawPointer) {
        let start = Unmanaged<Start>.fromOpaque(context).takeRetainedValue()
        clibpq_set_thread_name(start.name)
        start.body()
    }
}
