import DequeModule
import WebSocketTransport

/// Frames on their way to the sockets of one loop, in order, and taken in slices: a step with very many receivers does
/// not hold the loop.
final class FanOut {
    private enum Item {
        case frames([OutboundFrame], members: [Subscription], number: UInt64)
        case mark(() -> Void)
    }

    private var items: Deque<Item> = []
    /// How many of them are frames.
    private var frameItems = 0
    /// Members of the first item that have their frames.
    private var served = 0

    var isEmpty: Bool { self.items.isEmpty }

    /// - Parameter number: members that joined later are left out.
    func append(_ frames: [OutboundFrame], to members: [Subscription], number: UInt64) {
        guard !frames.isEmpty, !members.isEmpty else { return }
        self.items.append(.frames(frames, members: members, number: number))
        self.frameItems += 1
    }

    /// `body` is called when all that was appended before has been sent.
    func mark(_ body: @escaping () -> Void) {
        self.items.append(.mark(body))
    }

    /// - Parameters:
    ///   - receivers: how many may be served, until the next call.
    ///   - send: is told whether one frame is all that there is for anybody.
    func send(to receivers: Int, _ send: ([OutboundFrame], Subscription, _ isAlone: Bool) -> Void) {
        var left = receivers
        while left > 0, let item = self.items.first {
            switch item {
            case .mark(let body):
                self.items.removeFirst()
                body()
            case .frames(let frames, let members, let number):
                let end = min(members.count, self.served + left)
                let isAlone = self.frameItems == 1 && frames.count == 1
                for place in self.served..<end where members[place].joined <= number {
                    send(frames, members[place], isAlone)
                }
                left -= end - self.served
                self.served = end
                if end == members.count {
                    self.items.removeFirst()
                    self.frameItems -= 1
                    self.served = 0
                }
            }
        }
    }
}

@available(*, unavailable)
extension FanOut: Sendable {}
