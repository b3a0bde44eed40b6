import HTTPTypes
import JobFeedProtocol
import NIOCore
import NIOHTTP1

/// Decides about a WebSocket before the upgrade, from its request head alone.
struct Admission: Sendable {
    static let path = "/v1/feed"
    static let subprotocol = "jobfeed.v1"

    /// What is spoken on the path that was asked for.
    enum Dialect: Sendable {
        case native
        case supabase(SupabaseUpgrade)
    }

    struct Accepted: Sendable {
        let dialect: Dialect
        /// `nil`: the first frame has to authenticate.
        let identity: Identity?
        let responseHeaders: HTTPHeaders
    }

    enum Decision: Sendable {
        case accepted(Accepted)
        case refused(Problem)
    }

    let authenticator: Authenticator
    let origins: AllowedOrigins
    /// Whether this gateway serves TLS itself.
    let isSecure: Bool

    func decide(_ head: HTTPRequestHead) async -> Decision {
        do throws(Problem) {
            return .accepted(try await self.accept(head))
        } catch {
            return .refused(error)
        }
    }

    private func accept(_ head: HTTPRequestHead) async throws(Problem) -> Accepted {
        // Compared to the letter: a path that only becomes this one by decoding is another path.
        let path = String(head.uri.prefix { $0 != "?" })
        guard path == Self.path || SupabaseUpgrade.paths.contains(path) else {
            throw Problem(status: .notFound, code: .invalidField, detail: "WebSockets are served at \(Self.path)")
        }
        // RFC 6455 §4.2.1; the version and the key are checked by the upgrader.
        guard head.method == .GET,
            head.headers[canonicalForm: "connection"].contains(where: { $0.lowercased() == "upgrade" })
        else { throw .badRequest("a WebSocket opens with GET and Connection: Upgrade") }
        try self.origins.admit(head.headers, isSecure: self.isSecure)
        if SupabaseUpgrade.paths.contains(path) {
            // Tokens come with the channels; what comes here is a key of the project.
            let upgrade = try SupabaseUpgrade(query: head.uri.dropFirst(path.count + 1), head.headers)
            return Accepted(dialect: .supabase(upgrade), identity: nil, responseHeaders: HTTPHeaders())
        }
        let offered = head.headers[canonicalForm: "sec-websocket-protocol"].map(String.init)
        var headers = HTTPHeaders()
        if !offered.isEmpty {
            guard offered.contains(Self.subprotocol) else {
                throw .badRequest("offer the subprotocol \(Self.subprotocol)")
            }
            headers.add(name: "Sec-WebSocket-Protocol", value: Self.subprotocol)
        }
        guard let token = try Self.token(head, offered) else {
            return Accepted(dialect: .native, identity: nil, responseHeaders: headers)
        }
        do {
            let identity = try await self.authenticator.verify(token)
            return Accepted(dialect: .native, identity: identity, responseHeaders: headers)
        } catch {
            throw Problem(error)
        }
    }

    private static func token(_ head: HTTPRequestHead, _ offered: [String]) throws(Problem) -> String? {
        let inProtocols = offered.filter { $0.hasPrefix("bearer.") }.map { String($0.dropFirst("bearer.".count)) }
        let inHeader = head.headers["authorization"]
        guard inHeader.count + inProtocols.count <= 1 else {
            throw .badRequest("send one token: in Authorization, or in Sec-WebSocket-Protocol")
        }
        guard let authorization = inHeader.first else { return inProtocols.first }
        return try Self.bearerToken(authorization)
    }

    /// RFC 6750 §2.1
    static func bearerToken(_ authorization: String) throws(Problem) -> String {
        let parts = authorization.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else {
            throw Problem(
                status: .unauthorized,
                code: .invalidToken,
                detail: "Authorization has to be Bearer and a token"
            )
        }
        return String(parts[1])
    }
}
