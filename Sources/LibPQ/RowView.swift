import CLibPQ

/// The row that `Connection.stream` or `Result.withRow` is at; borrowed, gone after the closure returns.
package struct RowView: ~Copyable {
    private let result: OpaquePointer
    private let row: Int32

    init(_ result: OpaquePointer, row: Int32 = 0) {
        self.result = result
        self.row = row
    }

    package var columnCount: Int { Int(PQnfields(self.result)) }

    /// The bytes of a value, valid only inside `body`; nil for null.
    package func withBytes<T, E: Error>(
        _ column: Int,
        _ body: (UnsafeRawBufferPointer?) throws(E) -> T
    ) throws(E) -> T {
        precondition(0..<self.columnCount ~= column, "column \(column) of \(self.columnCount)")
        return try body(ResultField.bytes(self.result, self.row, Int32(column)))
    }

    /// How long its values are together.
    package var byteCount: Int {
        (0..<PQnfields(self.result)).reduce(0) { $0 + Int(PQgetlength(self.result, self.row, $1)) }
    }

    package func string(_ column: Int) -> String? {
        self.withBytes(column) { $0.map { String(decoding: $0, as: UTF8.self) } }
    }

    package func bytes(_ column: Int) -> [UInt8]? {
        self.withBytes(column) { $0.map { [UInt8]($0) } }
    }

    package func int64(_ column: Int) -> Int64? {
        self.withBytes(column) { $0.flatMap(ResultField.int64) }
    }

    package func uint64(_ column: Int) -> UInt64? {
        self.withBytes(column) { $0.flatMap(ResultField.uint64) }
    }

    package func bool(_ column: Int) -> Bool? {
        self.withBytes(column) { $0.flatMap(ResultField.bool) }
    }
}
