import ServiceLifecycle

/// Keeps the gateway from ending before its WebSockets have.
extension ConnectionCensus: Service {
    func run() async {
        do {
            try await gracefulShutdown()
        } catch {
            return
        }
        await self.waitUntilEmpty()
    }
}
