import Feed

/// Who a token speaks for, and for how long.
package struct Identity: Sendable, Equatable {
    package enum Access: String, Sendable {
        case account
        case `operator`
    }

    package let user: String
    package let access: Access
    /// Seconds since 1970.
    package let expiresAt: Double
    /// Seconds since 1970 (`iat`).
    package let issuedAt: Double?
    /// The token's own name (`jti`).
    package let tokenID: String?

    /// Values of the claims that feeds ask for; none for one that the token lacks.
    package var claims: ClaimValues = [:]

    package init(user: String, access: Access, expiresAt: Double, issuedAt: Double? = nil, tokenID: String? = nil) {
        self.user = user
        self.access = access
        self.issuedAt = issuedAt
        self.tokenID = tokenID
        // A year of five digits and more is nobody's business, and must not overflow.
        self.expiresAt = min(max(expiresAt, 0), 253_402_300_799)
    }

    /// Whether both see the same rows. A claim that only one of them was asked for decided nothing so far.
    func isSame(as other: Identity) -> Bool {
        ByteText(self.user) == ByteText(other.user) && self.access == other.access
            && self.claims.allSatisfy { name, values in
                other.claims[name].map { $0?.map { ByteText($0) } == values?.map { ByteText($0) } } ?? true
            }
    }

    var expiresAtText: String {
        let seconds = Int64(self.expiresAt)
        return String(Timestamp.iso8601(micros: seconds * 1_000_000).prefix(19)) + "Z"
    }
}

/// Why a token was refused, in words that help its maker and tell a thief nothing.
package struct AuthenticationError: Error, Equatable {
    package let message: String
    /// Seconds after which the same token may be accepted; `nil`: it will not be.
    package var retryAfter: Int? = nil
}
