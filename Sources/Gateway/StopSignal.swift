import Synchronization
import UnixSignals

/// SIGTERM and SIGINT, from the first moment on: what is not yet serving ends at once, what serves drains.
final class StopSignal: Sendable {
    private struct State {
        var isRequested = false
        var action: (@Sendable () async -> Void)?
    }

    private let state = Mutex(State())

    /// Signals end the process as they please until this returns, and no more afterwards.
    static func trap() async -> StopSignal {
        let stop = StopSignal()
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
        Task { for await _ in signals { await stop.request() } }
        return stop
    }

    private func request() async {
        let action = self.state.withLock { state in
            state.isRequested = true
            return state.action
        }
        await action?()
    }

    var isRequested: Bool { self.state.withLock { $0.isRequested } }

    /// Calls `action` at each signal, at once if there was one.
    func onRequest(_ action: @escaping @Sendable () async -> Void) async {
        let isRequested = self.state.withLock { state in
            state.action = action
            return state.isRequested
        }
        if isRequested { await action() }
    }

    /// Runs `body`; nil when a signal came first, and then does not wait for the body.
    func unlessRequested<T: Sendable>(_ body: @escaping @Sendable () async throws -> T) async throws -> T? {
        let (outcomes, outcome) = AsyncStream.makeStream(of: Swift.Result<T, any Error>?.self)
        let work = Task {
            do { outcome.yield(.success(try await body())) } catch { outcome.yield(.failure(error)) }
        }
        await self.onRequest { outcome.yield(nil) }
        for await first in outcomes {
            work.cancel()
            return try first?.get()
        }
        return nil
    }
}
