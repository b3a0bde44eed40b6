import Feed
import HTTPTypes
import Hummingbird
import JobFeedProtocol
import Logging
import NIOCore
import NIOHTTP1
import WebSocketTransport

/// What all requests under `/v1` have in common: which pages may ask, who asks, and for what, as a subscription would.
struct FeedRequests: Sendable {
    let admission: Admission
    let hub: Hub
    let shared: Shared<SessionContext>

    var context: SessionContext { self.shared.value }

    // MARK: Answers

    /// Answers with what `body` returns, or with the problem it throws; allowed pages may read either.
    func answer(_ request: Request, _ body: () async throws -> Response) async -> Response {
        var response: Response
        var origin: String? = nil
        do {
            try self.admission.origins.admit(request.head.originHeaders, isSecure: self.admission.isSecure)
            origin = request.headers[.origin]
            response = try await body()
        } catch let problem as Problem {
            response = Response(problem)
        } catch {
            self.context.logger.error("A request failed", metadata: ["error": "\(error)"])
            response = Response(Problem(status: .internalServerError, code: .internalError, detail: "see the log"))
        }
        response.headers[values: .vary] = ["Origin", "Accept", "Authorization"]
        if let origin {
            response.headers[.accessControlAllowOrigin] = origin
            response.headers[.accessControlExposeHeaders] = "Retry-After"
        }
        return response
    }

    /// What a browser asks before it lets a page of another origin send a token.
    func preflight(_ request: Request) async -> Response {
        await self.answer(request) {
            Response(
                status: .noContent,
                headers: [
                    .accessControlAllowMethods: "GET, HEAD",
                    .accessControlAllowHeaders: "Authorization, Last-Event-ID, Accept, Cache-Control",
                    .accessControlMaxAge: "600",
                ]
            )
        }
    }

    static func notAllowed() -> Response {
        var response = Response(
            Problem(status: .methodNotAllowed, code: .invalidField, detail: "only GET and HEAD are served here")
        )
        response.headers[.allow] = "GET, HEAD, OPTIONS"
        return response
    }

    // MARK: Who and what

    /// - Parameter queryToken: for `EventSource`, which cannot send a header.
    func identity(_ request: Request, queryToken: String? = nil) async throws(Problem) -> Identity {
        let headers = request.headers[values: .authorization]
        guard headers.count + (queryToken == nil ? 0 : 1) <= 1 else { throw .badRequest("send one token") }
        var token = queryToken
        if let header = headers.first { token = try Admission.bearerToken(header) }
        guard let token else {
            throw Problem(
                status: .unauthorized,
                code: .unauthenticated,
                detail: "send a token: Authorization: Bearer …"
            )
        }
        do {
            return try await self.admission.authenticator.verify(token)
        } catch {
            throw Problem(error)
        }
    }

    /// What a subscription would hold; a feed that nobody knows was perhaps attached a moment ago.
    func plan(
        _ subscribe: Subscribe,
        conditions: [String] = [],
        identity: Identity,
        on loop: any EventLoop
    ) async throws(Problem) -> SubscriptionPlan {
        var isAgain = false
        while true {
            let catalog = await self.catalog(on: loop)
            guard let catalog else { throw .unavailable("the database was not reached yet; try again in a moment") }
            do throws(SubscribeError) {
                return try SubscriptionPlan(subscribe, conditions: conditions, identity: identity, catalog: catalog)
            } catch {
                guard error.code == .unknownFeed, !isAgain else { throw Problem(error) }
                isAgain = true
                self.context.reader.poke()
                try? await Task.sleep(for: .milliseconds(250))
            }
        }
    }

    /// The feeds as the loop's sessions know them; `nil` before the database was reached.
    private func catalog(on loop: any EventLoop) async -> [String: FeedDefinition]? {
        guard let shard = self.hub.shard(of: loop) else { return nil }
        return try? await loop.submit { shard.value.position == nil ? nil : shard.value.catalog }.get()
    }
}

extension Problem {
    static func unavailable(_ detail: String) -> Problem {
        Problem(status: .serviceUnavailable, code: .unavailable, detail: detail, retryAfter: .random(in: 1...3))
    }

    init(_ error: SubscribeError) {
        switch error.code {
        case .unknownFeed: self.init(status: .notFound, code: error.code, detail: error.message)
        case .forbidden: self.init(status: .forbidden, code: error.code, detail: error.message)
        case .unavailable: self = .unavailable(error.message)
        default: self.init(status: .badRequest, code: error.code, detail: error.message)
        }
    }
}

extension Response {
    init(_ problem: Problem) {
        self.init(
            status: problem.status,
            headers: problem.headers,
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: problem.body))
        )
    }

    static func json(_ bytes: [UInt8], status: HTTPResponse.Status = .ok) -> Response {
        Response(
            status: status,
            headers: [.contentType: "application/json", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes))
        )
    }
}

extension HTTPRequest {
    /// What ``AllowedOrigins`` looks at.
    fileprivate var originHeaders: HTTPHeaders {
        var headers = HTTPHeaders()
        for origin in self.headerFields[values: .origin] { headers.add(name: "Origin", value: origin) }
        if let authority { headers.add(name: "Host", value: authority) }
        if let name = HTTPField.Name("X-Forwarded-Proto") {
            for value in self.headerFields[values: name] { headers.add(name: name.rawName, value: value) }
        }
        return headers
    }
}
