/// Where and as whom to connect; its descriptions never show the connection string, which may hold a password.
package struct ConnectionSettings: Sendable {
    /// A URI or `keyword=value` string; nil leaves everything to libpq (PGHOST, .pgpass, service files).
    let conninfo: String?
    package let applicationName: String
    package let role: String?
    package let connectTimeout: Duration

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
        Self(
            conninfo: self.conninfo,
            applicationName: self.applicationName,
            role: role,
            connectTimeout: self.connectTimeout
        )
    }

    package func with(applicationName: String) -> Self {
        Self(
            conninfo: self.conninfo,
            applicationName: applicationName,
            role: self.role,
            connectTimeout: self.connectTimeout
        )
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
