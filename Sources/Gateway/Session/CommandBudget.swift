import NIOCore

/// How many commands a connection may send: a bucket that fills steadily, so that a burst is welcome and a flood is not.
struct CommandBudget {
    private let perSecond: Double
    private var burst: Double { 10 * self.perSecond }
    /// A long command counts as one for each of these.
    private static let bytesOfOne = 1024
    /// For the close frame: by then half of a burst is welcome again.
    var rule: String { "commands come faster than \(Int(self.perSecond)) a second; come back in 5 s" }

    private var left: Double
    private var filledAt: NIODeadline

    init(perSecond: Int, now: NIODeadline) {
        self.perSecond = Double(perSecond)
        self.filledAt = now
        self.left = 10 * Double(perSecond)
    }

    /// `false`: the command is one too many.
    mutating func take(bytes: Int, now: NIODeadline) -> Bool {
        let seconds = Double((now - self.filledAt).nanoseconds) / 1e9
        self.left = min(self.burst, self.left + seconds * self.perSecond)
        self.filledAt = now
        self.left -= Double(1 + bytes / Self.bytesOfOne)
        return self.left >= 0
    }
}
