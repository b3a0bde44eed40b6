/// A text that is itself only when its bytes are: as Postgres compares keys and owners.
///
/// Swift's `String` takes canonically equivalent texts for one (`é` and `e` with an accent), which would make two
/// users one.
package struct ByteText: Hashable, Sendable {
    package let string: String

    package init(_ string: String) {
        self.string = string
    }

    package static func == (left: Self, right: Self) -> Bool {
        let same = left.string.utf8.withContiguousStorageIfAvailable { left in
            right.string.utf8.withContiguousStorageIfAvailable { right in
                left.count == right.count && zip(left, right).allSatisfy { $0 == $1 }
            }
        }
        // Only texts that come from elsewhere are in pieces.
        return same.flatMap { $0 } ?? left.string.utf8.elementsEqual(right.string.utf8)
    }

    package func hash(into hasher: inout Hasher) {
        var text = self.string
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        hasher.combine(0xff as UInt8)
    }
}

extension ByteText: ExpressibleByStringInterpolation, CustomStringConvertible {
    package init(stringLiteral value: String) {
        self.init(value)
    }

    package var description: String { self.string }
}
