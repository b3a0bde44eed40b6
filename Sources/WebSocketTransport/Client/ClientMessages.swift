import NIOCore
import Synchronization

/// A text message, already checked to be UTF-8.
package struct ClientMessage: Sendable, Hashable {
    package let bytes: [UInt8]

    package var text: String { String(decoding: self.bytes, as: UTF8.self) }
}

/// The messages of one connection, for one consumer; while it lags behind, nothing is read from the socket.
package struct ClientMessages: AsyncSequence, Sendable {
    package typealias Element = ClientMessage

    typealias Strategy = NIOAsyncSequenceProducerBackPressureStrategies.HighLowWatermark
    typealias Producer = NIOAsyncSequenceProducer<ClientMessage, Strategy, Demand>

    /// Carries the consumer's demand to the event loop.
    struct Demand: NIOAsyncSequenceProducerDelegate {
        let session: NIOLoopBound<ClientSession>
        let eventLoop: any EventLoop
        let outcome: ClientOutcome

        func produceMore() {
            self.tell { $0.moreWanted() }
        }

        func didTerminate() {
            self.tell { $0.consumerLeft() }
        }

        private func tell(_ body: @escaping @Sendable (ClientSession) -> Void) {
            // Whoever drops a closed connection may have shut its event loop down already.
            guard self.outcome.closeReason.withLock({ $0 == nil }) else {
                return
            }
            self.eventLoop.execute { body(self.session.value) }
        }
    }

    package struct AsyncIterator: AsyncIteratorProtocol {
        var base: Producer.AsyncIterator

        package mutating func next(isolation actor: isolated (any Actor)? = #isolation) async -> ClientMessage? {
            await self.base.next(isolation: actor)
        }
    }

    let base: Producer

    package func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(base: self.base.makeAsyncIterator())
    }
}
