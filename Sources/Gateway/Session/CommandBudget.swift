import NIOCore

/// How many commands a connection may send: a bucket that fills steadily, so that a burst is welcome and a flood is not.
struct CommandBudget {
    static let perSecond = 200.0
    static let burst = 2000.0
    /// A long command counts as one for each of these.
    private static let bytesOfOne = 1024
    /// For the close frame: by then half of a burst is welcome again.
    static let rule = "commands come faster than \(Int(Self.perSecond)) a second; come back in 5 s"

    private var left = Self.burst
    private var filledAt: NIODeadline

    init(now: NIODeadline) {
        self.filledAt = now
    }

    /// `false`: the command is one too many.
    mutating func take(bytes: Int, now: NIODeadline) -> Bool {
        let seconds = Double((now - self.filledAt).nanoseconds) / 1e9
        self.left = min(Self.burst, self.left + seconds * Self.perSecond)
        self.filledAt = now
        self.left -= Double(1 + bytes / Self.bytesOfOne)
        return self.left >= 0
    }
}
