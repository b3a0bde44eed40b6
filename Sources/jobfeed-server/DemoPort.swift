import Foundation

/// Finds out before anything slow begins whether an address can be listened on.
enum DemoPort {
    /// What is wrong and what to do, or nil.
    static func refusal(host: String, port: Int) -> String? {
        var hints = addrinfo()
        hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV
        hints.ai_socktype = Self.stream
        var list: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, String(port), &hints, &list)
        defer { if list != nil { freeaddrinfo(list) } }
        guard status == 0, let address = list?.pointee else {
            return "cannot listen on \"\(host)\": \(String(cString: gai_strerror(status))); choose another with --host"
        }
        let descriptor = socket(address.ai_family, address.ai_socktype, address.ai_protocol)
        guard descriptor >= 0 else { return "cannot listen on \(host): \(String(cString: strerror(errno)))" }
        defer { _ = close(descriptor) }
        // As the gateway does: connections of a server that has just ended do not hold the port.
        var one: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        guard bind(descriptor, address.ai_addr, address.ai_addrlen) != 0 else { return nil }
        switch errno {
        case EADDRINUSE:
            return "port \(port) on \(host) is taken; choose another with --port, or 0 for a free one"
        case EACCES:
            return "port \(port) is reserved for root; choose one above 1023 with --port, or 0 for a free one"
        case EADDRNOTAVAIL:
            return "\(host) is not an address of this machine; choose another with --host"
        case let code:
            return "cannot listen on \(host), port \(port): \(String(cString: strerror(code)))"
        }
    }

    #if os(Linux)
    private static let stream = Int32(SOCK_STREAM.rawValue)
    #else
    private static let stream = SOCK_STREAM
    #endif
}
