extension FeedDefinition {
    /// The row with the columns that ``lifecycle`` adds.
    package func completed(_ row: Row) -> Row {
        guard let lifecycle, !row.isEmpty else { return row }
        var row = row
        for column in self.derived {
            row.set(column.name, lifecycle.value(of: column.name, status: self.status) { row[$0] })
        }
        return row
    }

    /// A change's row and old values with the columns that ``lifecycle`` adds; only what changed is old.
    func completed(_ row: Row, _ old: Row) -> (row: Row, old: Row) {
        guard let lifecycle, !row.isEmpty else { return (row, old) }
        let row = self.completed(row)
        var old = old
        for column in self.derived where column.sources.contains(where: { old[$0] != nil }) {
            let value = lifecycle.value(of: column.name, status: self.status) { old[$0] ?? row[$0] }
            if value != row[column.name] { old.set(column.name, value) }
        }
        return (row, old)
    }

    /// The table's columns that a column is made of: itself, unless ``lifecycle`` adds it.
    package func sources(of column: String) -> [String] {
        self.derived.first { $0.name == column }?.sources ?? [column]
    }
}
