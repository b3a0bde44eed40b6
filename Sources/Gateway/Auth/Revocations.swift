import Feed
import LibPQ
import Synchronization

/// Whom `jobfeed.kick` has sent away, as this node last read it; any thread may ask.
package final class Revocations: Sendable {
    /// Until when, and for a user: which tokens.
    private struct Entry {
        /// Seconds since 1970.
        var revokedAt: Double
        var expiresAt: Double
    }

    private struct List {
        var users: [ByteText: [Entry]] = [:]
        var tokens: [ByteText: [Entry]] = [:]
        var stamp: String? = nil
    }

    private let list = Mutex(List())
    private let generation = Atomic<UInt64>(0)

    package init() {}

    /// Another one after each change of the list.
    var version: UInt64 { self.generation.load(ordering: .acquiring) }

    /// Why this identity is not served, although its token is genuine.
    package func refuses(_ identity: Identity, now: Double) -> Bool {
        self.list.withLock { list in
            if let token = identity.tokenID, let entries = list.tokens[ByteText(token)],
                entries.contains(where: { $0.expiresAt > now })
            {
                return true
            }
            // A token that does not say when it was issued may be an old one.
            return list.users[ByteText(identity.user)]?.contains {
                $0.expiresAt > now && identity.issuedAt ?? -.infinity < $0.revokedAt
            } ?? false
        }
    }

    /// SQL for a text that is another one when the list is; ids alone do not tell, for they commit in any order.
    static let stampSQL =
        "(SELECT count(*) || '.' || coalesce(sum(hashint8extended(id, 0)), 0) FROM jobfeed.revocation)"

    private static let sql = """
        SELECT \(stampSQL), user_name, token_id, extract(epoch FROM revoked_at)::float8::text,
               extract(epoch FROM expires_at)::float8::text
        FROM (SELECT 1) AS always LEFT JOIN jobfeed.revocation ON expires_at > clock_timestamp()
        """

    /// Reads the list; the caller's transaction has seen that it may have changed.
    func load(_ connection: Connection) throws(PostgresError) {
        let result = try connection.query(Self.sql)
        var fresh = List(stamp: result.string(0, 0))
        for row in 0..<result.rowCount {
            guard let revokedAt = result.string(row, 3).flatMap(Double.init),
                let expiresAt = result.string(row, 4).flatMap(Double.init)
            else { continue }
            let entry = Entry(revokedAt: revokedAt, expiresAt: expiresAt)
            if let user = result.string(row, 1) { fresh.users[ByteText(user), default: []].append(entry) }
            if let token = result.string(row, 2) { fresh.tokens[ByteText(token), default: []].append(entry) }
        }
        self.replace(with: fresh)
    }

    private func replace(with fresh: List) {
        let isNew = self.list.withLock { list in
            guard list.stamp != fresh.stamp else { return false }
            list = fresh
            return true
        }
        if isNew { self.generation.wrappingAdd(1, ordering: .acquiringAndReleasing) }
    }

    /// Adds one by hand.
    package func revoke(user: String? = nil, tokenID: String? = nil, at revokedAt: Double, until expiresAt: Double) {
        self.list.withLock { list in
            let entry = Entry(revokedAt: revokedAt, expiresAt: expiresAt)
            if let user { list.users[ByteText(user), default: []].append(entry) }
            if let tokenID { list.tokens[ByteText(tokenID), default: []].append(entry) }
        }
        self.generation.wrappingAdd(1, ordering: .acquiringAndReleasing)
    }
}
