extension FeedDefinition {
    /// The row, as the table has it, with the columns that ``lifecycle`` adds.
    package func completed(_ row: Row) -> Row {
        guard let lifecycle, !row.isEmpty else { return row }
        let state = self.state(row[self.status])
        return row.adding(self.derived) { column in lifecycle.value(of: column, state) { row[$0] } }
    }

    /// A change's row and old values with the columns that ``lifecycle`` adds; only what changed is old.
    func completed(_ row: Row, _ old: Row) -> (row: Row, old: Row) {
        guard let lifecycle, !row.isEmpty else { return (row, old) }
        let complete = self.completed(row)
        let state = self.state(old[self.status] ?? row[self.status])
        var before = old
        for column in self.derived where column.sources.contains(where: { old[$0] != nil }) {
            let value = lifecycle.value(of: column, state) { old[$0] ?? row[$0] }
            if value != complete[column.name] { before.set(column.name, value) }
        }
        return (complete, before)
    }

    private func state(_ status: JSONText?) -> Lifecycle.State? {
        status?.scalarText.flatMap { self.lifecycle?.states[$0] }
    }

    /// The table's columns that a column is made of: itself, unless ``lifecycle`` adds it.
    package func sources(of column: String) -> [String] {
        self.derived.first { $0.name == column }?.sources ?? [column]
    }
}
