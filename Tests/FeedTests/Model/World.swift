import Feed

/// What is committed at one moment: jobs, and per hop of the owner path which key leads on to what.
struct World {
    struct PathRow: Equatable {
        var next: String?
    }

    var jobs: [String: [String: JSONText]] = [:]
    var path: [[String: PathRow]]

    init(hops: Int) {
        self.path = Array(repeating: [:], count: hops)
    }

    /// As the owner join of the database has it.
    func owner(of job: [String: JSONText]) -> String? {
        guard var key = job["assigned_to"]?.scalarText else { return nil }
        for table in self.path {
            guard let next = table[key]?.next else { return nil }
            key = next
        }
        return key
    }

    func owner(ofJob key: String) -> String? { self.jobs[key].flatMap(self.owner) }

    /// The rows of a view by brute force: owned, matching, masked. Quiet columns are nobody's promise.
    func rows(of view: View) -> [String: [String: JSONText]] {
        var rows: [String: [String: JSONText]] = [:]
        for (key, job) in self.jobs {
            switch view.viewer {
            case .operator: break
            case .account(let user): guard self.owner(of: job) == user else { continue }
            }
            guard view.key.map({ $0 == key }) ?? true, view.filter.matches({ job[$0] }) else { continue }
            rows[key] = job.filter { view.columns.contains($0.key) && !view.feed.quiet.contains($0.key) }
        }
        return rows
    }
}
