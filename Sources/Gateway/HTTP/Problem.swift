import HTTPTypes
import JobFeedProtocol

/// A refusal as RFC 9457 describes it, with the status and headers that belong to it.
struct Problem: Error, Equatable {
    let status: HTTPResponse.Status
    /// What kind of refusal; one of ``ErrorCode``'s names.
    let code: ErrorCode
    let detail: String
    /// Seconds.
    var retryAfter: Int? = nil

    static func badRequest(_ detail: String) -> Problem {
        Problem(status: .badRequest, code: .invalidField, detail: detail)
    }

    static let upgradeRequired = Problem(
        status: .upgradeRequired,
        code: .invalidField,
        detail: "open a WebSocket of version 13 here, as the first request of its connection"
    )

    var headers: HTTPFields {
        var headers: HTTPFields = [.contentType: "application/problem+json", .cacheControl: "no-store"]
        // RFC 6750 §3
        if self.status == .unauthorized {
            headers[.wwwAuthenticate] = "Bearer realm=\"jobfeed\", error=\"invalid_token\""
        }
        // RFC 9110 §10.2.3
        if let retryAfter { headers[.retryAfter] = String(retryAfter) }
        // RFC 9110 §15.5.22
        if self.status == .upgradeRequired {
            headers[.upgrade] = "websocket"
            // RFC 6455 §4.4
            headers[.secWebSocketVersion] = "13"
        }
        return headers
    }

    var body: [UInt8] {
        var writer = MessageWriter()
        writer.beginObject()
        writer.member("type", "about:blank")
        writer.member("title", self.status.reasonPhrase)
        writer.member("status", self.status.code)
        writer.member("code", self.code.rawValue)
        writer.member("detail", self.detail)
        writer.endObject()
        return writer.bytes
    }
}

extension AuthenticationError {
    var errorCode: ErrorCode { self.retryAfter == nil ? .invalidToken : .unavailable }
}

extension Problem {
    init(_ error: AuthenticationError) {
        self.init(
            status: error.retryAfter == nil ? .unauthorized : .serviceUnavailable,
            code: error.errorCode,
            detail: error.message,
            retryAfter: error.retryAfter
        )
    }
}
