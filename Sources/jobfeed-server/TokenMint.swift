import Foundation
import JWTKit

/// Signs tokens for development and for the demo; a gateway that serves never does.
struct TokenMint: Sendable {
    private struct Claims: JWTPayload {
        let sub: String
        let access: String
        let iat: Int
        let exp: Int
        let jti: String

        func verify(using algorithm: some JWTAlgorithm) {}
    }

    let secret: String

    func mint(user: String, access: String, seconds: Int) async throws -> String {
        let now = Int(Date().timeIntervalSince1970)
        let claims = Claims(
            sub: user,
            access: access,
            iat: now,
            exp: now + min(seconds, 1 << 40),
            jti: UUID().uuidString
        )
        let keys = await JWTKeyCollection().add(hmac: HMACKey(from: self.secret), digestAlgorithm: .sha256)
        return try await keys.sign(claims)
    }
}
