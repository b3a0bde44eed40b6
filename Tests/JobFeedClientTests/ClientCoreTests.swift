import JobFeedProtocol
import Synchronization
import Testing

@testable import JobFeedClient

/// The tasks around the machine, against a server that is a script: one list of frames per connection.
@Suite(.timeLimit(.minutes(1))) struct ClientCoreTests {
    private final class Server: Sendable {
        private let connections: Mutex<[[String]]>
        let sent = Mutex<[String]>([])

        init(_ connections: [[String]]) {
            self.connections = Mutex(connections)
        }

        /// Says its lines and hangs up; after the last connection it refuses for good.
        func dial(_ token: String) throws(DialError) -> FeedSocket {
            guard let lines = self.connections.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) else {
                throw DialError(end: .refusedUpgrade(status: 401, detail: "no more", retryAfter: nil))
            }
            let rest = Mutex(lines[...])
            return FeedSocket(
                next: { rest.withLock { $0.popFirst() }.map { Array($0.utf8) } },
                send: { text in self.sent.withLock { $0.append(text) } },
                close: {},
                end: { .lost("hung up") }
            )
        }
    }

    private func client(_ server: Server) -> JobFeedClient {
        JobFeedClient(
            core: ClientCore(configuration: .init(), token: { "t" }, random: { 0 }) { token async throws(DialError) in
                try server.dial(token)
            }
        )
    }

    private static let welcome = #"{"type":"welcome","heartbeat_seconds":25}"#

    private static func update(_ cursor: String, _ value: Int) -> String {
        #"{"type":"changes","id":"s1","cursor":"\#(cursor)","changes":[{"op":"update","key":"1","set":{"n":\#(value)}}]}"#
    }

    @Test func goesOnFromItsCursorAndEndsWithTheRefusal() async throws {
        let server = Server([
            [
                Self.welcome, #"{"type":"subscribed","id":"s1","recovered":false}"#,
                #"{"type":"snapshot","id":"s1","rows":[{"id":1,"n":0}]}"#, #"{"type":"live","id":"s1","cursor":"c1"}"#,
                Self.update("c2", 1),
            ],
            [
                Self.welcome, #"{"type":"subscribed","id":"s1","recovered":true}"#, Self.update("c3", 2),
                #"{"type":"live","id":"s1","cursor":"c3"}"#, #"{"type":"heartbeat","cursor":"c4"}"#,
            ],
        ])
        let subscription = self.client(server).subscribe(SubscribeOptions(channel: "jobs"))
        var store = RowStore()
        var cursors: [String] = []
        let error = await #expect(throws: JobFeedError.self) {
            for try await event in subscription {
                store.apply(event)
                if let cursor = event.cursor { cursors.append(cursor) }
            }
        }
        #expect(error?.code == .unauthenticated)
        #expect(store["1"] == ["id": 1, "n": 2])
        #expect(cursors == ["c1", "c2", "c3"])
        #expect(subscription.cursor == "c4")
    }

    @Test func shutdownEndsWhatIsAndWhatComes() async {
        let client = self.client(Server([[Self.welcome]]))
        let subscription = client.subscribe(SubscribeOptions(channel: "jobs"))
        client.shutdown()
        let late = client.subscribe(SubscribeOptions(channel: "jobs"))
        for subscription in [subscription, late] {
            let error = await #expect(throws: JobFeedError.self) {
                for try await _ in subscription {}
            }
            #expect(error?.code == .clientClosed)
        }
    }

    @Test func theReaderWaitsForItsConsumers() async {
        let backpressure = Backpressure(limit: 10)
        backpressure.add(8, to: "a")
        await backpressure.waitForRoom()
        backpressure.add(8, to: "b")
        let reader = Task { await backpressure.waitForRoom() }
        while !backpressure.isHoldingUp { await Task.yield() }
        backpressure.release(6, of: "a")
        #expect(!backpressure.isHoldingUp)
        await reader.value
        backpressure.add(100, to: "b")
        let other = Task { await backpressure.waitForRoom() }
        while !backpressure.isHoldingUp { await Task.yield() }
        backpressure.forget("b")
        await other.value
    }
}
