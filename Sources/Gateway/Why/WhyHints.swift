import Feed

/// Traps that explain what the verdicts alone leave puzzling.
struct WhyHints {
    let all: [String]

    init(_ read: WhyReader.Read, _ history: WhyHistory, _ judge: Judge) {
        self.all =
            Self.names(read, history, judge) + Self.gap(read, judge) + Self.nulls(read)
            + Self.strangers(read, history) + Self.silence(read, history)
    }

    private static func names(_ read: WhyReader.Read, _ history: WhyHistory, _ judge: Judge) -> [String] {
        guard case .account(let user, _) = judge.view.viewer else { return [] }
        var hints: [String] = []
        var owners = Set(
            history.steps.flatMap(\.changes).flatMap { [$0.ownerBefore, $0.ownerAfter] }.compactMap { $0 }
        )
        if let row = read.evidence.row, let owner = read.evidence.owners.ownerAtEnd(of: { row[$0] }) {
            owners.insert(owner)
        }
        let similar = Set(owners.map(\.string) + read.similarOwners).sorted()
        for owner in similar {
            guard let difference = NearName.difference(owner, user.string) else { continue }
            hints.append(
                "the owner is \"\(Printable.text(owner))\", the token says \"\(Printable.text(user.string))\": two users,"
                    + " whose names differ in \(difference)"
            )
        }
        if !read.ownsAnything {
            hints.append("\(judge.subject) owns no row of feed \"\(read.evidence.feed.name)\" now")
        }
        return hints
    }

    private static func gap(_ read: WhyReader.Read, _ judge: Judge) -> [String] {
        guard judge.view.viewer == .operator, let row = read.evidence.row,
            let gap = read.evidence.owners.gapAtEnd(of: { row[$0] })
        else { return [] }
        return ["the job has no owner (\(Judge.text(gap, of: read.evidence.feed))): no account sees it"]
    }

    private static func nulls(_ read: WhyReader.Read) -> [String] {
        read.jsonNulls.map {
            "\($0) holds the JSON value null, which SQL does not take for NULL; the filter \($0)=is.null does"
        }
    }

    /// Somebody wrote past the triggers.
    private static func strangers(_ read: WhyReader.Read, _ history: WhyHistory) -> [String] {
        let feed = read.evidence.feed
        let last = read.evidence.records.last { $0.operation != .ownerPath }
        switch (last?.operation, read.evidence.row) {
        case (nil, _?) where read.horizon == nil:
            return [
                "the log says nothing of this job: it is older than the feed, or was written without its triggers"
            ]
        case (.insert, nil), (.update, nil):
            return ["the log does not say who deleted the job: it was written past the triggers"]
        case (.insert, let row?), (.update, let row?):
            let columns = feed.columns.map(\.name).filter { name in
                guard !feed.quiet.contains(name), let logged = last?.row?[name] else { return false }
                return logged != row[name]
            }
            guard !columns.isEmpty else { return [] }
            return [
                "the table holds something else than the log says in \(columns.joined(separator: ", ")): it was written"
                    + " past the triggers (DISABLE TRIGGER), or the column was altered"
            ]
        default: return []
        }
    }

    private static func silence(_ read: WhyReader.Read, _ history: WhyHistory) -> [String] {
        guard history.steps.isEmpty, read.horizon != nil else { return [] }
        return ["the log has no change of this job any more; what it was sent before cannot be told"]
    }
}
