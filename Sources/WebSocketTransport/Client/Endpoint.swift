import NIOCore

/// The parts of a URL that a client needs to connect.
struct Endpoint: Hashable {
    let isSecure: Bool
    /// Without the brackets of an IPv6 literal.
    let host: String
    let port: Int
    /// Path and query.
    let target: String

    /// - Parameter path: appended to the path of `url`; when it is empty, the target is that of `url`.
    init(url: String, path: String) throws(WebSocketClientError) {
        guard let scheme = url.firstIndex(of: ":"), url[scheme...].hasPrefix("://") else {
            throw .invalidURL(url, problem: "it has no scheme")
        }
        switch url[..<scheme].lowercased() {
        case "ws", "http": self.isSecure = false
        case "wss", "https": self.isSecure = true
        default: throw .invalidURL(url, problem: "its scheme is none of ws, wss, http, https")
        }
        let rest = url[url.index(scheme, offsetBy: 3)...]
        let authorityEnd = rest.firstIndex { "/?#".contains($0) } ?? rest.endIndex
        let authority = rest[..<authorityEnd]
        guard !authority.contains("@") else {
            throw .invalidURL(String(rest[authorityEnd...]), problem: "it holds a user or password")
        }
        let portText: Substring?
        if authority.first == "[" {
            guard let end = authority.firstIndex(of: "]") else {
                throw .invalidURL(url, problem: "its IPv6 address has no closing bracket")
            }
            self.host = String(authority[authority.index(after: authority.startIndex)..<end])
            let after = authority[authority.index(after: end)...]
            guard after.isEmpty || after.first == ":" else {
                throw .invalidURL(url, problem: "something other than a port follows its IPv6 address")
            }
            portText = after.isEmpty ? nil : after.dropFirst()
        } else if let colon = authority.firstIndex(of: ":") {
            self.host = String(authority[..<colon])
            portText = authority[authority.index(after: colon)...]
        } else {
            self.host = String(authority)
            portText = nil
        }
        guard !self.host.isEmpty, self.host.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw .invalidURL(url, problem: "its host is missing or not ASCII")
        }
        if let portText {
            guard let port = UInt16(portText), port > 0 else {
                throw .invalidURL(url, problem: "its port is not a number from 1 to 65535")
            }
            self.port = Int(port)
        } else {
            self.port = self.isSecure ? 443 : 80
        }
        var target = String(rest[authorityEnd...].prefix { $0 != "#" })
        if !path.isEmpty {
            var base = target.prefix { $0 != "?" }
            while base.last == "/" { base.removeLast() }
            target = base + (path.first == "/" ? "" : "/") + path
        }
        if target.first != "/" {
            target = "/" + target
        }
        guard target.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw .invalidURL(url, problem: "its path holds characters that must be percent-encoded")
        }
        self.target = target
    }

    var isAddressLiteral: Bool {
        (try? SocketAddress(ipAddress: self.host, port: 0)) != nil
    }

    var hostHeader: String {
        let host = self.host.contains(":") ? "[\(self.host)]" : self.host
        return self.port == (self.isSecure ? 443 : 80) ? host : "\(host):\(self.port)"
    }
}
