import LibPQ

/// The jobs of the last hours, as if the demo had been running all the time.
struct DemoHistory {
    private static let jobs = 140
    private static let minutes = 180.0

    let seed: UInt64

    func write(to database: DemoDatabase) throws(PostgresError) {
        let runner = try Connection.open(database.settings(user: DemoDatabase.runnerRole, purpose: "demo/history"))
        defer { runner.close() }
        _ = try runner.query(
            """
            INSERT INTO public.job (assigned_to, path, payload, retries, max_retries, retry_strategy, assignee, status,
                                    progress, errors, created_at, updated_at)
            SELECT assigned_to, path, payload, retries, max_retries, retry_strategy, assignee, status, progress,
                   (SELECT coalesce(jsonb_agg(jsonb_build_object(
                               'attempt', attempt, 'at', created + attempt * interval '2 s', 'message', message)
                           ORDER BY attempt), '[]')
                    FROM jsonb_array_elements_text(messages) WITH ORDINALITY AS e (message, attempt)),
                   created, created + (retries + 1) * interval '2 s' + interval '1 s' * taken
            FROM jsonb_to_recordset($1::jsonb) AS j (
                   assigned_to bigint, path text, payload jsonb, retries int, max_retries int, retry_strategy text,
                   assignee text, status text, progress jsonb, messages jsonb, minutes_ago float8, taken float8)
            CROSS JOIN LATERAL (SELECT now() - minutes_ago * interval '1 min') AS c (created)
            ORDER BY minutes_ago DESC
            """,
            ["[" + self.rows().joined(separator: ",") + "]"]
        )
    }

    /// JSON objects, oldest first.
    private func rows() -> [String] {
        var random = DemoRandom(seed: self.seed)
        return (0..<Self.jobs).map { place in
            let job = DemoJob(&random)
            let minutesAgo = Self.minutes * (1 - (Double(place) + random.fraction()) / Double(Self.jobs)) + 0.5
            let worker = Int.random(in: 1...3, using: &random)
            var messages: [String] = []
            var attempt = self.attempt(job, place, 0)
            while let failure = attempt.failure {
                messages.append(failure.message)
                guard messages.count <= job.maxRetries else { break }
                attempt = self.attempt(job, place, messages.count)
            }
            let progress = attempt.kind.tick == nil ? "null" : attempt.progress(attempt.failure?.done ?? 1)
            let thread = job.thread.map(String.init) ?? "null"
            let quoted = messages.map { "\"\($0)\"" }.joined(separator: ",")
            return """
                {"assigned_to":\(thread),"path":"\(job.kind.path)","payload":\(job.payload),\
                "retries":\(min(messages.count, job.maxRetries)),"max_retries":\(job.maxRetries),\
                "retry_strategy":"\(job.kind.strategy)","assignee":"worker-\(worker)",\
                "status":"\(attempt.failure == nil ? "success" : "failed")","progress":\(progress),\
                "messages":[\(quoted)],"minutes_ago":\(minutesAgo),"taken":\(attempt.seconds)}
                """
        }
    }

    /// History has no ids yet: its attempts count down from below zero.
    private func attempt(_ job: DemoJob, _ place: Int, _ number: Int) -> DemoAttempt {
        DemoAttempt(job.kind, seed: self.seed, job: Int64(-1 - place), attempt: number)
    }
}
