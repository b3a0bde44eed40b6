/// A place in the history of one database that any node can continue from: its epoch and a snapshot.
/// Clients see only ``encoded()``.
package struct Cursor: Hashable, Sendable {
    /// A fingerprint of `jobfeed.epoch()`: another database, timeline or installation has another one.
    package let epoch: UInt64
    package let snapshot: Snapshot

    package init(epoch: UInt64, snapshot: Snapshot) {
        self.epoch = epoch
        self.snapshot = snapshot
    }

    /// FNV-1a of the epoch's text.
    package static func fingerprint(ofEpoch text: String) -> UInt64 {
        Self.fnv1a(text.utf8)
    }

    private static func fnv1a(_ bytes: some Sequence<UInt8>) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in bytes {
            hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3
        }
        return hash
    }
}

// MARK: - Text form: base64url of version, epoch, xmin, xmax − xmin, count, xip differences, checksum

extension Cursor {
    private static let version: UInt8 = 1
    /// No cursor that Postgres can produce is longer: `max_connections` bounds the running transactions.
    private static let maximumInProgress = 1 << 16

    package func encoded() -> String {
        var bytes: [UInt8] = [Self.version]
        for shift in stride(from: 56, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: self.epoch >> UInt64(shift)))
        }
        Self.append(self.snapshot.xmin, to: &bytes)
        Self.append(self.snapshot.xmax - self.snapshot.xmin, to: &bytes)
        Self.append(UInt64(self.snapshot.inProgress.count), to: &bytes)
        var previous = self.snapshot.xmin
        for xid in self.snapshot.inProgress {
            Self.append(xid - previous, to: &bytes)
            previous = xid
        }
        let checksum = Self.fnv1a(bytes)
        bytes.append(UInt8(truncatingIfNeeded: checksum >> 8))
        bytes.append(UInt8(truncatingIfNeeded: checksum))
        return Base64URL.encode(bytes)
    }

    /// `nil` for anything that ``encoded()`` did not write.
    package init?(encoded: String) {
        guard encoded.utf8.count <= 1 << 18, var bytes = Base64URL.decode(encoded), bytes.count > 11 else { return nil }
        let low = UInt64(bytes.removeLast())
        let high = UInt64(bytes.removeLast())
        guard Self.fnv1a(bytes) & 0xffff == high << 8 | low, bytes[0] == Self.version else { return nil }
        let epoch = bytes[1...8].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        var rest = bytes[9...]
        guard let xmin = Self.takeInteger(&rest), let span = Self.takeInteger(&rest),
            let count = Self.takeInteger(&rest), count <= UInt64(Self.maximumInProgress),
            case (let xmax, false) = xmin.addingReportingOverflow(span)
        else { return nil }
        var inProgress: [UInt64] = []
        var previous = xmin
        for _ in 0..<count {
            guard let difference = Self.takeInteger(&rest),
                case (let xid, false) = previous.addingReportingOverflow(difference)
            else { return nil }
            inProgress.append(xid)
            previous = xid
        }
        guard rest.isEmpty, let snapshot = Snapshot(xmin: xmin, xmax: xmax, inProgress: inProgress) else { return nil }
        self.init(epoch: epoch, snapshot: snapshot)
    }

    private static func append(_ value: UInt64, to bytes: inout [UInt8]) {
        var value = value
        while value >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
            value >>= 7
        }
        bytes.append(UInt8(value))
    }

    private static func takeInteger(_ bytes: inout ArraySlice<UInt8>) -> UInt64? {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while let byte = bytes.popFirst() {
            let bits = UInt64(byte & 0x7f)
            guard shift < 64, shift < 63 || bits <= 1 else { return nil }
            value |= bits << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        return nil
    }
}
