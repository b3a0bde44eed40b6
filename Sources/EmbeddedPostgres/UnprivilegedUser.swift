import Foundation

/// Whom a cluster runs as when we are root, and the command that becomes that user.
struct UnprivilegedUser: Sendable {
    let name: String
    let uid: uid_t
    let gid: gid_t
    private let tool: String

    /// Nil when we are not root and may simply run PostgreSQL ourselves.
    static func needed() throws(EmbeddedPostgresError) -> UnprivilegedUser? {
        guard geteuid() == 0 else { return nil }
        let names = ["postgres", "nobody"]
        let entry = names.lazy.compactMap { name in getpwnam(name).map { (name, $0.pointee) } }.first
        guard let (name, user) = entry else {
            throw .noUnprivilegedUser(reason: "neither postgres nor nobody exists; create a user postgres")
        }
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        let directories = path.split(separator: ":").map(String.init) + ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        for tool in ["setpriv", "runuser", "su"] {
            let paths = directories.map { "\($0)/\(tool)" }
            guard let found = paths.first(where: FileManager.default.isExecutableFile) else { continue }
            return Self(name: name, uid: user.pw_uid, gid: user.pw_gid, tool: found)
        }
        throw .noUnprivilegedUser(reason: "none of setpriv, runuser and su was found; install util-linux")
    }

    func command(_ arguments: [String]) -> [String] {
        switch self.tool.split(separator: "/").last {
        case "setpriv":
            [self.tool, "--reuid=\(self.uid)", "--regid=\(self.gid)", "--init-groups", "--"] + arguments
        case "runuser":
            [self.tool, "-u", self.name, "--"] + arguments
        default:
            [self.tool, self.name, "-s", "/bin/sh", "-c", "exec " + arguments.map(Self.quoted).joined(separator: " ")]
        }
    }

    private static func quoted(_ argument: String) -> String {
        "'" + argument.replacing("'", with: "'\\''") + "'"
    }
}
