/// Why a subscription, or the whole client, has ended for good.
///
/// Everything that may pass by itself (a lost connection, a server that restarts, a feed that is away) is retried and
/// never becomes an error.
///
/// ```swift
/// do {
///     for try await event in client.subscribe(.init(channel: "jobs")) { … }
/// } catch let error as JobFeedError where error.code == .unauthenticated {
///     print("sign in again: \(error.message)")
/// }
/// ```
public struct JobFeedError: Error, Sendable, Equatable, CustomStringConvertible {
    /// A stable name for the kind of refusal; the server's own codes (`invalid_filter`, …) appear as they were sent.
    public struct Code: RawRepresentable, Sendable, Hashable {
        public let rawValue: String

        public init(rawValue: String) {
            self.rawValue = rawValue
        }

        /// The token is not accepted.
        public static let unauthenticated = Self(rawValue: "unauthenticated")
        /// The user may not do this.
        public static let forbidden = Self(rawValue: "forbidden")
        /// An operator ended the session.
        public static let revoked = Self(rawValue: "revoked")
        /// The URL or an option cannot be used.
        public static let invalidConfiguration = Self(rawValue: "invalid_configuration")
        /// One step of the view is larger than ``JobFeedClient/Configuration/maximumStepBytes``.
        public static let stepTooLarge = Self(rawValue: "step_too_large")
        /// The peer closed the connection with a code that forbids to come back, or does not speak `jobfeed.v1`.
        public static let connectionRefused = Self(rawValue: "connection_refused")
        /// ``JobFeedClient/shutdown()`` was called.
        public static let clientClosed = Self(rawValue: "client_closed")
    }

    public var code: Code
    /// What was wrong and what to do, for people.
    public var message: String

    public init(code: Code, message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { "\(self.code.rawValue): \(self.message)" }
}
