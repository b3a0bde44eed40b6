import JobFeedProtocol
import Synchronization

/// The events of one view, for one consumer; leaving the loop ends the subscription.
///
/// Connections come and go underneath: the sequence goes on, without losing or repeating a change. It ends by throwing
/// ``JobFeedError`` when the server refuses for good, and without an error when the consuming task is cancelled.
///
/// ```swift
/// for try await event in client.subscribe(SubscribeOptions(channel: "jobs:processing")) {
///     if case .changes(let batch) = event { print(batch.changes) }
/// }
/// ```
public struct Subscription: AsyncSequence, Sendable {
    public typealias Element = Event
    public typealias Failure = any Error

    enum Item: Sendable {
        case delivery(SubscriptionMachine.Delivery)
        case cursor(String)
    }

    let id: String
    let client: JobFeedClient
    let items: AsyncThrowingStream<Item, any Error>
    private let handedOver = HandedOver()

    init(id: String, client: JobFeedClient, items: AsyncThrowingStream<Item, any Error>) {
        self.id = id
        self.client = client
        self.items = items
    }

    /// The last cursor whose changes the consumer has seen and finished with; `nil` before there is one.
    public var cursor: String? { self.handedOver.cursor.withLock { $0 } }

    public func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(subscription: self, base: self.items.makeAsyncIterator())
    }

    public struct AsyncIterator: AsyncIteratorProtocol {
        let subscription: Subscription
        var base: AsyncThrowingStream<Item, any Error>.Iterator
        private var pending: String?

        init(subscription: Subscription, base: AsyncThrowingStream<Item, any Error>.Iterator) {
            self.subscription = subscription
            self.base = base
        }

        public mutating func next() async throws -> Event? {
            try await self.next(isolation: #isolation)
        }

        public mutating func next(isolation actor: isolated (any Actor)?) async throws -> Event? {
            self.finishWithPending()
            while let item = try await self.base.next(isolation: actor) {
                switch item {
                case .cursor(let cursor):
                    self.pending = cursor
                    self.finishWithPending()
                case .delivery(let delivery):
                    self.subscription.client.core.backpressure.release(delivery.bytes, of: self.subscription.id)
                    self.pending = delivery.event.cursor
                    return delivery.event
                }
            }
            return nil
        }

        /// Asking for more says that the event before has been dealt with.
        private mutating func finishWithPending() {
            guard let cursor = self.pending else { return }
            self.pending = nil
            self.subscription.handedOver.cursor.withLock { $0 = cursor }
        }
    }
}

private final class HandedOver: Sendable {
    let cursor = Mutex<String?>(nil)
}

extension Event {
    /// Where to resume after this event.
    public var cursor: String? {
        switch self {
        case .snapshot(let snapshot): snapshot.cursor
        case .changes(let batch): batch.cursor
        case .counts(_, let cursor): cursor
        case .connecting, .live, .behind, .reconnecting: nil
        }
    }
}
