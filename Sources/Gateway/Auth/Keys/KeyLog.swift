import Logging
import Synchronization

/// Writes what becomes of the fetched keys to the log: each change once, and never a token.
final class KeyLog: Sendable {
    private enum State: Equatable {
        case nothing
        case keys([String])
        case failing(String)
    }

    private let logger: Logger
    private let location: String
    private let state = Mutex(State.nothing)

    init(logger: Logger, source: KeySource) {
        self.logger = logger
        self.location = source.remote?.location.name ?? ""
    }

    func write(_ event: RemoteKeys.Event) {
        let new: State
        switch event {
        case .fetched(let set): new = .keys(set.keys.map { Self.printable($0.name) })
        case .failed(let failure): new = .failing(failure.message)
        case .unknownKey: return
        }
        let old = self.state.withLock { state in
            defer { state = new }
            return state
        }
        guard new != old else { return }
        switch event {
        case .fetched(let set):
            self.logger.info("fetched the keys of tokens from \(self.location): \(set.keys.count)")
            if !set.broken.isEmpty {
                let names = set.broken.prefix(5).map { Self.printable($0) }.joined(separator: ", ")
                self.logger.warning("keys at \(self.location) that cannot be read are passed over: \(names)")
            }
        case .failed(let failure):
            self.logger.error(
                "the keys of tokens at \(self.location) cannot be had: \(failure.message); trying again"
            )
        case .unknownKey: break
        }
    }

    private static func printable(_ name: String?) -> String {
        String((name ?? "none").unicodeScalars.prefix(64).map { (" "..."~").contains($0) ? Character($0) : "?" })
    }
}
