/// Where and as whom to connect; its descriptions never show the connection string, which may hold a password.
package struct ConnectionSettings: Sendable {
    /// A URI or `keyword=value` string; nil leaves everything to libpq (PGHOST, .pgpass, service files).
    let conninfo: String?
    package private(set) var applicationName: String
    package private(set) var role: String?
    package let connectTimeout: Duration
    /// Behind a pooler that lends sessions by the transaction: nothing that lasts beyond one can be set or prepared.
    package private(set) var isPooled = false
    /// How long the server may be silent while it owes an answer; then the connection is given up.
    package private(set) var responseTimeout: Duration

    package init(
        conninfo: String?,
        applicationName: String,
        role: String? = nil,
        connectTimeout: Duration = .seconds(10),
        responseTimeout: Duration = .seconds(30)
    ) {
        self.conninfo = conninfo.flatMap { $0.isEmpty ? nil : $0 }
        self.applicationName = applicationName
        self.role = role
        self.connectTimeout = connectTimeout
        self.responseTimeout = responseTimeout
    }

    package func with(role: String) -> Self { self.with { $0.role = role } }

    package func with(applicationName: String) -> Self { self.with { $0.applicationName = applicationName } }

    package func with(responseTimeout: Duration) -> Self { self.with { $0.responseTimeout = responseTimeout } }

    package func pooled(_ isPooled: Bool) -> Self { self.with { $0.isPooled = isPooled } }

    private func with(_ change: (inout Self) -> Void) -> Self {
        var copy = self
        change(&copy)
        return copy
    }
}

extension ConnectionSettings: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String {
        let source = self.conninfo == nil ? "libpq's environment" : "a connection string"
        let role = self.role.map { ", role \($0)" } ?? ""
        return "ConnectionSettings(\(self.applicationName), from \(source)\(role))"
    }

    package var debugDescription: String { self.description }

    package var customMirror: Mirror {
        Mirror(self, children: ["applicationName": self.applicationName, "role": self.role as Any])
    }
}
