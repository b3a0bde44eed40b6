import Foundation
import Logging
import Synchronization
import Tracing

/// Writes each span to the log when it ends, at level debug: what there is to see without a collector.
struct LogTracer: Tracer {
    let logger: Logger

    func startSpan<Instant: TracerInstant>(
        _ operationName: String,
        context: @autoclosure () -> InstrumentationContext,
        ofKind kind: SpanKind,
        at instant: @autoclosure () -> Instant,
        function: String,
        file fileID: String,
        line: UInt
    ) -> LogSpan {
        LogSpan(operationName, parent: context(), since: instant().nanosecondsSinceEpoch, logger: self.logger)
    }

    func forceFlush() {}

    // No context crosses the process.
    func extract<Carrier, Extract: Extractor>(
        _ carrier: Carrier,
        into context: inout InstrumentationContext,
        using extractor: Extract
    ) where Extract.Carrier == Carrier {}

    func inject<Carrier, Inject: Injector>(
        _ context: InstrumentationContext,
        into carrier: inout Carrier,
        using injector: Inject
    ) where Inject.Carrier == Carrier {}
}

/// One span; what happens after its end is not looked at.
final class LogSpan: Span {
    private struct State: Sendable {
        var name: String
        var attributes = SpanAttributes()
        var error: String? = nil
        var isRecording = true
    }

    let context: InstrumentationContext
    private let since: UInt64
    private let logger: Logger
    private let state: Mutex<State>

    init(_ name: String, parent: InstrumentationContext, since: UInt64, logger: Logger) {
        var context = parent
        context[TraceID.self] = parent[TraceID.self] ?? String(UInt64.random(in: .min ... .max), radix: 16)
        self.context = context
        self.since = since
        self.logger = logger
        self.state = Mutex(State(name: name))
    }

    private enum TraceID: InstrumentationContextKey {
        typealias Value = String
    }

    var isRecording: Bool { self.state.withLock { $0.isRecording } }

    var operationName: String {
        get { self.state.withLock { $0.name } }
        set { self.state.withLock { $0.name = newValue } }
    }

    var attributes: SpanAttributes {
        get { self.state.withLock { $0.attributes } }
        set { self.state.withLock { $0.attributes = newValue } }
    }

    func setStatus(_ status: SpanStatus) {}

    func addEvent(_ event: SpanEvent) {}

    func addLink(_ link: SpanLink) {}

    func recordError<Instant: TracerInstant>(
        _ error: any Error,
        attributes: SpanAttributes,
        at instant: @autoclosure () -> Instant
    ) {
        self.state.withLock { $0.error = "\(error)" }
    }

    func end<Instant: TracerInstant>(at instant: @autoclosure () -> Instant) {
        let until = instant().nanosecondsSinceEpoch
        let ended = self.state.withLock { state -> State? in
            defer { state.isRecording = false }
            return state.isRecording ? state : nil
        }
        guard let ended else { return }
        var metadata: Logger.Metadata = [
            "trace": "\(self.context[TraceID.self] ?? "")",
            "milliseconds": "\(Double(until &- min(self.since, until)) / 1e6)",
        ]
        // swift-format-ignore: ReplaceForEachWithForLoop
        ended.attributes.forEach { name, value in metadata[name] = "\(value.text)" }
        if let error = ended.error { metadata["error"] = "\(error)" }
        self.logger.debug("Span \(ended.name)", metadata: metadata)
    }
}

extension SpanAttribute {
    fileprivate var text: String {
        switch self {
        case .string(let value): value
        case .bool(let value): String(value)
        case .int64(let value): String(value)
        default: "\(self)"
        }
    }
}
