/// What a subscription's channel names; everything after the first `:` or `/` may hold any character.
public enum Channel: Sendable, Equatable {
    /// `FEED`: all rows the user may see.
    case all(feed: String)
    /// `FEED:STATUS[,STATUS…]`: the rows in one of these states.
    case statuses(feed: String, [String])
    /// `FEED/KEY`: one job.
    case key(feed: String, String)
    /// `FEED#counts`: how many rows per status.
    case counts(feed: String)

    public var feed: String {
        switch self {
        case .all(let feed), .statuses(let feed, _), .key(let feed, _), .counts(let feed): feed
        }
    }

    public init(parsing text: String) throws(ChannelError) {
        let separator = text.unicodeScalars.firstIndex { $0 == ":" || $0 == "/" || $0 == "#" }
        let feed = String(text[..<(separator ?? text.endIndex)])
        guard !feed.isEmpty else {
            throw ChannelError(text, "names no feed; write FEED, FEED:STATUS, FEED/KEY or FEED#counts")
        }
        guard let separator else {
            self = .all(feed: feed)
            return
        }
        let rest = String(text.unicodeScalars[text.unicodeScalars.index(after: separator)...])
        switch text.unicodeScalars[separator] {
        case ":":
            let statuses = rest.unicodeScalars.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
            guard !statuses.contains("") else {
                throw ChannelError(text, "has an empty status; write FEED:STATUS[,STATUS…] or FEED for all of them")
            }
            self = .statuses(feed: feed, statuses)
        case "/":
            guard !rest.isEmpty else { throw ChannelError(text, "has an empty key; write FEED/KEY or FEED") }
            self = .key(feed: feed, rest)
        default:
            guard rest == "counts" else {
                throw ChannelError(text, "asks for \"#\(rest)\"; only FEED#counts exists")
            }
            self = .counts(feed: feed)
        }
    }
}

extension Channel: CustomStringConvertible {
    public var description: String {
        switch self {
        case .all(let feed): feed
        case .statuses(let feed, let statuses): "\(feed):\(statuses.joined(separator: ","))"
        case .key(let feed, let key): "\(feed)/\(key)"
        case .counts(let feed): "\(feed)#counts"
        }
    }
}

/// Why a text is not a channel, in words for the client's author.
public struct ChannelError: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String

    init(_ channel: String, _ complaint: String) {
        self.description = "channel \(quoted(channel)) \(complaint)"
    }
}
