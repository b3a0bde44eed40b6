import JobFeedClient
import JobFeedProtocol

/// The few lines at the bottom of a terminal that show how far the running jobs are.
extension Renderer {
    static let maximumBars = 10

    /// At most ``maximumBars`` bars and how many more there are, each narrower than `width`; none without progress.
    ///
    /// What scrolled off the top of a low window could not be erased any more, so the block stays below its `height`.
    func liveBlock(width: Int, height: Int) -> [String] {
        let running = self.store.rows.compactMap { key, row -> (key: String, percent: Double)? in
            guard self.statuses.kind(of: row[self.statusColumn]?.stringValue) == .underway else { return nil }
            return Progress.percent(row[Self.progressColumn]).map { (key, $0) }
        }
        // By key, so that bars keep their places while they grow.
        let ordered = running.sorted { ($0.key.utf8.count, $0.key) < ($1.key.utf8.count, $1.key) }
        let bars = max(0, min(Self.maximumBars, height - 2))
        var lines = ordered.prefix(bars).map { self.barLine($0.key, $0.percent, width: width) }
        if ordered.count > bars, height > 1 {
            let more = DisplayText.truncated("+\(ordered.count - bars) more", to: max(width - 1, 1))
            lines.append(self.style.paint(more, .dim))
        }
        return lines
    }

    private func barLine(_ key: String, _ percent: Double, width: Int) -> String {
        let number = "\(Int(percent)) %"
        let barWidth = width < 50 ? 10 : 20
        let room = max(width - 1 - barWidth - 5 - 4, 1)
        let name = [DisplayText.sanitized(key), self.label(key) ?? ""].filter { !$0.isEmpty }.joined(separator: " ")
        guard room > 4 else { return DisplayText.truncated("\(name) \(number)", to: max(width - 1, 1)) }
        let shownName = DisplayText.padded(DisplayText.truncated(name, to: room), to: min(room, 30))
        let bar = self.style.paint(Progress.bar(percent, width: barWidth), .cyan)
        return "\(shownName)  \(bar)  \(DisplayText.padded(number, to: 5))"
    }
}
