import Feed
import JobFeedProtocol

extension WhyReport {
    /// One JSON object per line: `change`…, `replay` (with a cursor), `summary`.
    package var json: [String] {
        var lines: [String] = []
        for step in self.steps {
            for entry in step.entries {
                lines.append(
                    Self.line("change") { writer in
                        writer.member("transaction", String(step.xid))
                        writer.member("at", Timestamp.iso8601(micros: step.at))
                        entry.write(to: &writer)
                        writer.list("path", step.events)
                        writer.list("notes", step.notes)
                    }
                )
            }
        }
        if let replay {
            lines.append(
                Self.line("replay") { writer in
                    writer.member("recovered", replay.reason == nil)
                    writer.text("reason", replay.reason)
                    writer.beginArray("changes")
                    for entry in replay.entries {
                        var element = MessageWriter()
                        element.beginObject()
                        entry.write(to: &element)
                        element.endObject()
                        writer.element(json: element.bytes)
                    }
                    writer.endArray()
                }
            )
        }
        lines.append(
            Self.line("summary") { writer in
                writer.member("feed", self.feed)
                writer.member("key", self.question.job)
                writer.member("user", self.question.user)
                writer.member("access", self.question.access.rawValue)
                writer.member("channel", self.question.channel)
                writer.member("exists", self.now.exists)
                writer.member("visible", self.now.isVisible)
                writer.text("status", self.now.status)
                writer.text("owner", self.now.owner)
                writer.member("message", self.now.message)
                writer.text("oldest_change_at", self.oldestAt.map { Timestamp.iso8601(micros: $0) })
                writer.member("reach", self.reach)
                writer.list("hints", self.hints)
            }
        )
        return lines
    }

    private static func line(_ type: String, _ body: (inout MessageWriter) -> Void) -> String {
        var writer = MessageWriter()
        writer.beginObject()
        writer.member("type", type)
        body(&writer)
        writer.endObject()
        return String(decoding: writer.bytes, as: UTF8.self)
    }
}

extension WhyReport.Entry {
    fileprivate func write(to writer: inout MessageWriter) {
        writer.member("operation", self.operation)
        writer.list("changed", self.columns)
        writer.pair("status", self.statusBefore, self.statusAfter)
        writer.pair("owner", self.ownerBefore, self.ownerAfter)
        writer.member("is_sent", self.verdict.isSent)
        switch self.verdict.outcome {
        case .sent(let delta, let columns):
            writer.beginObject("sent")
            switch delta {
            case .enter(let reason):
                writer.member("op", "enter")
                writer.member("reason", reason.rawValue)
            case .update: writer.member("op", "update")
            case .leave(let reason, _):
                writer.member("op", "leave")
                writer.member("reason", reason.rawValue)
            }
            writer.list("columns", columns)
            writer.endObject()
        case .counted(let differences):
            writer.beginObject("sent")
            for (status, difference) in differences.sorted(by: { $0.key < $1.key }) {
                writer.member(status, difference)
            }
            writer.endObject()
        case .reset(let reason):
            writer.beginObject("sent")
            writer.member("op", "reset")
            writer.member("reason", reason)
            writer.endObject()
        case .notSent(let rule): writer.member("rule", rule.rawValue)
        }
        writer.member("message", self.verdict.message)
        guard !self.values.isEmpty else { return }
        writer.beginObject("values")
        for value in self.values {
            writer.beginObject(value.column)
            if let before = value.before { writer.member("before", json: before.bytes) }
            if let after = value.after { writer.member("after", json: after.bytes) }
            writer.endObject()
        }
        writer.endObject()
    }
}

extension MessageWriter {
    fileprivate mutating func text(_ name: String, _ value: String?) {
        if let value { self.member(name, value) } else { self.member(name, json: JSONText("null").bytes) }
    }

    fileprivate mutating func list(_ name: String, _ values: [String]) {
        self.beginArray(name)
        for value in values { self.element(value) }
        self.endArray()
    }

    fileprivate mutating func pair(_ name: String, _ before: String?, _ after: String?) {
        self.beginObject(name)
        self.text("before", before)
        self.text("after", after)
        self.endObject()
    }
}
