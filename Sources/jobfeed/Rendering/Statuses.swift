/// Which states end a job, and well or badly.
struct Statuses: Sendable, Equatable {
    static let defaultSuccess = ["success", "succeeded", "completed", "done"]
    static let defaultFailure = ["failed", "dead", "deadletter", "cancelled", "error", "discarded"]

    var success = Set(Self.defaultSuccess)
    var failure = Set(Self.defaultFailure)

    enum Kind: Sendable, Equatable {
        case underway
        case success
        case failure
    }

    func kind(of status: String?) -> Kind {
        guard let status else { return .underway }
        return self.success.contains(status) ? .success : self.failure.contains(status) ? .failure : .underway
    }
}
