import JobFeedProtocol
import Synchronization

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Runs a ``SessionMachine``: one task that connects, and four beneath it while a socket is open.
///
/// Actions are carried out under the lock, for all of them only hand something to a stream; so they keep their order.
final class ClientCore: Sendable {
    typealias Continuation = AsyncThrowingStream<Subscription.Item, any Error>.Continuation

    private struct State {
        var machine: SessionMachine
        var consumers: [String: Continuation] = [:]
        var wire: Wire?
        var driver: Task<Void, Never>?
        var isShutDown = false
    }

    /// What the tasks of one connection are told.
    private struct Wire {
        var commands: AsyncStream<Command>.Continuation
        var tokenFetches: AsyncStream<Void>.Continuation
        var end: Disconnection?
    }

    let backpressure: Backpressure
    private let state: Mutex<State>
    private let wakeUps: AsyncStream<Void>
    private let wake: AsyncStream<Void>.Continuation
    private let token: JobFeedClient.TokenProvider
    private let dial: @Sendable (_ token: String) async throws(DialError) -> FeedSocket

    init(
        configuration: JobFeedClient.Configuration,
        token: @escaping JobFeedClient.TokenProvider,
        random: @escaping @Sendable () -> Double,
        dial: @escaping @Sendable (_ token: String) async throws(DialError) -> FeedSocket
    ) {
        let machine = SessionMachine(maximumStepBytes: configuration.maximumStepBytes, random: random)
        self.state = Mutex(State(machine: machine))
        self.backpressure = Backpressure(limit: configuration.bufferedBytes)
        (self.wakeUps, self.wake) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        self.token = token
        self.dial = dial
    }

    // MARK: Consumers

    func subscribe(_ options: SubscribeOptions) -> (id: String, AsyncThrowingStream<Subscription.Item, any Error>) {
        let (items, continuation) = AsyncThrowingStream<Subscription.Item, any Error>.makeStream()
        let id = self.state.withLock { state in
            let (id, actions) = state.machine.subscribed(options, now: .now)
            guard !state.isShutDown else {
                _ = state.machine.unsubscribed(id)
                continuation.finish(throwing: Self.closedError)
                return id
            }
            state.consumers[id] = continuation
            self.perform(actions, &state)
            if state.driver == nil {
                state.driver = Task { await self.drive() }
            }
            return id
        }
        continuation.onTermination = { [weak self] _ in self?.unsubscribe(id) }
        self.wake.yield()
        return (id, items)
    }

    private func unsubscribe(_ id: String) {
        self.backpressure.forget(id)
        self.state.withLock { state in
            state.consumers[id] = nil
            self.perform(state.machine.unsubscribed(id), &state)
        }
        self.wake.yield()
    }

    func shutdown() {
        let consumers = self.state.withLock { state in
            state.isShutDown = true
            state.driver?.cancel()
            for id in state.consumers.keys {
                _ = state.machine.unsubscribed(id)
            }
            defer { state.consumers = [:] }
            return Array(state.consumers.values)
        }
        // Finishing calls `unsubscribe`, which takes the lock.
        for consumer in consumers {
            consumer.finish(throwing: Self.closedError)
        }
        self.wake.finish()
    }

    private static let closedError = JobFeedError(code: .clientClosed, message: "the client was shut down")

    // MARK: Machine

    private func input(_ change: (inout SessionMachine, Moment) -> [Action]) {
        let finished = self.state.withLock { state in
            let now = Moment(instant: .now, wall: Date())
            return self.perform(change(&state.machine, now), &state)
        }
        // Finishing calls `unsubscribe`, which takes the lock.
        for (consumer, error) in finished {
            consumer.finish(throwing: error)
        }
    }

    private typealias Action = SessionMachine.Action

    @discardableResult
    private func perform(_ actions: [Action], _ state: inout State) -> [(Continuation, JobFeedError?)] {
        var finished: [(Continuation, JobFeedError?)] = []
        for action in actions {
            switch action {
            case .send(let command): state.wire?.commands.yield(command)
            case .deliver(let id, let delivery):
                self.backpressure.add(delivery.bytes, to: id)
                state.consumers[id]?.yield(.delivery(delivery))
            case .moveCursor(let id, let cursor): state.consumers[id]?.yield(.cursor(cursor))
            case .finish(let id, let error):
                if let consumer = state.consumers.removeValue(forKey: id) {
                    finished.append((consumer, error))
                }
            case .fetchToken: state.wire?.tokenFetches.yield()
            case .disconnect(let end):
                state.wire?.end = end
                state.wire?.commands.finish()
            }
        }
        return finished
    }

    // MARK: Driver

    private func drive() async {
        var wakeUps = self.wakeUps.makeAsyncIterator()
        while !Task.isCancelled {
            var step = SessionMachine.NextStep.park
            self.input { machine, now in
                let (next, actions) = machine.nextStep(now: now.instant)
                step = next
                return actions
            }
            switch step {
            case .park, .stay:
                guard await wakeUps.next(isolation: #isolation) != nil else { return }
            case .wait(let until): try? await ContinuousClock().sleep(until: until)
            case .connect:
                let end = await self.connect()
                self.state.withLock { $0.wire = nil }
                self.input { machine, now in machine.disconnected(end, now: now.instant) }
            }
        }
    }

    private func connect() async -> Disconnection {
        let token: String
        do {
            token = try await self.token()
        } catch let error as JobFeedError {
            return .gaveUp(error)
        } catch {
            return .tokenUnavailable("\(error)")
        }
        do {
            let socket = try await self.dial(token)
            return await self.converse(over: socket, token: token)
        } catch {
            return error.end
        }
    }

    /// Returns when the connection has come to its end, and why.
    private func converse(over socket: FeedSocket, token: String) async -> Disconnection {
        let (commands, commandSink) = AsyncStream<Command>.makeStream()
        let (fetches, fetchSink) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        self.state.withLock {
            $0.wire = Wire(commands: commandSink, tokenFetches: fetchSink)
            $0.machine.connected(token: token, now: .now)
        }
        let failure = await withTaskGroup(of: Disconnection?.self) { group in
            group.addTask { await self.read(from: socket) }
            group.addTask {
                for await command in commands {
                    await socket.send(command.encoded())
                }
                await socket.close()
                return nil
            }
            group.addTask {
                for await _ in fetches {
                    let fresh = try? await self.token()
                    self.input { machine, now in machine.tokenFetched(fresh, now: now) }
                }
                return nil
            }
            group.addTask {
                while (try? await Task.sleep(for: .milliseconds(250))) != nil {
                    let isReading = !self.backpressure.isHoldingUp
                    self.input { machine, now in machine.ticked(isReading: isReading, now: now) }
                }
                return nil
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            return first
        }
        await socket.close()
        return self.state.withLock { $0.wire?.end } ?? failure ?? socket.end()
    }

    /// Returns `nil` when the connection ended and `socket` knows why.
    private func read(from socket: FeedSocket) async -> Disconnection? {
        while let text = await socket.next() {
            do {
                let message = try ServerMessage(decoding: text)
                self.input { machine, now in machine.received(message, bytes: text.count, now: now) }
            } catch {
                return .lost("the server sent a message that is not jobfeed.v1: \(error)")
            }
            await self.backpressure.waitForRoom()
        }
        return nil
    }
}
