import Dispatch
import Feed
import NIOCore

/// Hands each step to every shard, one event loop's worth at a time and in order.
final class Hub: Sendable {
    /// Steps that a loop may be behind before the reader waits for it. A slow socket never holds one: only a slow loop does.
    private static let maximumBehind = 64

    private let shards: [(loop: any EventLoop, shard: NIOLoopBound<Shard>, credit: DispatchSemaphore)]

    init(shards: [NIOLoopBound<Shard>], loops: [any EventLoop]) {
        self.shards = zip(loops, shards).map { ($0, $1, DispatchSemaphore(value: Self.maximumBehind)) }
    }

    /// Called by the reader's thread only.
    func publish(_ step: Step) {
        for (loop, shard, credit) in self.shards {
            credit.wait()
            loop.execute {
                shard.value.apply(step) { _ = credit.signal() }
            }
        }
    }

    /// The shard that serves connections of this loop.
    func shard(of loop: any EventLoop) -> NIOLoopBound<Shard>? {
        self.shards.first { $0.loop === loop }?.shard
    }
}
