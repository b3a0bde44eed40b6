/// A job as the application creates it.
struct DemoJob: Sendable {
    let kind: DemoKind
    let thread: Int?
    let payload: String
    let maxRetries: Int

    init(_ random: inout DemoRandom) {
        self.kind = DemoKind.pick(&random)
        let thread = Int.random(in: 1...DemoThread.all.count, using: &random)
        self.thread = self.kind.isNobodys ? nil : thread
        self.payload = self.kind.payload(&random)
        self.maxRetries = random.pick([1, 2, 3, 3, 5])
    }
}

/// One attempt at a job, decided before it starts: how long it takes, what it reports and whether it fails.
struct DemoAttempt: Sendable {
    let kind: DemoKind
    let seconds: Double
    /// How far it comes before it fails, and with what message; nil when it succeeds.
    let failure: (done: Double, message: String)?
    private let total: Int

    init(_ kind: DemoKind, seed: UInt64, job: Int64, attempt: Int) {
        var random = DemoRandom(seed: seed, job: job, attempt: attempt)
        self.kind = kind
        self.seconds = Double.random(in: kind.seconds, using: &random)
        self.total = Int.random(in: kind.counted.upTo, using: &random)
        // Some jobs cannot succeed, however often they are tried.
        var fate = DemoRandom(seed: seed, job: job, attempt: -1)
        let fails = random.fraction() < kind.failing || fate.fraction() < 0.06
        let done = Double.random(in: 0.1...0.9, using: &random)
        self.failure = fails ? (done, random.pick(kind.errors)) : nil
    }

    /// The JSON of `progress` when a part from 0 to 1 is done.
    func progress(_ done: Double) -> String {
        let percent = Int((done * 100).rounded(.down))
        let stage = min(Int(done * Double(self.kind.stages.count)), self.kind.stages.count - 1)
        let message = done < 1 ? self.kind.stages[stage] : "done"
        let count = Int(done * Double(self.total))
        let data = #"{"\#(self.kind.counted.name)":\#(count),"of":\#(self.total)}"#
        return #"{"percent":\#(percent),"message":"\#(message)","data":\#(data)}"#
    }

    /// Milliseconds before the next attempt.
    func delay(retries: Int) -> Int {
        switch self.kind.strategy {
        case "exponential": 200 << min(max(retries, 0), 10)
        default: 200
        }
    }
}
