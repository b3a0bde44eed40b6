import JobFeedClient

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The two output streams and what stands on them; used under a lock.
struct Screen: Sendable {
    private(set) var renderer: Renderer
    private var painter = Painter()
    private let output: Terminal
    private let errors: Terminal
    /// The cursor of the event shown last, and the one the subscription had before it.
    private var shown: (before: String?, cursor: String)?

    init(renderer: Renderer, output: Terminal, errors: Terminal) {
        self.renderer = renderer
        self.output = output
        self.errors = errors
    }

    /// Answers false when nobody reads the output any more.
    mutating func show(_ event: Event, before: String?) -> Bool {
        if let cursor = event.cursor {
            self.shown = (before, cursor)
        }
        let rendered = self.renderer.render(event, now: Date())
        self.note(rendered.notes)
        guard self.renderer.hasLiveBlock else {
            return rendered.lines.isEmpty || self.output.write(rendered.lines.map { $0 + "\n" }.joined())
        }
        let (width, height) = self.output.size
        let text = self.painter.paint(
            lines: rendered.lines,
            block: self.renderer.liveBlock(width: width, height: height),
            width: width
        )
        return text.isEmpty || self.output.write(text)
    }

    /// Writes to stderr without hitting the live block, which may be on the same terminal.
    mutating func note(_ lines: [String]) {
        guard !lines.isEmpty else { return }
        self.clear()
        _ = self.errors.write(lines.map { $0 + "\n" }.joined())
    }

    /// Where to go on, also when the subscription does not yet know that its last event has been written.
    func cursor(subscription: String?) -> String? {
        guard let shown = self.shown, shown.before == subscription else { return subscription }
        return shown.cursor
    }

    /// Leaves the terminal as if there had never been a live block.
    mutating func clear() {
        let erase = self.painter.erase(width: self.output.size.width)
        if !erase.isEmpty {
            _ = self.output.write(erase)
        }
    }
}
