import Feed
import HTTPTypes
import Hummingbird
import JobFeedProtocol
import NIOCore
import WebSocketTransport

/// `GET /v1/feed` for `EventSource` and `curl -N`: one subscription of the same session that a WebSocket has.
struct EventStreams: Sendable {
    /// The session has ended the body itself.
    private struct Ended: Error {}

    private static let parameters = [
        "channel", "filter", "columns", "limit", "max_rate", "snapshot", "resume", "access_token",
    ]

    let requests: FeedRequests

    static func isAsked(for request: Request) -> Bool {
        request.headers[values: .accept].contains { list in
            list.split(separator: ",").contains { type in
                let name = type.prefix { $0 != ";" }.filter { $0 != " " && $0 != "\t" }
                return name.lowercased() == "text/event-stream"
            }
        }
    }

    func open(_ request: Request, _ channel: any NIOCore.Channel) async throws -> Response {
        let seat = try await channel.eventLoop.submit { try EventStreamConnection.find(on: channel).seat }.get()
        let context = self.requests.context
        if let refusal = context.census.refusal(of: seat) { throw self.problem(refusal) }
        let query = try QueryItems(request.uri.query)
        try query.refuseOthers(than: Self.parameters)
        let identity = try await self.requests.identity(request, queryToken: query.string("access_token"))
        let subscribe = try Self.subscribe(query, lastEventID: request.headers[.lastEventID])
        _ = try await self.requests.plan(subscribe, identity: identity, on: channel.eventLoop)
        let headers: HTTPFields = [
            .contentType: "text/event-stream", .cacheControl: "no-store", .connection: "close",
            // nginx holds answers back otherwise.
            .xAccelBuffering: "no",
        ]
        guard request.method == .get else { return Response(status: .ok, headers: headers) }
        if let refusal = context.census.beginStream(seat, user: ByteText(identity.user)) {
            throw self.problem(refusal)
        }
        return Response(
            status: .ok,
            headers: headers,
            body: ResponseBody { _ in
                try await self.run(subscribe, identity, seat, channel)
                throw Ended()
            }
        )
    }

    /// Returns when the connection is closed.
    private func run(
        _ subscribe: Subscribe,
        _ identity: Identity,
        _ seat: ConnectionCensus.Seat,
        _ channel: any NIOCore.Channel
    ) async throws {
        let loop = channel.eventLoop
        guard let shard = self.requests.hub.shard(of: loop) else { return }
        try await loop.submit {
            let tongue = EventStreamTongue()
            let session = Session(
                tongue: tongue,
                identity: identity,
                seat: seat,
                context: self.requests.shared,
                shard: shard.value,
                eventLoop: loop
            )
            try EventStreamConnection.find(on: channel).begin(session, tongue)
            session.handle(.subscribe(subscribe))
            session.flush()
        }.get()
        try await channel.closeFuture.get()
    }

    private static func subscribe(_ query: QueryItems, lastEventID: String?) throws(Problem) -> Subscribe {
        guard let channel = try query.string("channel"), !channel.isEmpty else {
            throw Problem(
                status: .badRequest,
                code: .missingField,
                detail: "say which channel: ?channel=jobs, or FEED:STATUS, FEED/KEY, FEED%23counts"
            )
        }
        var subscribe = Subscribe(id: EventStreamTongue.subscriptionID, channel: channel)
        subscribe.filter = try query.string("filter").flatMap { $0.isEmpty ? nil : $0 }
        subscribe.columns = try query.columns()
        subscribe.limit = try query.limit() ?? Subscribe.defaultLimit
        subscribe.maxRate = try query.rate("max_rate")
        subscribe.snapshot = try query.boolean("snapshot") ?? true
        // EventSource comes back with the address that it was made with: what it has read since is the header.
        let resume = try query.string("resume")
        subscribe.resume = lastEventID.flatMap { $0.isEmpty ? nil : $0 } ?? resume
        return subscribe
    }

    private func problem(_ refusal: ConnectionCensus.Refusal) -> Problem {
        let context = self.requests.context
        context.metrics.refusals.increment(refusal)
        return Problem(refusal, context.census.limits)
    }
}

extension HTTPField.Name {
    fileprivate static let xAccelBuffering = Self.known("X-Accel-Buffering")
    fileprivate static let lastEventID = Self.known("Last-Event-ID")

    static func known(_ name: String) -> Self {
        guard let name = Self(name) else { preconditionFailure("\(name) is no name of a field") }
        return name
    }
}
