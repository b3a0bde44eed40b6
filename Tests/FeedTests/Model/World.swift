import Feed

/// What is committed at one moment: jobs, and per hop of the owner path which key leads on to what.
struct World {
    struct PathRow: Equatable {
        var next: ByteText?
    }

    var jobs: [ByteText: [String: JSONText]] = [:]
    var path: [[ByteText: PathRow]]

    init(hops: Int) {
        self.path = Array(repeating: [:], count: hops)
    }

    /// As the owner join of the database has it.
    func owner(of job: [String: JSONText]) -> ByteText? {
        guard var key = job["assigned_to"]?.byteText else { return nil }
        for table in self.path {
            guard let next = table[key]?.next else { return nil }
            key = next
        }
        return key
    }

    func owner(ofJob key: ByteText) -> ByteText? { self.jobs[key].flatMap(self.owner) }

    /// The rows of a view by brute force: owned, matching, masked. Quiet columns are nobody's promise.
    func rows(of view: View) -> [ByteText: [String: JSONText]] {
        var rows: [ByteText: [String: JSONText]] = [:]
        for (key, job) in self.jobs {
            switch view.viewer {
            case .operator: break
            case .account(let user, _): guard self.owner(of: job) == user else { continue }
            }
            guard view.key.map({ $0 == key }) ?? true, view.filter.matches({ job[$0] }) else { continue }
            rows[key] = job.filter { view.columns.contains($0.key) && !view.feed.quiet.contains($0.key) }
        }
        return rows
    }
}
