/// One row of `jobfeed.change`.
package struct LogRecord: Sendable {
    package enum Operation: UInt8, Sendable {
        case insert = 0x49  // I
        case update = 0x55  // U
        case delete = 0x44  // D
        /// A row of an owner-path table changed.
        case ownerPath = 0x53  // S
        case truncate = 0x54  // T
    }

    package let seq: Int64
    package let xid: UInt64
    package let operation: Operation
    package let key: ByteText
    /// For ``Operation/ownerPath``: which hop's table, from 0.
    package let hop: Int
    /// Microseconds since 1970.
    package let at: Int64
    /// The row after the change (before it for a delete), without large columns that did not change.
    package var row: Row?
    /// Old values of the changed columns.
    package let before: Row?

    package init(
        seq: Int64,
        xid: UInt64,
        operation: Operation,
        key: ByteText,
        hop: Int,
        at: Int64,
        row: Row?,
        before: Row?
    ) {
        self.seq = seq
        self.xid = xid
        self.operation = operation
        self.key = key
        self.hop = hop
        self.at = at
        self.row = row
        self.before = before
    }
}
