/// Which records of a large batch can concern a user, so that a thousand users who come back after a restart do not
/// each look at all of them.
struct OwnerIndex: Sendable {
    /// For records of rows that ever named this user, ascending.
    private var byOwner: [ByteText: [Int]] = [:]
    /// For everybody, ascending: the owner path's own records, and those of rows whose path changed, because who owned
    /// these in between depends on where one begins.
    private var always: [Int] = []

    /// - Parameters:
    ///   - owners: knows both ends of the batch.
    ///   - changes: what all of the records mean.
    init(
        _ records: [LogRecord],
        _ owners: OwnerTable,
        _ moved: [ByteText: Row],
        _ changes: [Change]
    ) {
        var ownersByKey: [ByteText: Set<ByteText>] = [:]
        for change in changes {
            for owner in [change.ownerBefore, change.ownerAfter] {
                if let owner { ownersByKey[change.key, default: []].insert(owner) }
            }
        }
        var unsteady = Set(moved.keys)
        for record in records where record.operation != .ownerPath {
            let isUnsteady =
                owners.isPathChanged { record.row?[$0] }
                || owners.isPathChanged { record.before?[$0] ?? record.row?[$0] }
            if isUnsteady { unsteady.insert(record.key) }
        }
        for (place, record) in records.enumerated() {
            if record.operation == .ownerPath || unsteady.contains(record.key) {
                self.always.append(place)
            } else {
                for owner in ownersByKey[record.key, default: []] { self.byOwner[owner, default: []].append(place) }
            }
        }
    }

    func places(of user: ByteText) -> [Int] {
        let own = self.byOwner[user, default: []]
        return self.always.isEmpty ? own : (own + self.always).sorted()
    }
}
