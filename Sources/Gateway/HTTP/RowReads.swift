import Feed
import HTTPTypes
import Hummingbird
import JobFeedProtocol
import LibPQ
import Logging
import NIOCore

/// `GET /v1/jobs`: what a subscription would start from, one row of it, and what the log says of one.
struct RowReads: Sendable {
    static let defaultFeed = "jobs"

    let requests: FeedRequests

    func list(_ request: Request, _ channel: any NIOCore.Channel) async throws -> Response {
        let query = try QueryItems(request.uri.query)
        let identity = try await self.identity(request, query)
        var subscribe = try Self.subscribe(query)
        subscribe.filter = try query.string("filter").flatMap { $0.isEmpty ? nil : $0 }
        let reserved = ["feed", "limit", "columns", "filter"]
        let conditions = query.items.filter { !reserved.contains($0.name) }.map { "\($0.name)=\($0.value)" }
        let limit = subscribe.limit
        return try await self.read(subscribe, conditions, identity, channel, readsLog: false) { view, transaction in
            let (rows, isTruncated) = try SnapshotLoader.rows(of: view, limit: limit, transaction.connection)
            let shape = Shape(view, NativeEncoding())
            var writer = MessageWriter(capacity: 4096)
            writer.beginObject()
            writer.beginArray("rows")
            for row in rows { writer.element { shape.write(row, to: &$0) } }
            writer.endArray()
            writer.beginArray("keys")
            for row in rows { writer.element(row.keyText(view.feed.key)?.string ?? "") }
            writer.endArray()
            writer.member("truncated", isTruncated)
            writer.member("cursor", transaction.cursor.encoded())
            writer.endObject()
            return writer.bytes
        }
    }

    func row(_ request: Request, key path: String, _ channel: any NIOCore.Channel) async throws -> Response {
        let query = try QueryItems(request.uri.query)
        let identity = try await self.identity(request, query)
        try query.refuseOthers(than: ["feed", "columns"])
        let (key, subscribe) = try Self.subscribe(query, key: path)
        return try await self.read(subscribe, [], identity, channel, readsLog: false) { view, transaction in
            let (rows, _) = try SnapshotLoader.rows(of: view, limit: 1, transaction.connection)
            guard let row = rows.first else { throw Self.notFound }
            var writer = MessageWriter(capacity: 1024)
            writer.beginObject()
            writer.member("key", key)
            var json: [UInt8] = []
            Shape(view, NativeEncoding()).write(row, to: &json)
            writer.member("row", json: json[...])
            writer.member("cursor", transaction.cursor.encoded())
            writer.endObject()
            return writer.bytes
        }
    }

    func history(_ request: Request, key path: String, _ channel: any NIOCore.Channel) async throws -> Response {
        let query = try QueryItems(request.uri.query)
        let identity = try await self.identity(request, query)
        try query.refuseOthers(than: ["feed", "columns", "limit"])
        let (_, subscribe) = try Self.subscribe(query, key: path)
        let limit = subscribe.limit
        return try await self.read(subscribe, [], identity, channel, readsLog: true) { view, transaction in
            guard let history = try JobHistory(of: view, transaction) else { throw Self.notFound }
            return history.json(limit: limit)
        }
    }

    // MARK: Requests

    private func identity(_ request: Request, _ query: QueryItems) async throws(Problem) -> Identity {
        guard !query.items.contains(where: { $0.name == "access_token" }) else {
            throw .badRequest("access_token is for EventSource alone; send Authorization: Bearer …")
        }
        return try await self.requests.identity(request)
    }

    private static func subscribe(_ query: QueryItems) throws(Problem) -> Subscribe {
        let feed = try query.string("feed") ?? Self.defaultFeed
        do {
            guard case .all = try Channel(parsing: feed) else {
                throw Problem.badRequest("feed names a feed alone, without \":\", \"/\" or \"#\"")
            }
        } catch let problem as Problem {
            throw problem
        } catch {
            throw .badRequest("feed is empty; leave it out for \"\(Self.defaultFeed)\"")
        }
        var subscribe = Subscribe(id: "", channel: feed)
        subscribe.columns = try query.columns()
        subscribe.limit = try query.limit() ?? Subscribe.defaultLimit
        return subscribe
    }

    private static func subscribe(_ query: QueryItems, key path: String) throws(Problem) -> (String, Subscribe) {
        guard let key = QueryItems.decoded(path.utf8, isForm: false), !key.isEmpty else {
            throw .badRequest("the key in the path is no UTF-8 in percent-encoding")
        }
        var subscribe = try Self.subscribe(query)
        subscribe.channel += "/" + key
        return (key, subscribe)
    }

    /// The same for what does not exist and for what belongs to somebody else.
    private static let notFound = Problem(
        status: .notFound,
        code: .unknownID,
        detail: "there is no such row, or it is not yours"
    )

    // MARK: Reading

    private func read(
        _ subscribe: Subscribe,
        _ conditions: [String],
        _ identity: Identity,
        _ channel: any NIOCore.Channel,
        readsLog: Bool,
        _ body: @escaping @Sendable (View, FeedTransaction) throws -> [UInt8]
    ) async throws -> Response {
        let context = self.requests.context
        var attempts = 0
        while true {
            let plan = try await self.requests.plan(
                subscribe,
                conditions: conditions,
                identity: identity,
                on: channel.eventLoop
            )
            let view = plan.view
            attempts += 1
            do {
                let json = try await context.pool.withConnection(for: identity.user) { connection in
                    try FeedTransaction.run(view.feed, readsLog: readsLog, on: connection) { try body(view, $0) }
                }
                return .json(json)
            } catch let problem as Problem {
                throw problem
            } catch FeedTransaction.Failure.definitionChanged where attempts < 3 {
                context.reader.poke()
                try await Task.sleep(for: .milliseconds(100))
            } catch let error as PostgresError where error.kind == .connection && attempts < 3 {
                // Connections that the server has ended are found out only now.
                continue
            } catch {
                context.logger.warning("Cannot read rows", metadata: ["error": "\(error)"])
                throw Problem.unavailable(SubscribeError.unavailable(error))
            }
        }
    }
}
