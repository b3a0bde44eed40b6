import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// Fetches a JWK set, within bounds of time, size and redirects.
package struct KeySetFetcher: Sendable {
    static let maximumBytes = 256 << 10
    static let maximumRedirects = 3
    /// For all of it: whoever waits with a token has 10 s for the handshake.
    static let patience = Duration.seconds(5)

    struct Fetched: Sendable {
        let bytes: [UInt8]
        /// As its server allows.
        let maximumAge: Duration?
    }

    package let location: KeySetURL
    private let authorities: [NIOSSLCertificate]

    /// - Parameter authoritiesFile: certificates (PEM) to trust besides the system's.
    package init(_ location: KeySetURL, authoritiesFile: String?) throws(KeyError) {
        self.location = location
        do {
            self.authorities = try authoritiesFile.map { try NIOSSLCertificate.fromPEMFile($0) } ?? []
        } catch {
            throw KeyError(message: "jwt-jwks-ca-file: \(authoritiesFile ?? "") holds no certificates in PEM")
        }
    }

    func fetch() async throws(KeyFetchFailure) -> Fetched {
        // A set is fetched so rarely that a thread of its own for the time is less than a client that is kept.
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let result: Result<Fetched, any Error>
        do {
            result = .success(
                try await HTTPClient.withHTTPClient(eventLoopGroup: group, configuration: self.configuration()) {
                    client in
                    try await Self.within(Self.patience) { try await self.fetch(self.location, client) }
                }
            )
        } catch {
            result = .failure(error)
        }
        try? await group.shutdownGracefully()
        do {
            return try result.get()
        } catch {
            throw KeyFetchFailure(error)
        }
    }

    private func configuration() -> HTTPClient.Configuration {
        var tls = TLSConfiguration.makeClientConfiguration()
        if !self.authorities.isEmpty { tls.additionalTrustRoots = [.certificates(self.authorities)] }
        var configuration = HTTPClient.Configuration(tlsConfiguration: tls)
        // Each step is checked here.
        configuration.redirectConfiguration = .disallow
        configuration.httpVersion = .http1Only
        // It would go on until the time is over, and then not say why.
        configuration.connectionPool.retryConnectionEstablishment = false
        // Spans would show the query.
        configuration.tracing.tracer = nil
        return configuration
    }

    private func fetch(_ location: KeySetURL, _ client: HTTPClient) async throws -> Fetched {
        var location = location
        for _ in 0...Self.maximumRedirects {
            var request = HTTPClientRequest(url: location.url.absoluteString)
            request.headers.add(name: "Accept", value: "application/jwk-set+json, application/json")
            request.headers.add(name: "User-Agent", value: "jobfeed")
            let response = try await client.execute(request, timeout: .minutes(1))
            switch response.status.code {
            case 200:
                let body = try await response.body.collect(upTo: Self.maximumBytes)
                return Fetched(bytes: Array(body.readableBytesView), maximumAge: CacheControl.age(response.headers))
            case 301, 302, 303, 307, 308:
                let target = response.headers.first(name: "Location")
                guard let next = target.flatMap({ location.redirected(to: $0) }) else {
                    throw KeyFetchFailure(.refused, "it redirects to where it should not")
                }
                location = next
            case let code: throw KeyFetchFailure(.refused, "it answered HTTP \(code)")
            }
        }
        throw KeyFetchFailure(.refused, "it redirects more than \(Self.maximumRedirects) times")
    }

    /// The client's own deadline ends with the response's head.
    private static func within<Value: Sendable>(
        _ patience: Duration,
        _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        try await withThrowingTaskGroup(of: Value.self) { group in
            group.addTask { try await body() }
            group.addTask {
                try await Task.sleep(for: patience)
                throw KeyFetchFailure(.unreachable, "it did not answer within \(patience.components.seconds) s")
            }
            defer { group.cancelAll() }
            guard let value = try await group.next() else { throw CancellationError() }
            return value
        }
    }
}
