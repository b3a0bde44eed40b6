import CLibPQ

/// Reads single values of a `PGresult`.
enum ResultField {
    static func bytes(_ result: OpaquePointer, _ row: Int32, _ column: Int32) -> UnsafeRawBufferPointer? {
        guard PQgetisnull(result, row, column) == 0 else { return nil }
        return UnsafeRawBufferPointer(
            start: PQgetvalue(result, row, column),
            count: Int(PQgetlength(result, row, column))
        )
    }

    static func int64(_ bytes: UnsafeRawBufferPointer) -> Int64? {
        Int64(String(decoding: bytes, as: UTF8.self))
    }

    static func uint64(_ bytes: UnsafeRawBufferPointer) -> UInt64? {
        UInt64(String(decoding: bytes, as: UTF8.self))
    }

    static func bool(_ bytes: UnsafeRawBufferPointer) -> Bool? {
        switch bytes.first {
        case UInt8(ascii: "t") where bytes.count == 1: true
        case UInt8(ascii: "f") where bytes.count == 1: false
        default: nil
        }
    }
}
