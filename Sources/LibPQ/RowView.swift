import CLibPQ

/// The row that `Connection.stream` is at; borrowed, gone after the closure returns.
package struct RowView: ~Copyable {
    private let result: OpaquePointer

    init(_ result: OpaquePointer) {
        self.result = result
    }

    package var columnCount: Int { Int(PQnfields(self.result)) }

    /// The bytes of a value, valid only inside `body`; nil for null.
    package func withBytes<T, E: Error>(
        _ column: Int,
        _ body: (UnsafeRawBufferPointer?) throws(E) -> T
    ) throws(E) -> T {
        precondition(0..<self.columnCount ~= column, "column \(column) of \(self.columnCount)")
        return try body(ResultField.bytes(self.result, 0, Int32(column)))
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

    package func bool(_ column: Int) -> Bool? {
        self.withBytes(column) { $0.flatMap(ResultField.bool) }
    }
}
