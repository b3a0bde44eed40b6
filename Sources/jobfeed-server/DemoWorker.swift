import Foundation
import LibPQ

/// A worker of the demo: claims a job, reports progress, and finishes it well or badly.
struct DemoWorker: ~Copyable {
    private struct Claim {
        let id: Int64
        let retries: Int
        let maxRetries: Int
        let attempt: DemoAttempt
    }

    private let connection: Connection
    private let pause: DemoPause
    private let name: String
    private let seed: UInt64
    /// What durations are multiplied by.
    private let pace: Double

    init(_ connection: Connection, _ pause: DemoPause, name: String, seed: UInt64, pace: Double) {
        self.connection = connection
        self.pause = pause
        self.name = name
        self.seed = seed
        self.pace = pace
    }

    func run() throws(PostgresError) {
        var idle = 0.05
        while self.pause.wait(seconds: idle) {
            guard let claim = try self.claim() else {
                idle = 0.2
                continue
            }
            idle = 0.05
            guard try self.work(claim) else { return }
        }
    }

    /// Paths that no worker knows stay pending, so that rows written by hand are left alone.
    private func claim() throws(PostgresError) -> Claim? {
        let rows = try self.connection.query(
            """
            UPDATE public.job SET status = 'processing', assignee = $1, progress = NULL
            WHERE id = (SELECT id FROM public.job
                        WHERE status = 'pending' AND updated_at + delay * interval '1 ms' <= now()
                          AND path = ANY (string_to_array($2, ' '))
                        ORDER BY created_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING id, path, retries, max_retries
            """,
            [self.name, DemoKind.all.map(\.path).joined(separator: " ")]
        )
        guard rows.rowCount == 1, let id = rows.int64(0, 0), let retries = rows.int64(0, 2),
            let most = rows.int64(0, 3),
            let path = rows.string(0, 1), let kind = DemoKind.all.first(where: { $0.path == path })
        else { return nil }
        let attempt = DemoAttempt(kind, seed: self.seed, job: id, attempt: Int(retries))
        return Claim(id: id, retries: Int(retries), maxRetries: Int(most), attempt: attempt)
    }

    /// False when the demo ends meanwhile. A job that was deleted or taken away is simply given up.
    private func work(_ claim: Claim) throws(PostgresError) -> Bool {
        let attempt = claim.attempt
        let start = ContinuousClock.now
        let duration = attempt.seconds * self.pace
        let end = attempt.failure?.done ?? 1
        while true {
            let done = (ContinuousClock.now - start) / .seconds(1) / duration
            if done >= end { break }
            if attempt.kind.tick != nil {
                guard try self.update(claim, "progress = $3::jsonb", [attempt.progress(done)]) else { return true }
            }
            let left = (end - done) * duration
            guard self.pause.wait(seconds: min(attempt.kind.tick ?? left, left)) else { return false }
        }
        _ =
            if let failure = attempt.failure {
                try self.fail(claim, failure.message)
            } else {
                try self.update(claim, "status = 'success', progress = $3::jsonb", [attempt.progress(1)])
            }
        return true
    }

    private func fail(_ claim: Claim, _ message: String) throws(PostgresError) -> Bool {
        let retry = claim.retries < claim.maxRetries
        let outcome =
            retry
            ? "status = 'pending', retries = retries + 1, delay = $4::int, assignee = NULL"
            : "status = 'failed', delay = $4::int"
        let error = #"{"attempt":\#(claim.retries + 1),"worker":"\#(self.name)","message":"\#(message)"}"#
        return try self.update(
            claim,
            "errors = errors || jsonb_set($3::jsonb, '{at}', to_jsonb(now())), \(outcome)",
            [error, retry ? String(claim.attempt.delay(retries: claim.retries)) : "0"]
        )
    }

    private func update(_ claim: Claim, _ set: String, _ values: [String]) throws(PostgresError) -> Bool {
        let result = try self.connection.query(
            "UPDATE public.job SET \(set) WHERE id = $1 AND assignee = $2 AND status = 'processing'",
            [String(claim.id), self.name] + values
        )
        return result.affectedRows == 1
    }
}
