import Feed
import JobFeedProtocol

/// Why did this user see, or not see, the changes of one job?
package struct WhyQuestion: Sendable {
    package enum Since: Sendable, Equatable {
        case always
        case ago(seconds: Int)
        /// Microseconds since 1970.
        case time(Int64)
        /// What a client stored: only what it would be replayed.
        case cursor(String)
    }

    package var user: String
    package var access: Identity.Access
    package var job: String
    package var channel: String
    package var filter: String?
    package var columns: [String]?
    package var since: Since
    /// Claims of the token besides the user's: name and values.
    package var claims: [String: [String]] = [:]

    package init(
        user: String,
        access: Identity.Access,
        job: String,
        channel: String,
        filter: String?,
        columns: [String]?,
        since: Since
    ) {
        self.user = user
        self.access = access
        self.job = job
        self.channel = channel
        self.filter = filter
        self.columns = columns
        self.since = since
    }

    /// - Parameter feeds: ask for claims.
    func identity(for feeds: some Collection<FeedDefinition>) -> Identity {
        var identity = Identity(user: self.user, access: self.access, expiresAt: 0)
        for claim in feeds.flatMap(\.claims) { identity.claims[claim] = .some(self.claims[claim]) }
        return identity
    }

    var subscribe: Subscribe {
        Subscribe(id: "why", channel: self.channel, filter: self.filter, columns: self.columns)
    }

    /// How messages name who asks.
    var subject: String { self.access == .operator ? "an operator" : Printable.name(self.user) }
}

package enum WhyError: Error {
    /// The question makes no sense.
    case usage(String)
    /// There is no such feed, or no such job.
    case notFound(String)
    case unavailable(String)
    case configuration(String)
}

/// Texts from the database on somebody's terminal.
enum Printable {
    /// With control characters and those that change the direction of writing spelled out.
    static func text(_ text: some StringProtocol) -> String {
        var out = ""
        for scalar in text.unicodeScalars {
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned, .surrogate:
                out += "\\u{\(String(scalar.value, radix: 16))}"
            case .spaceSeparator where scalar != " ": out += "\\u{\(String(scalar.value, radix: 16))}"
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out
    }

    /// As it is when it is a plain word, otherwise in quotes.
    static func name(_ name: String) -> String {
        let isPlain = name.unicodeScalars.allSatisfy {
            $0.properties.isAlphabetic || "0123456789_-.@:/+%".unicodeScalars.contains($0)
        }
        return isPlain && !name.isEmpty ? self.text(name) : "\"\(self.text(name))\""
    }

    /// A value, not longer than a line has room for.
    static func value(_ value: JSONText?) -> String {
        guard let text = value?.scalarText else { return "null" }
        let short = text.count > 60 ? text.prefix(59) + "…" : text
        return short.hasPrefix("{") || short.hasPrefix("[") ? self.text(short) : self.name(short)
    }
}
