import ArgumentParser
import Foundation
import JobFeedClient
import JobFeedProtocol
import Synchronization

/// Runs `jobfeed tail`: events to the screen until something ends it.
final class Tail: Sendable {
    private let client: JobFeedClient
    private let subscription: Subscription
    private let screen: Mutex<Screen>
    private let watch: TerminalWatch?
    private let connectTimeout: Duration?
    private let format: Renderer.Format
    private let hasConnected = Mutex(false)

    init(
        url: String,
        token: TokenSource,
        options: SubscribeOptions,
        renderer: Renderer,
        watch: TerminalWatch?,
        connectTimeout: Duration?,
        additionalCAFile: String? = nil
    ) {
        var configuration = JobFeedClient.Configuration()
        configuration.additionalCAFile = additionalCAFile
        if let connectTimeout {
            configuration.connectTimeout = min(connectTimeout, configuration.connectTimeout)
        }
        self.client = JobFeedClient(url: url, configuration: configuration) { try token.read() }
        self.subscription = self.client.subscribe(options)
        self.format = renderer.format
        self.screen = Mutex(Screen(renderer: renderer, output: .output, errors: .errors))
        self.watch = watch
        self.connectTimeout = connectTimeout
    }

    func run() async throws {
        Signals.onTermination { self.stopped() }
        let deadline = self.connectTimeout.map { timeout in
            Task {
                try await Task.sleep(for: timeout)
                if !self.hasConnected.withLock({ $0 }) {
                    self.leave(69, "no connection within \(timeout.components.seconds) s")
                }
            }
        }
        // A quiet feed writes nothing, so the end of `jobfeed tail | head` would go unnoticed.
        let abandonment = Task {
            while (try? await Task.sleep(for: .seconds(1))) != nil {
                if Terminal.output.isAbandoned { self.leave(0, nil) }
            }
        }
        defer {
            deadline?.cancel()
            abandonment.cancel()
        }
        do {
            try await self.follow()
        } catch let error as JobFeedError {
            self.leave(Self.exitCode(error), error.message)
        }
    }

    private func follow() async throws {
        var watch = self.watch
        var events = self.subscription.makeAsyncIterator()
        while let event = try await events.next() {
            if case .live = event {
                self.hasConnected.withLock { $0 = true }
            }
            let before = self.subscription.cursor
            let (isRead, rows) = self.screen.withLock { ($0.show(event, before: before), $0.renderer.store) }
            // `head` has seen enough.
            guard isRead else { self.leave(0, nil) }
            switch watch?.observed(event, rows: rows) {
            case .goOn?, nil: break
            case .success?: self.leave(0, nil)
            case .failure(let reason)?: self.leave(1, reason)
            }
        }
    }

    /// Ctrl-C must work also while a write to a stalled pipe holds the screen.
    private func stopped() {
        for _ in 0..<50 {
            let done: Void? = self.screen.withLockIfAvailable { screen in
                screen.clear()
                let farewell = screen.renderer.farewell(cursor: screen.cursor(subscription: self.subscription.cursor))
                screen.note(farewell.map { [$0] } ?? [])
            }
            if done != nil { break }
            Thread.sleep(forTimeInterval: 0.01)
        }
        Foundation.exit(0)
    }

    private func leave(_ code: Int32, _ reason: String?) -> Never {
        self.screen.withLock { screen in
            screen.clear()
            if let reason {
                screen.note([
                    self.format == .json
                        ? JSONObject([("event", "error"), ("message", .string(reason))]).encoded()
                        : "jobfeed: \(DisplayText.sanitized(reason))"
                ])
            }
        }
        Foundation.exit(code)
    }

    private static func exitCode(_ error: JobFeedError) -> Int32 {
        switch error.code.rawValue {
        case JobFeedError.Code.invalidConfiguration.rawValue: 64
        case ErrorCode.invalidChannel.rawValue, ErrorCode.unknownFeed.rawValue, ErrorCode.invalidFilter.rawValue,
            ErrorCode.invalidColumns.rawValue, ErrorCode.invalidField.rawValue, ErrorCode.missingField.rawValue:
            64
        default: 77
        }
    }
}
