import Tracing

/// The trace of one answer to a subscription: `jobfeed.subscribe`, from the command or the reset to `live`, and in it
/// `jobfeed.snapshot`, the time on a database session. Goes wherever the process's swift-distributed-tracing goes.
///
/// One that is dropped before its end is "abandoned": nobody waits for it any more, or it is asked for again.
final class LoadTrace: Sendable {
    private let span: any Span

    /// - Parameter cause: `subscribe`, `resume` or `reset`.
    init(feed: String, channel: String, cause: String) {
        self.span = startSpan("jobfeed.subscribe", context: .topLevel, ofKind: .server)
        self.span.updateAttributes { attributes in
            attributes["jobfeed.feed"] = feed
            attributes["jobfeed.channel"] = channel
            attributes["jobfeed.cause"] = cause
        }
    }

    /// On a thread of the pool.
    func snapshot<Value>(_ body: () throws -> Value) rethrows -> Value {
        let span = startSpan("jobfeed.snapshot", context: self.span.context, ofKind: .client)
        defer { span.end() }
        do {
            return try body()
        } catch {
            span.recordError(error)
            throw error
        }
    }

    func live(from source: String) {
        self.span.updateAttributes { $0["jobfeed.source"] = source }
        self.span.end()
    }

    func failed(_ error: any Error) {
        self.span.recordError(error)
        self.span.setStatus(SpanStatus(code: .error))
        self.span.end()
    }

    deinit {
        guard self.span.isRecording else { return }
        self.span.updateAttributes { $0["jobfeed.source"] = "abandoned" }
        self.span.end()
    }
}
