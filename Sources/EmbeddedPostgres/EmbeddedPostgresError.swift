/// Why a private cluster could not be started; each case says what to do.
package enum EmbeddedPostgresError: Error, Sendable, Hashable {
    case notInstalled(searched: [String])
    case noUnprivilegedUser(reason: String)
    case unusableDirectory(path: String, reason: String)
    case system(call: String, errno: Int32)
    case initdbFailed(log: String)
    case startFailed(reason: String, log: String)
    case stopped
}

extension EmbeddedPostgresError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .notInstalled(let searched):
            """
            no PostgreSQL server on this machine (initdb and postgres were looked for in \
            \(searched.joined(separator: ", "))); install it with "apt-get install postgresql" \
            or "brew install postgresql"
            """
        case .noUnprivilegedUser(let reason):
            "PostgreSQL refuses to run as root, and there is no way to another user: \(reason)"
        case .unusableDirectory(let path, let reason):
            "cannot keep a cluster in \(path): \(reason); choose another directory"
        case .system(let call, let errno):
            "\(call) failed with errno \(errno)"
        case .initdbFailed(let log):
            "initdb failed; the end of its output:\n\(log)"
        case .startFailed(let reason, let log):
            "PostgreSQL did not start: \(reason); the end of its log:\n\(log)"
        case .stopped:
            "the cluster has been stopped for good; start another one"
        }
    }
}
