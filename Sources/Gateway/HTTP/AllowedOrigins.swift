import HTTPTypes
import JobFeedProtocol
import NIOHTTP1

/// Which web pages may connect: those of the gateway's own host, and those that the operator lists.
package struct AllowedOrigins: Sendable, Equatable {
    private var listed: Set<String> = []
    private var admitsAll = false

    package init() {}

    /// - Parameter texts: origins as browsers send them (RFC 6454 §6.2), or `*`.
    package init(_ texts: [String]) throws(OriginError) {
        for text in texts {
            if text == "*" {
                self.admitsAll = true
                continue
            }
            // `null` is what every sandboxed frame and every local file calls itself.
            let parts = text.lowercased().split(separator: "://", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty,
                !parts[1].contains(where: { "/?#@* ".contains($0) })
            else { throw OriginError(text: text) }
            self.listed.insert(Self.withoutDefaultPort(scheme: String(parts[0]), host: String(parts[1])))
        }
    }

    /// - Parameter isSecure: whether the gateway itself serves TLS.
    func admit(_ headers: HTTPHeaders, isSecure: Bool) throws(Problem) {
        // Only browsers send one.
        let origins = headers["origin"]
        guard let origin = origins.first?.lowercased() else { return }
        guard origins.count == 1 else { throw .badRequest("send one Origin") }
        if self.admitsAll || self.listed.contains(origin) { return }
        let hosts = headers["host"]
        // A proxy that ends TLS says so, or else it cannot be known; a page cannot set this header.
        let isHTTPS = isSecure || headers["x-forwarded-proto"].contains { $0.lowercased() == "https" }
        for scheme in isHTTPS ? ["https"] : ["http", "https"] where hosts.count == 1 && !hosts[0].isEmpty {
            if origin == Self.withoutDefaultPort(scheme: scheme, host: hosts[0].lowercased()) { return }
        }
        throw Problem(
            status: .forbidden,
            code: .forbidden,
            detail: "pages of this origin may not connect; the operator can allow it with --allowed-origins"
        )
    }

    private static func withoutDefaultPort(scheme: String, host: String) -> String {
        let port = scheme == "https" ? ":443" : scheme == "http" ? ":80" : ""
        return scheme + "://" + (!port.isEmpty && host.hasSuffix(port) ? host.dropLast(port.count) : host[...])
    }
}

/// A text that no page's origin can equal.
package struct OriginError: Error, Equatable {
    let text: String

    package var message: String {
        self.text == "null"
            ? "allowed-origins lists null, which pages of anybody can be; * admits all"
            : "allowed-origins lists \"\(self.text)\", which is no origin; write it like https://app.example.com or "
                + "http://localhost:3000, without a path"
    }
}
