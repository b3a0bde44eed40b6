package import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import NIOWebSocket

/// Connects to WebSocket servers.
package struct WebSocketClient {
    package struct Configuration: Sendable {
        package var connection = WebSocketConnection.Configuration()
        /// Offered to the server; `nil` offers no compression.
        package var deflate: PerMessageDeflate? = PerMessageDeflate()
        /// A PEM file with authorities to trust beside those of the system.
        package var additionalCAFile: String?
        /// Reading pauses while so many messages wait for their consumer.
        package var bufferedMessages = 64

        package init() {
            self.connection.maxMessageBytes = 16 << 20
            self.connection.pingInterval = nil
            self.connection.idleTimeout = .seconds(60)
        }
    }

    /// - Parameters:
    ///   - path: appended to the path of `url`; empty to use that of `url`.
    ///   - connectTimeout: for TCP, and again for TLS and the handshake.
    package static func connect(
        url: String,
        path: String = "",
        headers: [(String, String)] = [],
        subprotocols: [String] = [],
        configuration: Configuration = Configuration(),
        group: any EventLoopGroup,
        connectTimeout: Duration = .seconds(10)
    ) async throws(WebSocketClientError) -> ClientWebSocket {
        let endpoint = try Endpoint(url: url, path: path)
        for (name, value) in headers + subprotocols.map({ ("Sec-WebSocket-Protocol", $0) }) {
            guard !name.isEmpty, (name + value).utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }) else {
                throw .invalidHeader(name: name)
            }
        }
        let tls = endpoint.isSecure ? try Self.tlsContext(configuration, host: endpoint.host) : nil
        let bootstrap = ClientBootstrap(group: group)
            .connectTimeout(TimeAmount(connectTimeout))
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
        do {
            let handshake = try await bootstrap.connect(host: endpoint.host, port: endpoint.port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = ClientPipeline(channel: channel, configuration: configuration)
                    if let tls {
                        // RFC 6066 section 3: no address literals in SNI; the certificate is checked against the peer's.
                        let name = endpoint.isAddressLiteral ? nil : endpoint.host
                        try channel.pipeline.syncOperations.addHandler(
                            NIOSSLClientHandler(context: tls, serverHostname: name)
                        )
                    }
                    return try pipeline.install(
                        endpoint: endpoint,
                        headers: headers,
                        subprotocols: subprotocols,
                        timeout: connectTimeout
                    )
                }
            }
            return try await handshake.get()
        } catch {
            throw WebSocketClientError(error, endpoint: endpoint, timeout: connectTimeout)
        }
    }

    private static func tlsContext(
        _ configuration: Configuration,
        host: String
    ) throws(WebSocketClientError) -> NIOSSLContext {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.applicationProtocols = ["http/1.1"]
        if let file = configuration.additionalCAFile {
            tls.additionalTrustRoots = [.file(file)]
        }
        do {
            return try NIOSSLContext(configuration: tls)
        } catch {
            let file = configuration.additionalCAFile.map { " (CA file \($0))" } ?? ""
            throw .tls(host: host, detail: "the certificates to trust cannot be read\(file): \(error)")
        }
    }
}

extension WebSocketClientError {
    fileprivate init(_ error: any Error, endpoint: Endpoint, timeout: Duration) {
        let (host, port) = (endpoint.host, endpoint.port)
        switch error {
        case let error as WebSocketClientError:
            self = error
        case let error as NIOConnectionError:
            if let failure = error.connectionErrors.last {
                switch failure.error {
                case let error as IOError where error.errnoCode == ECONNREFUSED:
                    self = .refused(host: host, port: port)
                case ChannelError.connectTimeout:
                    self = .timeout(host: host, port: port, after: timeout)
                default:
                    self = .unreachable(host: host, port: port, detail: "\(failure.error)")
                }
            } else if let dns = error.dnsAError ?? error.dnsAAAAError {
                self = .nameNotResolved(host: host, detail: "\(dns)")
            } else {
                self = .timeout(host: host, port: port, after: timeout)
            }
        case ChannelError.connectTimeout:
            self = .timeout(host: host, port: port, after: timeout)
        default:
            self = .unreachable(host: host, port: port, detail: "\(error)")
        }
    }
}
