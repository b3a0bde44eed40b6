package import Logging

package enum PoolError: Error, Sendable, Hashable {
    /// As many callers wait as the pool allows: refuse the work or try later.
    case overloaded
    case shutdown
}

/// Lends connections to blocking bodies that run on the pool's own threads, one connection per thread.
package final class ConnectionPool: Sendable {
    package enum Event: Sendable {
        /// A body has run, whether or not it failed.
        case ran(waited: Duration, used: Duration)
        /// A body was refused with ``PoolError/overloaded``.
        case refused
    }

    private let queue: WorkQueue
    private let abandon: Wakeup
    private let observe: @Sendable (Event) -> Void

    /// - Parameter observe: called on the pool's threads and on those of callers; must not block.
    package init(
        settings: ConnectionSettings,
        size: Int,
        maximumWaiting: Int,
        logger: Logger,
        observe: @escaping @Sendable (Event) -> Void = { _ in }
    ) throws(PostgresError) {
        precondition(size > 0, "a pool of \(size) connections can run nothing")
        let queue = WorkQueue(maximumWaiting: maximumWaiting)
        let abandon = try Wakeup()
        self.queue = queue
        self.observe = observe
        self.abandon = abandon
        for number in 0..<size {
            queue.startWorker(name: "postgres-\(number)") {
                let connection = PooledConnection(settings: settings, logger: logger, queue: queue, abandon: abandon)
                while let job = queue.next() {
                    job.run(connection)
                }
                connection.close()
            }
        }
    }

    deinit {
        for job in self.queue.close() { job.fail(PoolError.shutdown) }
    }

    /// How many bodies wait for a thread.
    package var waiting: Int { self.queue.waiting }

    /// Runs `body` on a thread of the pool; it blocks no other thread.
    ///
    /// Bodies that wait are run in the order of their coming, but owners take turns: the hundredth body of one owner waits
    /// for the first of another. The body runs a second time when its connection turns out to be dead before a statement was sent. A transaction
    /// it leaves open is rolled back. Cancelling the task takes a body that still waits out of the queue
    /// (`CancellationError`); one that runs is finished.
    package func withConnection<T: Sendable>(
        for owner: String = "",
        _ body: @escaping @Sendable (Connection) throws -> T
    ) async throws -> T {
        let queue = self.queue
        let id = queue.makeID()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<T, any Error>) in
                self.enqueue(id, for: owner, body) { continuation.resume(with: $0) }
                // A cancellation that came before the job was in the queue found nothing to remove.
                if Task.isCancelled { queue.remove(id, of: owner)?.fail(CancellationError()) }
            }
        } onCancel: {
            queue.remove(id, of: owner)?.fail(CancellationError())
        }
    }

    /// The same for crowds: who waits here needs no task, and cannot be cancelled.
    ///
    /// - Parameter done: called once, on a thread of the pool, or on the caller's when the body is refused.
    package func run<T: Sendable>(
        for owner: String,
        _ body: @escaping @Sendable (Connection) throws -> T,
        then done: @escaping @Sendable (Swift.Result<T, any Error>) -> Void
    ) {
        self.enqueue(self.queue.makeID(), for: owner, body, done)
    }

    private func enqueue<T: Sendable>(
        _ id: UInt64,
        for owner: String,
        _ body: @escaping @Sendable (Connection) throws -> T,
        _ done: @escaping @Sendable (Swift.Result<T, any Error>) -> Void
    ) {
        let queue = self.queue
        let observe = self.observe
        let asked = ContinuousClock.now
        let job = WorkQueue.Job(
            id: id,
            owner: owner,
            run: { connection in
                let started = ContinuousClock.now
                let result = Swift.Result { try connection.lend(to: body) }
                observe(.ran(waited: started - asked, used: .now - started))
                queue.becameIdle()
                done(result)
            },
            fail: { done(.failure($0)) }
        )
        if let refusal = queue.add(job) {
            if refusal == .overloaded { observe(.refused) }
            job.fail(refusal)
        }
    }

    /// Fails those who wait, lets running bodies finish, closes all connections and joins all threads.
    ///
    /// - Parameter grace: when it has passed, statements that still run are given up.
    package func shutdown(grace: Duration = .seconds(2)) async {
        for job in self.queue.close() { job.fail(PoolError.shutdown) }
        let deadline = Task {
            try await Task.sleep(for: grace)
            self.abandon.signal()
        }
        await withCheckedContinuation { continuation in
            self.queue.whenWorkersEnded { continuation.resume() }
        }
        deadline.cancel()
        self.queue.joinWorkers()
    }
}
