import Synchronization

/// Counts the bytes that consumers have not taken yet, and holds up the reader while they are too many.
final class Backpressure: Sendable {
    private struct State {
        var bytes: [String: Int] = [:]
        var total = 0
        var reader: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())
    private let limit: Int

    init(limit: Int) {
        self.limit = limit
    }

    var isHoldingUp: Bool { self.state.withLock { $0.reader != nil } }

    func add(_ bytes: Int, to id: String) {
        self.state.withLock {
            $0.bytes[id, default: 0] += bytes
            $0.total += bytes
        }
    }

    func release(_ bytes: Int, of id: String) {
        self.change { state in
            guard let held = state.bytes[id] else { return }
            let released = min(held, bytes)
            state.bytes[id] = held - released
            state.total -= released
        }
    }

    func forget(_ id: String) {
        self.change { state in
            state.total -= state.bytes.removeValue(forKey: id) ?? 0
        }
    }

    /// Returns when there is room, or when the task is cancelled; for the one reader.
    func waitForRoom() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let goOn = self.state.withLock { state in
                    if state.total <= self.limit || Task.isCancelled {
                        return true
                    }
                    state.reader = continuation
                    return false
                }
                if goOn {
                    continuation.resume()
                }
            }
        } onCancel: {
            self.state.withLock { $0.reader.take() }?.resume()
        }
    }

    private func change(_ body: (inout State) -> Void) {
        let reader = self.state.withLock { state in
            body(&state)
            return state.total <= self.limit ? state.reader.take() : nil
        }
        reader?.resume()
    }
}
