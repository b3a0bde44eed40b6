/// The bounded queue between the callers of a pool and its threads.
final class WorkQueue: Sendable {
    /// A body that waits; exactly one of `run` and `fail` is called, once.
    struct Job: Sendable {
        let id: UInt64
        let owner: String
        let run: @Sendable (PooledConnection) -> Void
        let fail: @Sendable (any Error) -> Void
    }

    private struct State: Sendable {
        var jobs = FairQueue<Job>()
        var nextID: UInt64 = 0
        var idleWorkers = 0
        var liveWorkers = 0
        var isClosed = false
        var threads: [WorkerThread] = []
        var whenEnded: [@Sendable () -> Void] = []
    }

    private let maximumWaiting: Int
    private let monitor = Monitor(State())

    init(maximumWaiting: Int) {
        self.maximumWaiting = maximumWaiting
    }

    // MARK: For callers

    func makeID() -> UInt64 {
        self.monitor.withLock { state in
            state.nextID += 1
            return state.nextID
        }
    }

    var waiting: Int {
        self.monitor.withLock { max(0, $0.jobs.count - $0.idleWorkers) }
    }

    /// The reason why the job was refused, or nil.
    func add(_ job: Job) -> PoolError? {
        self.monitor.withLock { state in
            if state.isClosed { return .shutdown }
            // A job that an idle thread is about to take does not wait.
            guard state.jobs.count < self.maximumWaiting + state.idleWorkers else { return .overloaded }
            state.jobs.append(job, of: job.owner)
            return nil
        }
    }

    func remove(_ id: UInt64, of owner: String) -> Job? {
        self.monitor.withLock { state in
            state.jobs.removeFirst(of: owner) { $0.id == id }
        }
    }

    /// Lets no more jobs in and returns those that nobody will run.
    func close() -> [Job] {
        self.monitor.withLock { state in
            state.isClosed = true
            return state.jobs.removeAll()
        }
    }

    func whenWorkersEnded(_ body: @escaping @Sendable () -> Void) {
        let haveEnded = self.monitor.withLock { state in
            if state.liveWorkers > 0 { state.whenEnded.append(body) }
            return state.liveWorkers == 0
        }
        if haveEnded { body() }
    }

    func joinWorkers() {
        let threads = self.monitor.withLock { state in
            defer { state.threads.removeAll() }
            return state.threads
        }
        for thread in threads { thread.join() }
    }

    // MARK: For workers

    /// Starts a thread that counts as idle at once, so that a fresh pool does not refuse work.
    func startWorker(name: String, _ body: @escaping @Sendable () -> Void) {
        self.monitor.withLock { state in
            state.idleWorkers += 1
            state.liveWorkers += 1
            state.threads.append(
                WorkerThread(name: name) {
                    body()
                    self.workerEnded()
                }
            )
        }
    }

    /// Blocks until there is a job; nil when the queue is closed. The caller was idle and is busy afterwards.
    func next() -> Job? {
        let job = self.monitor.wait { state -> Job?? in
            if state.isClosed { return .some(nil) }
            guard let job = state.jobs.popFirst() else { return nil }
            state.idleWorkers -= 1
            return .some(job)
        }
        return job.flatMap { $0 }
    }

    func becameIdle() {
        self.monitor.withLock { $0.idleWorkers += 1 }
    }

    /// Waits before another attempt to connect; false when the queue was closed meanwhile.
    func pause(for duration: Duration) -> Bool {
        self.monitor.wait(atMost: duration) { $0.isClosed ? true : nil } == nil
    }

    private func workerEnded() {
        let callbacks = self.monitor.withLock { state in
            state.liveWorkers -= 1
            guard state.liveWorkers == 0 else { return [@Sendable () -> Void]() }
            defer { state.whenEnded.removeAll() }
            return state.whenEnded
        }
        for callback in callbacks { callback() }
    }
}
