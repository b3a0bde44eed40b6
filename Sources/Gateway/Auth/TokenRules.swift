import Foundation

/// Which tokens are accepted; signatures come besides.
package struct TokenRules: Sendable {
    /// Where claims are found; a dot leads into an object.
    package var userClaim = "sub"
    package var accessClaim = "access"
    /// What the access claim says for an ordinary user, and for an operator.
    package var accountValues: Set<String> = ["account"]
    package var operatorValues: Set<String> = ["operator"]
    package var issuer: String? = nil
    package var audience: String? = nil
    /// Clock differences that are forgiven, in seconds; only for `nbf`: `exp` has its own grace.
    package var leeway: Double = 5

    package init() {}

    /// Checks everything but the signature.
    package func identity(of claims: TokenClaims, now: Double) throws(AuthenticationError) -> Identity {
        guard let expiresAt = claims.number("exp") else {
            throw AuthenticationError(message: "the token has no exp claim; only tokens that expire are accepted")
        }
        guard expiresAt > now else { throw AuthenticationError(message: "the token has expired") }
        if let notBefore = claims.number("nbf"), notBefore > now + self.leeway {
            throw AuthenticationError(message: "the token is not valid yet (nbf)")
        }
        if let issuer, claims.string("iss") != issuer {
            throw AuthenticationError(message: "the token was issued by somebody else (iss)")
        }
        if let audience, !claims.strings("aud").contains(audience) {
            throw AuthenticationError(message: "the token is for another audience (aud)")
        }
        guard let user = claims.string(self.userClaim), !user.isEmpty, !user.utf8.contains(0) else {
            throw AuthenticationError(message: "the token has no \(self.userClaim) claim that names a user")
        }
        let access = try self.access(of: claims)
        return Identity(
            user: user,
            access: access,
            expiresAt: expiresAt,
            issuedAt: claims.number("iat"),
            tokenID: claims.string("jti")
        )
    }

    private func access(of claims: TokenClaims) throws(AuthenticationError) -> Identity.Access {
        let values = claims.strings(self.accessClaim)
        // An operator's token is an operator's even when it lists both.
        if values.contains(where: self.operatorValues.contains) { return .operator }
        if values.contains(where: self.accountValues.contains) { return .account }
        throw AuthenticationError(
            message: "the token's \(self.accessClaim) claim gives no access here; accepted are "
                + self.accountValues.union(self.operatorValues).sorted().joined(separator: ", ")
        )
    }
}
