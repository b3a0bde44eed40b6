import Foundation
import JobFeedProtocol
import NIOHTTP1

/// What a Supabase client says when it connects.
struct SupabaseUpgrade: Sendable {
    /// Hosted, behind Supabase's gateway, and the server's own.
    static let paths: Set<String> = ["/realtime/v1/websocket", "/socket/websocket"]

    let serializer: PhoenixSerializer
    /// The project's key, which names no user, unless it is a user's token.
    let apiKey: String?

    /// - Parameter query: what follows the `?`.
    init(query: Substring, _ headers: HTTPHeaders) throws(Problem) {
        var values: [String: String] = [:]
        for part in query.split(separator: "&") {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard pair.count == 2, let value = String(pair[1]).removingPercentEncoding else { continue }
            values[String(pair[0])] = value
        }
        guard let serializer = PhoenixSerializer(version: values["vsn"]) else {
            throw .badRequest("vsn has to be 1.0.0 or 2.0.0")
        }
        self.serializer = serializer
        self.apiKey = headers["x-api-key"].first ?? values["apikey"]
    }
}
