import Feed
import HTTPTypes
import Hummingbird
import JobFeedProtocol
import NIOCore
import WebDemo

/// What the gateway answers over plain HTTP.
struct Routes: Sendable {
    /// How old the last read may be for a node that calls itself ready.
    static let maximumLag = Duration.seconds(15)

    let health: ReaderHealth
    let node: String
    let authenticator: Authenticator
    /// The JSON that the demo page starts from; `nil` outside of the demo.
    let demoTokens: (@Sendable () async throws -> [UInt8])?
    let registry: PrometheusRegistry
    let metrics: GatewayMetrics
    let requests: FeedRequests

    func router() -> Router<GatewayRequestContext> {
        let router = Router(context: GatewayRequestContext.self, options: .autoGenerateHeadEndpoints)
        router.add(middleware: ResponseCounter(metrics: self.metrics))
        router.get("/healthz") { _, _ in Response.json([UInt8](#"{"status":"ok"}"#.utf8)) }
        router.get("/readyz") { _, _ in self.readiness() }
        router.get("/metrics") { _, _ in self.metricsPage() }
        self.addFeed(to: router)
        for (path, description) in Self.descriptions {
            router.get(path) { _, _ in Response.json(description) }
        }
        if let demoTokens {
            router.get("/demo/tokens") { _, _ in Response.json(try await demoTokens()) }
        }
        for file in WebDemo.files {
            router.get(RouterPath(stringLiteral: file.path)) { _, _ in Self.file(file) }
        }
        return router
    }

    private static let descriptions: [(RouterPath, [UInt8])] = [
        ("/openapi.json", PackageResources.openapi_json), ("/asyncapi.json", PackageResources.asyncapi_json),
    ]

    private func addFeed(to router: Router<GatewayRequestContext>) {
        let requests = self.requests
        let streams = EventStreams(requests: requests)
        let rows = RowReads(requests: requests)
        router.get("/v1/feed") { request, context in
            if EventStreams.isAsked(for: request) {
                return await requests.answer(request) { try await streams.open(request, context.channel) }
            }
            // Browsers do not show why an upgrade was refused; asking again without one tells.
            if let problem = await self.tokenProblem(request) { return Response(problem) }
            return Response(.upgradeRequired)
        }
        router.get("/v1/jobs") { request, context in
            await requests.answer(request) { try await rows.list(request, context.channel) }
        }
        router.get("/v1/jobs/:key") { request, context in
            let key = try context.parameters.require("key")
            return await requests.answer(request) { try await rows.row(request, key: key, context.channel) }
        }
        router.get("/v1/jobs/:key/history") { request, context in
            let key = try context.parameters.require("key")
            return await requests.answer(request) { try await rows.history(request, key: key, context.channel) }
        }
        for path: RouterPath in ["/v1/feed", "/v1/jobs", "/v1/jobs/:key", "/v1/jobs/:key/history"] {
            router.on(path, method: .options) { request, _ in await requests.preflight(request) }
            for method: HTTPRequest.Method in [.post, .put, .patch, .delete, .trace] {
                router.on(path, method: method) { _, _ in FeedRequests.notAllowed() }
            }
        }
    }

    private func tokenProblem(_ request: Request) async -> Problem? {
        guard let authorization = request.headers[.authorization] else { return nil }
        do throws(Problem) {
            let token = try Admission.bearerToken(authorization)
            do {
                _ = try await self.authenticator.verify(token)
                return nil
            } catch {
                throw Problem(error)
            }
        } catch {
            return error
        }
    }

    private func readiness() -> Response {
        let status = self.health.status
        var writer = MessageWriter()
        writer.beginObject()
        let problem: String?
        if let error = status.lastError {
            problem = "the database is away: \(error)"
        } else if let lastRead = status.lastRead {
            problem =
                .now - lastRead > Self.maximumLag ? "the log was last read \(ContinuousClock.now - lastRead) ago" : nil
        } else {
            problem = "the database was not reached yet"
        }
        let problems = [problem, self.authenticator.remote?.problem].compactMap(\.self)
        writer.member("status", problems.isEmpty ? "ready" : "not ready")
        writer.member("node", self.node)
        if !problems.isEmpty { writer.member("detail", problems.joined(separator: "; ")) }
        if let mode = status.mode { writer.member("doorbell", mode.rawValue) }
        writer.beginArray("notes")
        for note in self.notes(status) { writer.element(note) }
        writer.endArray()
        if let asOf = status.asOf { writer.member("as_of", Timestamp.iso8601(micros: asOf)) }
        writer.endObject()
        return Response.json(writer.bytes, status: problems.isEmpty ? .ok : .serviceUnavailable)
    }

    private func metricsPage() -> Response {
        Response(
            status: .ok,
            headers: [.contentType: Exposition.contentType, .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: self.registry.render()))
        )
    }

    /// What is not as it should be, though clients are served.
    private func notes(_ status: ReaderHealth.Status) -> [String] {
        var notes: [String] = []
        if status.mode == .polling {
            notes.append(
                "polling: this connection goes through a transaction pooler, where LISTEN cannot work; changes arrive "
                    + "up to a quarter of a second late; give the gateway a direct connection"
            )
        }
        if let overdue = status.log?.overdueSeconds {
            notes.append(
                "log rotation has been stuck for \(overdue) s: a long transaction that wrote jobs is still open or an old "
                    + "one has just ended; the log has \(status.log?.bytes ?? 0) bytes"
            )
        }
        if let note = self.authenticator.remote?.note { notes.append(note) }
        return notes
    }

    private static func file(_ file: WebDemo.File) -> Response {
        var headers: HTTPFields = [.contentType: file.contentType, .cacheControl: "no-cache"]
        headers[.xContentTypeOptions] = "nosniff"
        headers[.contentSecurityPolicy] =
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; "
            + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: file.bytes)))
    }
}
