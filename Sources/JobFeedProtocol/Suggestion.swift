/// The known word that `word` most likely meant: at most two edits away, fewer for short words.
///
/// Two letters leave no room for a misspelling: `ts` is not a wrong `id`.
func suggestion(for word: String, among known: [String]) -> String? {
    let word = Array(word.lowercased().unicodeScalars.prefix(40))
    let candidates = known.compactMap { candidate -> (String, Int)? in
        let distance = editDistance(word, Array(candidate.lowercased().unicodeScalars))
        let allowed = candidate.count < 3 ? 0 : candidate.count < 5 ? 1 : 2
        return distance <= allowed ? (candidate, distance) : nil
    }
    return candidates.min { $0.1 < $1.1 }?.0
}

/// Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment).
private func editDistance(_ left: [Unicode.Scalar], _ right: [Unicode.Scalar]) -> Int {
    var beforePrevious: [Int] = []
    var previous = Array(0...right.count)
    for row in left.indices {
        var current = [row + 1]
        for column in right.indices {
            var cost = min(previous[column + 1] + 1, current[column] + 1)
            cost = min(cost, previous[column] + (left[row] == right[column] ? 0 : 1))
            if row > 0, column > 0, left[row] == right[column - 1], left[row - 1] == right[column] {
                cost = min(cost, beforePrevious[column - 1] + 1)
            }
            current.append(cost)
        }
        beforePrevious = previous
        previous = current
    }
    return previous[right.count]
}

/// `text` in quotes for a message, shortened so that a peer cannot make answers grow.
func quoted(_ text: String) -> String {
    var scalars = String.UnicodeScalarView(text.unicodeScalars.prefix(60))
    if text.unicodeScalars.count > 60 {
        scalars.append("…")
    }
    return "\"\(String(scalars))\""
}
