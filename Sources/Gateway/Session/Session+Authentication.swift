import DequeModule
import Feed
import JobFeedProtocol
import NIOCore
import WebSocketTransport

/// Who the client is, at first and after each refresh.
extension Session {
    func authenticate(id: String, token: String) {
        self.isVerifying = true
        let authenticator = self.context.authenticator
        let verified = self.eventLoop.makeFutureWithTask { () -> Swift.Result<Identity, AuthenticationError> in
            do throws(AuthenticationError) {
                return .success(try await authenticator.verify(token))
            } catch {
                return .failure(error)
            }
        }
        verified.assumeIsolated().whenSuccess { result in
            self.isVerifying = false
            guard self.connection != nil else { return }
            self.authenticated(id: id, result)
            while !self.isVerifying, let command = self.waiting.popFirst() { self.handle(command) }
            self.connection?.flush()
        }
    }

    private func authenticated(id: String, _ result: Swift.Result<Identity, AuthenticationError>) {
        switch (result, self.identity) {
        case (.failure(let error), nil):
            guard self.tongue.staysAfterRefusedToken else {
                self.answer(.error(id: id, error.errorCode, error.message))
                return self.close(error.retryAfter == nil ? .unauthenticated : .tryAgainLater)
            }
            self.refuse(id: id, error.errorCode, error.message)
        case (.failure(let error), _?):
            // The old token is still good until it expires.
            self.refuse(id: id, error.errorCode, error.message)
        case (.success(let identity), nil):
            guard self.context.census.identify(self.seat, as: ByteText(identity.user)) else {
                let problem = Problem(.user, self.context.census.limits)
                self.context.metrics.refusals.increment(.user)
                self.answer(.error(id: id, problem.code, problem.detail))
                return self.close(.connectionLimit)
            }
            self.identity = identity
            self.welcome()
        case (.success(let new), let old?):
            guard new.isSame(as: old) else {
                self.answer(
                    .error(
                        id: id,
                        .forbidden,
                        "this connection belongs to another user, access or owner; open a new one for this token"
                    )
                )
                return self.close(.forbidden)
            }
            self.identity = new
            self.revocationsSeen = nil
            self.answer(.authenticated(id: id, expiresAt: new.expiresAtText))
        }
    }

    func welcome() {
        guard let identity = self.identity else { return }
        self.answer(
            .welcome(
                Answer.Welcome(
                    connection: self.name,
                    node: self.context.node,
                    identity: identity,
                    heartbeatSeconds: Int(self.context.heartbeat.components.seconds),
                    limits: self.context.limits
                )
            )
        )
        self.connection?.flush()
    }
}
