import Dispatch
import Foundation
import LibPQ
import Logging

/// The simulated application: a thread that creates jobs and a few that work on them, each with plain SQL of its own.
final class DemoRunner: Sendable {
    private let pause = DemoPause()
    private let threads: [WorkerThread]

    init(_ database: DemoDatabase, rate: Int, seed: UInt64, logger: Logger) {
        // Jobs take 5 seconds on average. More of them get more workers, and beyond that they have to be quicker.
        let busy = Double(rate) / 60 * 5
        let workers = min(16, max(3, Int(busy * 1.3) + 1))
        let pace = min(1, Double(workers) / (busy * 1.3))
        let pause = self.pause
        func start(
            _ name: String,
            _ body: @escaping @Sendable (Connection) throws(PostgresError) -> Void
        ) -> WorkerThread {
            let settings = database.settings(user: DemoDatabase.runnerRole, purpose: "demo/\(name)")
            return WorkerThread(name: name) { Self.keepConnected(settings, pause, logger, body) }
        }
        let application = start("application") { connection throws(PostgresError) in
            try DemoApplication(connection, pause, rate: rate, seed: seed).run()
        }
        self.threads =
            [application]
            + (1...workers).map { number in
                start("worker-\(number)") { connection throws(PostgresError) in
                    try DemoWorker(connection, pause, name: "worker-\(number)", seed: seed, pace: pace).run()
                }
            }
    }

    func stop() {
        self.pause.end()
        for thread in self.threads { thread.join() }
    }

    private static func keepConnected(
        _ settings: ConnectionSettings,
        _ pause: DemoPause,
        _ logger: Logger,
        _ body: (Connection) throws(PostgresError) -> Void
    ) {
        repeat {
            do throws(PostgresError) {
                let connection = try Connection.open(settings)
                defer { connection.close() }
                try body(connection)
            } catch {
                logger.warning("The demo's runner has to start again", metadata: ["error": "\(error)"])
            }
        } while pause.wait(seconds: 1)
    }
}

/// Sleep from which all threads can be woken for good.
final class DemoPause: Sendable {
    private let ended = DispatchSemaphore(value: 0)

    /// False, at once, from the end on.
    func wait(seconds: Double) -> Bool {
        guard self.ended.wait(timeout: .now() + max(0, seconds)) == .success else { return true }
        // For the next one who waits.
        self.ended.signal()
        return false
    }

    func end() {
        self.ended.signal()
    }
}
