import Feed
import JobFeedProtocol
import WebSocketTransport

/// What made the reader look into the log.
enum ReadCause: String, Sendable, CaseIterable {
    /// A notification.
    case ring
    /// The next turn of a node that is awake, or that cannot listen.
    case poll
    /// Waiting for the transactions that ran when the node armed the bell.
    case barrier
    /// Nothing: to see whether a ring was missed.
    case backstop
    /// Somebody in the node asked.
    case request

    /// - Parameter mode: of the doorbell, before the read.
    init(_ cause: Doorbell.Cause, in mode: Doorbell.Mode) {
        switch (cause, mode) {
        case (.rung, _): self = .ring
        case (.poked, _): self = .request
        case (.timer, .asleep): self = .backstop
        case (.timer, .fallingAsleep): self = .barrier
        case (.timer, .awake), (.timer, .polling): self = .poll
        }
    }
}

/// Whether writers have to ring.
enum DoorbellState: String, Sendable, CaseIterable {
    case awake
    case fallingAsleep = "falling_asleep"
    case asleep
    /// LISTEN is impossible.
    case polling
    /// There is no database.
    case disconnected

    init(_ mode: Doorbell.Mode) {
        switch mode {
        case .awake: self = .awake
        case .fallingAsleep: self = .fallingAsleep
        case .asleep: self = .asleep
        case .polling: self = .polling
        }
    }
}

/// What a subscription that brought a cursor was served from.
enum ResumeSource: String, Sendable, CaseIterable {
    case ring, log
    /// Not recovered: the changes are not known any more.
    case snapshot

    var labels: PrometheusRegistry.Labels {
        [("source", self.rawValue), ("recovered", self == .snapshot ? "false" : "true")]
    }
}

/// What `jobfeed.rotate` says it did, in its words, or that it failed.
enum RotationOutcome: String, Sendable, CaseIterable {
    case idle, busy, waiting, blocked, emptied, switched, failed
}

/// What came of fetching a JWK set.
enum KeyFetchOutcome: String, Sendable, CaseIterable {
    case ok
    /// No answer, or not in time, or by somebody whose certificate is not accepted.
    case unreachable
    /// Another status, or a redirect that is not followed.
    case refused
    /// No set, too large, or without a key that serves.
    case unusable

    init(_ kind: KeyFetchFailure.Kind) {
        switch kind {
        case .unreachable: self = .unreachable
        case .refused: self = .refused
        case .unusable: self = .unusable
        }
    }
}

/// One of the ways in which connections end; there are few, whatever peers send.
struct Disconnect: Sendable, Hashable {
    enum Initiator: String, Sendable {
        case server, client, network
    }

    /// `nil`: any other.
    let code: UInt16?
    let initiator: Initiator

    // RFC 6455 §7.4.1: what the transport itself closes with, and what clients usually say.
    private static let serverCodes = CloseCode.allCases.map(\.rawValue) + [1002, 1003, 1007]
    private static let clientCodes: [UInt16] = [1000, 1001, 1005]

    static let all: [Disconnect] =
        Self.serverCodes.map { Disconnect(code: $0, initiator: .server) }
        + Self.clientCodes.map { Disconnect(code: $0, initiator: .client) }
        + [
            Disconnect(code: nil, initiator: .server), Disconnect(code: nil, initiator: .client),
            Disconnect(code: 1006, initiator: .network),
        ]

    var labels: PrometheusRegistry.Labels {
        [("code", self.code.map { String($0) } ?? "other"), ("initiator", self.initiator.rawValue)]
    }

    private init(code: UInt16?, initiator: Initiator) {
        self.code = code
        self.initiator = initiator
    }

    init(_ reason: CloseReason) {
        switch reason.initiator {
        case .local:
            self.init(code: Self.serverCodes.contains(reason.code) ? reason.code : nil, initiator: .server)
        case .peer:
            self.init(code: Self.clientCodes.contains(reason.code) ? reason.code : nil, initiator: .client)
        case .transport: self.init(code: 1006, initiator: .network)
        }
    }
}

enum HTTPStatusLabel {
    private static let known = [200, 304, 400, 401, 403, 404, 405, 413, 426, 429, 431, 500, 503]
    private static let other = 0

    static let all = Self.known + [Self.other]

    static func labels(_ status: Int) -> PrometheusRegistry.Labels {
        [("status", status == Self.other ? "other" : String(status))]
    }

    static func of(_ status: Int) -> Int { Self.known.contains(status) ? status : Self.other }
}
