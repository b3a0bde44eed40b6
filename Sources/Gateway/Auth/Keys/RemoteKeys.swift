import ServiceLifecycle
import Synchronization

/// The keys of an issuer as its JWK set has them; any thread may ask, and one fetch is under way at a time.
package final class RemoteKeys: Service, Sendable {
    enum Event: Sendable {
        case fetched(KeySet)
        case failed(KeyFetchFailure)
        /// A token names a key that the set does not have.
        case unknownKey
    }

    private struct State {
        var cache: KeyCache
        var flight: Task<Void, Never>? = nil
    }

    package let location: KeySetURL
    let algorithms: Set<String>
    private let fetch: @Sendable () async throws(KeyFetchFailure) -> KeySetFetcher.Fetched
    private let observe: @Sendable (Event) -> Void
    private let state = Mutex(State(cache: KeyCache(now: .now)))

    init(_ fetcher: KeySetFetcher, algorithms: Set<String>, observe: @escaping @Sendable (Event) -> Void) {
        self.location = fetcher.location
        self.algorithms = algorithms
        self.fetch = fetcher.fetch
        self.observe = observe
    }

    /// Keeps the set fresh until the gateway stops.
    package func run() async {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                self.state.withLock { state in
                    if state.cache.isDue(now: .now) { state.flight = self.takeOff() }
                }
                try? await Task.sleep(for: .seconds(1))
            }
        }
    }

    /// - Parameter name: the token's `kid`.
    func keys(for algorithm: String, named name: String?) async throws(AuthenticationError) -> [KeySet.Key] {
        let (first, flight) = self.state.withLock { state in
            let answer = state.cache.wanted(algorithm, named: name, now: .now)
            if case .fetch = answer { state.flight = self.takeOff() }
            return (answer, state.flight)
        }
        switch first {
        case .fetch, .wait:
            await flight?.value
            let then = self.state.withLock { $0.cache.known(algorithm, named: name, afterFetch: true, now: .now) }
            return try self.keys(then)
        case .keys, .unknown, .unavailable: return try self.keys(first)
        }
    }

    private func keys(_ answer: KeyCache.Answer) throws(AuthenticationError) -> [KeySet.Key] {
        switch answer {
        case .keys(let keys): return keys
        case .unknown:
            self.observe(.unknownKey)
            throw AuthenticationError(
                message: "the token is signed with a key that its issuer does not have (any more)"
            )
        case .fetch, .wait, .unavailable:
            var seconds = 1
            if case .unavailable(let wait) = answer { seconds = Int((wait / .seconds(1)).rounded(.up)) }
            throw AuthenticationError(
                message: "the key of the token cannot be had from its issuer at the moment; try again",
                retryAfter: seconds
            )
        }
    }

    /// Fetches the set once, for `check`.
    package func load() async throws(KeyFetchFailure) -> Int {
        let set = try await self.download().set
        return set.keys.count
    }

    private func takeOff() -> Task<Void, Never> {
        Task {
            do throws(KeyFetchFailure) {
                let (set, age) = try await self.download()
                self.state.withLock { state in
                    state.cache.fetched(set, maximumAge: age, now: .now)
                    state.flight = nil
                }
                self.observe(.fetched(set))
            } catch {
                self.state.withLock { state in
                    state.cache.failed(error.message, random: .random(in: 0...1), now: .now)
                    state.flight = nil
                }
                self.observe(.failed(error))
            }
        }
    }

    private func download() async throws(KeyFetchFailure) -> (set: KeySet, age: Duration?) {
        let fetched = try await self.fetch()
        do throws(KeyError) {
            let set = try await KeySet(parsing: fetched.bytes)
            guard set.keys.contains(where: { self.algorithms.contains($0.algorithm) }) else {
                throw KeyError(message: "holds no key for \(self.algorithms.sorted().joined(separator: ", "))")
            }
            return (set, fetched.maximumAge)
        } catch {
            throw KeyFetchFailure(.unusable, "it \(error.message)")
        }
    }

    /// Why no token of this issuer can be verified.
    var problem: String? {
        self.state.withLock { state in
            guard state.cache.usable(now: .now) == nil else { return nil }
            return "the keys at \(self.location.name) cannot be had: \(state.cache.lastError ?? "not fetched yet")"
        }
    }

    /// What is wrong although tokens are verified.
    var note: String? {
        self.state.withLock { state in
            guard let error = state.cache.lastError, state.cache.usable(now: .now) != nil else { return nil }
            return "the keys at \(self.location.name) cannot be refreshed: \(error); the old ones are in use"
        }
    }

    /// Seconds since the set was fetched.
    var age: Double? {
        self.state.withLock { state in
            state.cache.fetchedAt.map { (ContinuousClock.now - $0) / .seconds(1) }
        }
    }
}
