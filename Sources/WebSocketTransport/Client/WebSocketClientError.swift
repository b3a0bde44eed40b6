/// Why a connection was not made, or why it can no longer be used.
package enum WebSocketClientError: Error, Sendable, Hashable {
    case invalidURL(String, problem: String)
    case invalidHeader(name: String)
    case nameNotResolved(host: String, detail: String)
    case refused(host: String, port: Int)
    case unreachable(host: String, port: Int, detail: String)
    case tls(host: String, detail: String)
    case timeout(host: String, port: Int, after: Duration)
    /// The server answered with something else than 101; at most 16 KiB of its body.
    case status(code: Int, phrase: String, retryAfter: Duration?, body: [UInt8])
    case handshakeInvalid(String)
    case closed(CloseReason)
}

extension WebSocketClientError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .invalidURL(let url, let problem):
            "\"\(url)\" is not a usable URL: \(problem); write it like https://feed.example.com or ws://127.0.0.1:8080"
        case .invalidHeader(let name):
            "the value of the header \(name) holds a line break or another control character; "
                + "check the file or variable it comes from"
        case .nameNotResolved(let host, let detail):
            "the host name \"\(host)\" has no address (\(detail)); check its spelling and the DNS of this machine"
        case .refused(let host, let port):
            "\(host) refuses connections on port \(port); is the server running, and is this its port?"
        case .unreachable(let host, let port, let detail):
            "\(host) cannot be reached on port \(port): \(detail)"
        case .tls(let host, let detail):
            "no secure connection to \(host): \(detail); if its certificate comes from a private authority, name its CA file"
        case .timeout(let host, let port, let after):
            "\(host) did not complete the connection on port \(port) within \(after); is there a firewall or proxy between?"
        case .status(let code, let phrase, _, let body):
            body.isEmpty
                ? "the server refused the WebSocket with HTTP \(code) \(phrase)"
                : "the server refused the WebSocket with HTTP \(code) \(phrase): \(String(decoding: body, as: UTF8.self))"
        case .handshakeInvalid(let detail):
            "the server did not answer as a WebSocket: \(detail); check the path, and any proxy between"
        case .closed(let reason):
            "the connection is closed (\(reason.code) \(reason.reason))"
        }
    }
}
