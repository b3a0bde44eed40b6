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
        left.string.utf8.elementsEqual(right.string.utf8)
    }

    package func hash(into hasher: inout Hasher) {
        for byte in self.string.utf8 { hasher.combine(byte) }
        hasher.combine(0xff as UInt8)
    }
}

extension ByteText: ExpressibleByStringInterpolation, CustomStringConvertible {
    package init(stringLiteral value: String) {
        self.init(value)
    }

    package var description: String { self.string }
}
