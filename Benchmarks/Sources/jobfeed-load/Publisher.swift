/// Sends stamped messages to a server that passes on what a client sends it.
struct Publisher {
    enum Pace: Equatable {
        case silent
        case perSecond(Double)
        /// So many messages are on their way at any time.
        case window(Int)
    }

    let bytes: Int
    private(set) var pace = Pace.silent
    private(set) var published = 0
    private var due: UInt64 = 0

    init(bytes: Int) {
        self.bytes = bytes
    }

    mutating func start(_ pace: Pace, now: UInt64) {
        self.pace = pace
        self.due = now
    }

    /// How many are to be sent now.
    mutating func messagesDue(now: UInt64, received: Int, receivers: Int) -> Int {
        switch self.pace {
        case .silent: return 0
        case .perSecond(let rate):
            var count = 0
            while self.due <= now {
                count += 1
                self.due += UInt64(1e6 / rate)
            }
            return count
        case .window(let size): return max(size - (self.published - received / max(receivers, 1)), 0)
        }
    }

    mutating func message(now: UInt64) -> [UInt8] {
        self.published += 1
        var text = Array("{\"t\":\"~\(now)\",\"pad\":\"".utf8)
        text += repeatElement(0x78, count: max(self.bytes - text.count - 2, 0))
        text += Array("\"}".utf8)
        return Frames.masked(Frames.Opcode.text, text)
    }
}
