/// Where and as whom to connect; its descriptions never show the connection string, which may hold a password.
package struct ConnectionSettings: Sendable {
    /// A URI or `keyword=value` string; nil leaves everything to libpq (PGHOST, .pgpass, service files).
    let conninfo: String?
    package private(set) var applicationName: String
    package private(set) var role: String?
    package let connectTimeout: Duration
    /// Behind a pooler that lends sessions by the transaction: nothing that lasts beyond one can be set or prepared.
    package private(set) var isPooled = false

    package init(
        conninfo: String?,
        applicationName: String,
        role: String? = nil,
        connectTimeout: Duration = .seconds(10)
    ) {
        self.conninfo = conninfo.flatMap { $0.isEmpty ? nil : $0 }
        self.applicationName = applicationName
        self.role = role
        self.connectTimeout = connectTimeout
    }

    package func with(role: String) -> Self {
        var settings = self
        settings.role = role
        return settings
    }

    package func with(applicationName: String) -> Self {
        var settings = self
        settings.applicationName = applicationName
        return settings
    }

    package func pooled(_ isPooled: Bool) -> Self {
        var settings = self
        settings.isPooled = isPooled
        return settings
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
