import CLibPQ

/// The rows of one statement in text format, freed with this value.
package struct Result: ~Copyable {
    private let handle: OpaquePointer

    init(_ handle: OpaquePointer) {
        self.handle = handle
    }

    deinit {
        PQclear(self.handle)
    }

    package var rowCount: Int { Int(PQntuples(self.handle)) }
    package var columnCount: Int { Int(PQnfields(self.handle)) }

    /// How many rows an INSERT, UPDATE, DELETE or SELECT touched; 0 for other statements.
    package var affectedRows: Int {
        Int(String(cString: PQcmdTuples(self.handle))) ?? 0
    }

    package func columnName(_ column: Int) -> String {
        precondition(0..<self.columnCount ~= column, "column \(column) of \(self.columnCount)")
        return PQfname(self.handle, Int32(column)).map { String(cString: $0) } ?? ""
    }

    /// The bytes of a value, valid only inside `body`; nil for null.
    package func withBytes<T, E: Error>(
        _ row: Int,
        _ column: Int,
        _ body: (UnsafeRawBufferPointer?) throws(E) -> T
    ) throws(E) -> T {
        precondition(0..<self.rowCount ~= row, "row \(row) of \(self.rowCount)")
        precondition(0..<self.columnCount ~= column, "column \(column) of \(self.columnCount)")
        return try body(ResultField.bytes(self.handle, Int32(row), Int32(column)))
    }

    package func withRow<T, E: Error>(_ row: Int, _ body: (borrowing RowView) throws(E) -> T) throws(E) -> T {
        precondition(0..<self.rowCount ~= row, "row \(row) of \(self.rowCount)")
        return try body(RowView(self.handle, row: Int32(row)))
    }

    package func string(_ row: Int, _ column: Int) -> String? {
        self.withBytes(row, column) { $0.map { String(decoding: $0, as: UTF8.self) } }
    }

    package func bytes(_ row: Int, _ column: Int) -> [UInt8]? {
        self.withBytes(row, column) { $0.map { [UInt8]($0) } }
    }

    /// Nil for null and for what is not an integer of 64 bits.
    package func int64(_ row: Int, _ column: Int) -> Int64? {
        self.withBytes(row, column) { $0.flatMap(ResultField.int64) }
    }

    /// Nil for null and for what is not a `boolean`.
    package func bool(_ row: Int, _ column: Int) -> Bool? {
        self.withBytes(row, column) { $0.flatMap(ResultField.bool) }
    }
}

// libpq (33.20): PGresult objects are read-only after creation and may be passed around freely between threads.
extension Result: @unchecked Sendable {}
