/// The steps that some subscription of this loop still waits to be told of, kept once for all of them.
struct KeptSteps {
    private var steps: [Step] = []
    /// The number of the first one that is kept.
    private var first: UInt64 = 0
    private var trimAt = 64

    /// What the next step will be.
    var next: UInt64 { self.first + UInt64(self.steps.count) }

    mutating func append(_ step: Step) { self.steps.append(step) }

    func since(_ number: UInt64) -> ArraySlice<Step> {
        self.steps[Int(clamping: number < self.first ? 0 : number - self.first)...]
    }

    /// Whether to call ``drop(before:)``: seldom enough that finding the oldest in need costs little.
    var isDue: Bool { self.steps.count >= self.trimAt }

    mutating func drop(before number: UInt64) {
        self.steps.removeFirst(min(self.steps.count, Int(clamping: number < self.first ? 0 : number - self.first)))
        self.first = max(self.first, number)
        self.trimAt = max(64, self.steps.count * 2)
    }
}
