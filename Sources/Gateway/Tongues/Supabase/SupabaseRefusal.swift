import JobFeedProtocol

/// Why a join was refused, in the form of Supabase's own reasons: `Code: text`. Clients look at the code alone.
struct SupabaseRefusal: Error, Equatable {
    let code: ErrorCode
    /// As in Supabase's list of error codes.
    let name: String
    let message: String

    var reason: String { "\(self.name): \(self.message)" }

    init(_ code: ErrorCode, _ name: String, _ message: String) {
        self.code = code
        self.name = name
        self.message = message
    }

    /// From what the session said.
    init(_ code: ErrorCode, _ message: String) {
        let name =
            switch code {
            case .invalidToken: "InvalidJWTToken"
            case .unauthenticated, .forbidden: "Unauthorized"
            case .tooManySubscriptions, .connectionLimit: "ChannelRateLimitReached"
            case .rateLimited: "ClientJoinRateLimitReached"
            case .unavailable: "DatabaseConnectionDown"
            case .internalError: "UnknownErrorOnChannel"
            case .invalidFilter, .invalidColumns, .invalidChannel, .unknownFeed: "RealtimeDisabledForConfiguration"
            case .invalidJSON, .unknownType, .missingField, .invalidField, .unknownField, .duplicateID, .unknownID:
                "InvalidJoinPayload"
            }
        self.init(code, name, message)
    }

    static func payload(_ message: String) -> SupabaseRefusal {
        SupabaseRefusal(.invalidField, message)
    }

    static func configuration(_ message: String) -> SupabaseRefusal {
        SupabaseRefusal(.unknownFeed, message)
    }
}
