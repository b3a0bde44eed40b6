import Foundation
import LibPQ

/// The demo's application: creates jobs, lets a thread change hands now and then, and tidies up.
struct DemoApplication: ~Copyable {
    private static let kept = 220
    private static let tidyEvery = 5.0

    private let connection: Connection
    private let pause: DemoPause
    private let meanInterval: Double
    private var random: DemoRandom
    private var fate: DemoRandom
    private var wandererIsAway = false

    init(_ connection: Connection, _ pause: DemoPause, rate: Int, seed: UInt64) {
        self.connection = connection
        self.pause = pause
        self.meanInterval = 60 / Double(rate)
        self.random = DemoRandom(seed: seed &+ 1)
        self.fate = DemoRandom(seed: seed &+ 2)
    }

    consuming func run() throws(PostgresError) {
        var now = 0.0
        var nextJob = 0.0
        var nextTidying = 1.0
        var nextMove = 30.0
        let start = ContinuousClock.now
        while self.pause.wait(seconds: min(nextJob, nextTidying, nextMove) - now) {
            now = (ContinuousClock.now - start) / .seconds(1)
            if now >= nextJob {
                try self.createJob()
                // Behind by more than a second means a paused machine, not work to catch up on.
                nextJob = max(nextJob, now - 1) + self.meanInterval * Double.random(in: 0.3...1.7, using: &self.random)
            }
            if now >= nextTidying {
                try self.tidy()
                nextTidying = now + Self.tidyEvery
            }
            if now >= nextMove {
                try self.moveThread()
                nextMove = now + Double.random(in: self.wandererIsAway ? 15...20 : 60...90, using: &self.fate)
            }
        }
    }

    private mutating func createJob() throws(PostgresError) {
        let job = DemoJob(&self.random)
        // A thread that somebody has deleted by hand makes it nobody's job.
        _ = try self.connection.query(
            """
            INSERT INTO public.job (assigned_to, path, payload, max_retries, retry_strategy, timeout)
            VALUES ((SELECT id FROM public.thread WHERE id = $1::bigint), $2, $3::jsonb, $4::int, $5, 30)
            """,
            [job.thread.map(String.init), job.kind.path, job.payload, String(job.maxRetries), job.kind.strategy]
        )
    }

    private mutating func moveThread() throws(PostgresError) {
        self.wandererIsAway.toggle()
        let (from, to) = self.wandererIsAway ? ("alice", "bob") : ("bob", "alice")
        _ = try self.connection.query(
            "UPDATE public.thread SET author = $2 WHERE id = $1::bigint AND author = $3",
            [String(DemoThread.wandering), to, from]
        )
    }

    /// Old jobs go, and jobs whose worker has lost them are to be done again.
    private func tidy() throws(PostgresError) {
        let paths = DemoKind.all.map(\.path).joined(separator: " ")
        _ = try self.connection.query(
            """
            DELETE FROM public.job WHERE id IN (
                SELECT id FROM public.job
                WHERE status IN ('success', 'failed') AND path = ANY (string_to_array($1, ' '))
                ORDER BY created_at DESC, id DESC OFFSET $2::int)
            """,
            [paths, String(Self.kept)]
        )
        _ = try self.connection.query(
            """
            UPDATE public.job SET status = 'pending', assignee = NULL, progress = NULL
            WHERE status = 'processing' AND assignee LIKE 'worker-%' AND updated_at < now() - timeout * interval '1 s'
            """
        )
    }
}
