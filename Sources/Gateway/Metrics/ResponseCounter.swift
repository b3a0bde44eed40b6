import HTTPTypes
import Hummingbird

/// Counts what the router answers, by status.
struct ResponseCounter<Context: RequestContext>: RouterMiddleware {
    let metrics: GatewayMetrics

    // As Hummingbird declares it: it is built without NonisolatedNonsendingByDefault.
    @concurrent
    func handle(
        _ request: Request,
        context: Context,
        next: @concurrent (Request, Context) async throws -> Response
    ) async throws -> Response {
        do {
            let response = try await next(request, context)
            self.metrics.httpResponse(status: response.status.code)
            return response
        } catch {
            self.metrics.httpResponse(status: (error as? any HTTPResponseError)?.status.code ?? 500)
            throw error
        }
    }
}
