import Feed

extension WhyReport {
    private static let width = 80

    private enum Tone: String {
        case heading = "1"
        case sent = "32"
        case notSent = "33"
        case note = "2"
        case plain = ""
    }

    /// For people: no line is longer than 80 columns unless a word is.
    package func text(colour: Bool) -> String {
        var out: [String] = []
        func say(_ text: String, _ tone: Tone = .plain, indent: Int = 4) {
            for line in Self.wrapped(text, indent: indent) {
                out.append(colour && tone != .plain ? "\u{1b}[\(tone.rawValue)m\(line)\u{1b}[0m" : line)
            }
        }
        func say(_ entry: Entry) {
            say(entry.text)
            for value in entry.values {
                if let text = entry.text(of: value) { say(text, indent: 6) }
            }
            say(entry.verdict.message, entry.verdict.isSent ? .sent : .notSent)
        }
        say(self.title, .heading, indent: 0)
        out.append("")
        // A general one is read once.
        var notes: Set<String> = []
        if self.steps.isEmpty {
            say("The log has no change of it\(self.question.since == .always ? "" : " since then").", indent: 0)
            out.append("")
        }
        for step in self.steps {
            let time = Timestamp.iso8601(micros: step.at).replacing("T", with: " ")
            say("\(time)  transaction \(step.xid)", .heading, indent: 0)
            for event in step.events { say(event) }
            for entry in step.entries { say(entry) }
            for note in step.notes where notes.insert(note).inserted { say("note: \(note)", .note) }
            out.append("")
        }
        if let replay {
            say("Resumed from this cursor", .heading, indent: 0)
            if let reason = replay.reason {
                say("not recovered (\(reason)): the client is sent the rows as they are now", .notSent)
            } else if replay.entries.isEmpty {
                say("nothing of this job is sent")
            }
            for entry in replay.entries { say(entry) }
            if !replay.entries.isEmpty { say("note: \(Replay.note)", .note) }
            out.append("")
        }
        say("Now", .heading, indent: 0)
        say(self.now.message, self.now.isVisible ? .sent : .notSent)
        say(self.reach)
        for hint in self.hints { say("mind: \(hint)", .heading) }
        return out.joined(separator: "\n")
    }

    private var title: String {
        let user = self.question.access == .operator ? "an operator" : "account \(self.question.subject)"
        var text = "Job \(Printable.name(self.question.job)) of feed \(self.feed), as \(user) is sent it"
        text += " on channel \(Printable.name(self.question.channel))"
        if let filter = self.question.filter { text += ", filter \(Printable.text(filter))" }
        if let columns = self.question.columns { text += ", columns \(Printable.text(columns.joined(separator: ",")))" }
        return text
    }

    /// Breaks at spaces; what follows a break is indented a little more.
    static func wrapped(_ text: String, indent: Int) -> [String] {
        var lines: [String] = []
        var line = String(repeating: " ", count: indent)
        var isEmpty = true
        for word in text.split(separator: " ", omittingEmptySubsequences: false) {
            if !isEmpty, line.count + 1 + word.count > Self.width {
                lines.append(line)
                line = String(repeating: " ", count: indent + 2)
                isEmpty = true
            }
            line += isEmpty ? String(word) : " \(word)"
            isEmpty = false
        }
        return lines + [line]
    }
}

extension WhyReport.Entry {
    /// `path: /x → /y`; of a row that came or went only what it held.
    fileprivate func text(of value: (column: String, before: JSONText?, after: JSONText?)) -> String? {
        let before = Printable.value(value.before)
        let after = Printable.value(value.after)
        guard before != after else { return nil }
        let name = Printable.text(value.column)
        switch self.operation {
        case "insert": return "\(name): \(after)"
        case "delete": return "\(name): \(before)"
        default: return "\(name): \(before) → \(after)"
        }
    }

    /// `update of status: status pending → processing, owner alice`
    fileprivate var text: String {
        var facts: [String] = []
        func tell(_ name: String, _ before: String?, _ after: String?) {
            let texts = [before, after].map { $0.map(Printable.name) }
            switch (texts[0], texts[1]) {
            case (let before?, let after?): facts.append("\(name) \(before == after ? after : "\(before) → \(after)")")
            case (let one?, nil), (nil, let one?): facts.append("\(name) \(one)")
            case (nil, nil): break
            }
        }
        tell("status", self.statusBefore, self.statusAfter)
        switch self.operation {
        case "insert": tell("owner", nil, self.ownerAfter ?? "nobody")
        case "delete": tell("owner", self.ownerBefore ?? "nobody", nil)
        case "truncate": break
        default: tell("owner", self.ownerBefore ?? "nobody", self.ownerAfter ?? "nobody")
        }
        return facts.isEmpty ? self.what : "\(self.what): \(facts.joined(separator: ", "))"
    }
}
