import Testing

@testable import WebSocketTransport

@Suite struct EndpointTests {
    @Test(arguments: [
        ("ws://localhost:8080", "/v1/feed", false, "localhost", 8080, "/v1/feed", "localhost:8080"),
        ("http://localhost", "v1/feed", false, "localhost", 80, "/v1/feed", "localhost"),
        ("WSS://example.com/", "/v1/feed", true, "example.com", 443, "/v1/feed", "example.com"),
        ("https://example.com/base/?x=1", "/v1/feed", true, "example.com", 443, "/base/v1/feed", "example.com"),
        ("https://example.com?x=1#y", "", true, "example.com", 443, "/?x=1", "example.com"),
        ("ws://[::1]:9000/a", "", false, "::1", 9000, "/a", "[::1]:9000"),
        ("wss://[::1]", "", true, "::1", 443, "/", "[::1]"),
    ])
    func parts(
        url: String,
        path: String,
        isSecure: Bool,
        host: String,
        port: Int,
        target: String,
        hostHeader: String
    ) throws {
        let endpoint = try Endpoint(url: url, path: path)
        #expect(endpoint.isSecure == isSecure)
        #expect(endpoint.host == host)
        #expect(endpoint.port == port)
        #expect(endpoint.target == target)
        #expect(endpoint.hostHeader == hostHeader)
    }

    @Test(arguments: [
        "", "localhost:8080", "ftp://localhost", "ws://", "ws://:80", "ws://a:0", "ws://a:65536", "ws://a:b",
        "ws://a:", "ws://[::1", "ws://[::1]x", "ws://a b", "ws://a/b c", "ws://a/\r\nX: y", "ws://u:p@a",
    ])
    func refused(url: String) {
        #expect {
            _ = try Endpoint(url: url, path: "")
        } throws: { error in
            guard case .invalidURL = error as? WebSocketClientError else { return false }
            // A password must not reach a log.
            return !"\(error)".contains("u:p")
        }
    }
}
