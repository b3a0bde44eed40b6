/// An array of NUL-terminated strings (or null) for one call into libpq.
struct CStrings: ~Copyable {
    private let bytes: UnsafeMutablePointer<CChar>
    let pointers: UnsafeMutablePointer<UnsafePointer<CChar>?>
    let count: Int

    init(_ strings: [String?], named name: (Int) -> String) throws(PostgresError) {
        var length = 0
        for (index, string) in strings.enumerated() {
            guard let string else { continue }
            guard !string.utf8.contains(0) else { throw .nulCharacter(in: name(index)) }
            length += string.utf8.count + 1
        }
        self.count = strings.count
        self.bytes = .allocate(capacity: max(length, 1))
        self.pointers = .allocate(capacity: max(strings.count, 1))

        var next = self.bytes
        for (index, string) in strings.enumerated() {
            guard var string else {
                (self.pointers + index).initialize(to: nil)
                continue
            }
            (self.pointers + index).initialize(to: UnsafePointer(next))
            next = string.withUTF8 { utf8 in
                UnsafeMutableRawBufferPointer(start: next, count: utf8.count).copyMemory(from: .init(utf8))
                next[utf8.count] = 0
                return next + utf8.count + 1
            }
        }
    }

    deinit {
        self.pointers.deallocate()
        self.bytes.deallocate()
    }
}
