import JobFeedProtocol

/// Which tokens are accepted; signatures come besides.
package struct TokenRules: Sendable {
    /// Among the account values: everybody who is no operator is an account.
    package static let anyValue = "*"

    /// Where claims are found; a dot leads into an object.
    package var userClaim = "sub"
    package var accessClaim = "access"
    /// What the access claim says for an ordinary user, and for an operator.
    package var accountValues: Set<String> = ["account"]
    package var operatorValues: Set<String> = ["operator"]
    /// Who an operator is whose token names nobody, as service keys do; `nil`: such tokens are refused.
    package var operatorUser: String? = nil
    /// The table of SurrealDB's records that users are; `nil`: the user claim is the user to the letter.
    package var userTable: String? = nil
    /// Those that `iss` and `aud` may be; empty: not checked.
    package var issuers: Set<String> = []
    package var audiences: Set<String> = []
    package var required: [RequiredClaim] = []
    /// Clock differences that are forgiven, in seconds; only for `nbf`: `exp` has its own grace.
    package var leeway: Double = 5

    package init() {}

    /// Refuses rules that would make operators of those who should not be.
    func validate() throws(KeyError) {
        guard !self.operatorValues.contains(Self.anyValue) else {
            throw KeyError(
                message: "jwt-operator-values holds *, which would make everybody an operator; name the values"
            )
        }
        if let both = self.operatorValues.intersection(self.accountValues).min() {
            throw KeyError(
                message: "\"\(both)\" stands in jwt-account-values and in jwt-operator-values; it can mean one of them"
            )
        }
    }

    /// Checks everything but the signature.
    package func identity(of claims: TokenClaims, now: Double) throws(AuthenticationError) -> Identity {
        guard let expiresAt = claims.number("exp") else {
            throw AuthenticationError(message: "the token has no exp claim; only tokens that expire are accepted")
        }
        guard expiresAt > now else { throw AuthenticationError(message: "the token has expired") }
        if let notBefore = claims.number("nbf"), notBefore > now + self.leeway {
            throw AuthenticationError(message: "the token is not valid yet (nbf)")
        }
        if !self.issuers.isEmpty {
            guard let issuer = claims.string("iss"), self.issuers.contains(issuer) else {
                throw AuthenticationError(message: "the token was issued by somebody else (iss)")
            }
        }
        if !self.audiences.isEmpty, self.audiences.isDisjoint(with: claims.strings("aud")) {
            throw AuthenticationError(message: "the token is for another audience (aud)")
        }
        for claim in self.required where !claim.holds(in: claims) {
            throw AuthenticationError(message: "the token's \(claim.path) claim is not \(claim.value)")
        }
        let access = try self.access(of: claims)
        return Identity(
            user: try self.user(of: claims, access),
            access: access,
            expiresAt: expiresAt,
            issuedAt: claims.number("iat"),
            tokenID: claims.string("jti")
        )
    }

    private func access(of claims: TokenClaims) throws(AuthenticationError) -> Identity.Access {
        let values: [String]
        switch claims.value(self.accessClaim) {
        case nil, .null?: values = []
        case .string(let text)?: values = [text]
        case .array(let items)?: values = items.compactMap(\.stringValue)
        case let other?:
            throw AuthenticationError(
                message: "the token's \(self.accessClaim) claim is \(other.kind), not a string or a list of strings"
            )
        }
        // An operator's token is an operator's even when it lists both.
        if values.contains(where: self.operatorValues.contains) { return .operator }
        if self.accountValues.contains(Self.anyValue) || values.contains(where: self.accountValues.contains) {
            return .account
        }
        throw AuthenticationError(
            message: "the token's \(self.accessClaim) claim gives no access here; accepted are "
                + self.accountValues.union(self.operatorValues).sorted().joined(separator: ", ")
        )
    }

    private func user(of claims: TokenClaims, _ access: Identity.Access) throws(AuthenticationError) -> String {
        let name: String
        switch claims.value(self.userClaim) {
        case .string(let text)? where !text.isEmpty: name = text
        case nil, .null?, .string?:
            if access == .operator, let operatorUser { return operatorUser }
            throw AuthenticationError(message: "the token has no \(self.userClaim) claim that names a user")
        case let other?:
            throw AuthenticationError(message: "the token's \(self.userClaim) claim is \(other.kind), not a string")
        }
        guard !name.utf8.contains(0) else {
            throw AuthenticationError(message: "the token's \(self.userClaim) claim holds a zero byte")
        }
        guard let userTable else { return name }
        guard let key = RecordID.key(of: name, in: userTable) else {
            throw AuthenticationError(
                message: "the token's \(self.userClaim) claim is not a record of the table \(userTable) "
                    + "whose key is a text"
            )
        }
        return key
    }
}
