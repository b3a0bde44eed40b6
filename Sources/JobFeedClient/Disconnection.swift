import JobFeedProtocol

/// How a connection, or an attempt at one, came to its end.
enum Disconnection: Sendable, Equatable {
    /// No answer, refused, or cut off.
    case lost(String)
    /// The server answered the upgrade with this status instead.
    case refusedUpgrade(status: Int, detail: String?, retryAfter: Duration?)
    /// A close frame came.
    case closed(code: UInt16, reason: String)
    case tokenUnavailable(String)
    /// The token provider gave up for good.
    case gaveUp(JobFeedError)

    enum Decision: Sendable, Equatable {
        case retry(reason: String, notBefore: Duration)
        case stop(JobFeedError)
    }

    var decision: Decision {
        switch self {
        case .lost(let reason): .retry(reason: reason, notBefore: .zero)
        case .tokenUnavailable(let reason): .retry(reason: "no token: \(reason)", notBefore: .zero)
        case .gaveUp(let error): .stop(error)
        case .refusedUpgrade(401, let detail, _):
            .stop(JobFeedError(code: .unauthenticated, message: detail ?? "the server does not accept the token"))
        case .refusedUpgrade(403, let detail, _):
            .stop(JobFeedError(code: .forbidden, message: detail ?? "the server does not admit this user"))
        case .refusedUpgrade(let status, let detail, let retryAfter):
            .retry(
                reason: "the server answered HTTP \(status)\(detail.map { ": \($0)" } ?? "")",
                notBefore: retryAfter ?? .zero
            )
        case .closed(let code, let reason): Self.decision(code, reason)
        }
    }

    private static func decision(_ code: UInt16, _ reason: String) -> Decision {
        let known = CloseCode(rawValue: code)
        let text = reason.isEmpty ? known?.reason ?? "no reason given" : reason
        guard CloseCode.mayReconnect(code) else {
            let errorCode: JobFeedError.Code =
                switch known {
                case .unauthenticated, .authenticationTimeout: .unauthenticated
                case .forbidden: .forbidden
                case .revoked: .revoked
                default: .connectionRefused
                }
            return .stop(JobFeedError(code: errorCode, message: "the server closed the connection: \(code) \(text)"))
        }
        let wait = known == .rateLimited ? Self.seconds(in: reason) : .zero
        return .retry(reason: "closed by the server: \(code) \(text)", notBefore: wait)
    }

    /// The first whole number in the reason of 4003, at most five minutes.
    private static func seconds(in reason: String) -> Duration {
        let digits = reason.drop { !$0.isASCII || !$0.isNumber }.prefix { $0.isASCII && $0.isNumber }
        return .seconds(min(Int(digits) ?? 0, 300))
    }
}
