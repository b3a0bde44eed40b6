/// The upgrade of one connection.
enum Handshake {
    enum Answer: Equatable {
        case incomplete
        /// How many bytes the head took.
        case accepted(Int)
        /// 429 or 503: seconds after which to come again.
        case later(seconds: Double)
        case refused(String)
    }

    /// RFC 6455 §1.3 has this key and the answer to it.
    private static let key = "dGhlIHNhbXBsZSBub25jZQ=="
    private static let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

    static func request(path: String, port: Int, headers: [String], token: String?) -> [UInt8] {
        var lines = [
            "GET \(path) HTTP/1.1", "Host: 127.0.0.1:\(port)", "Connection: Upgrade", "Upgrade: websocket",
            "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: \(self.key)",
        ]
        lines += headers
        if let token { lines.append("Authorization: Bearer \(token)") }
        return Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8)
    }

    static func answer(_ bytes: UnsafeRawBufferPointer) -> Answer {
        guard let end = bytes.indices.dropLast(3).first(where: { bytes[$0...].starts(with: "\r\n\r\n".utf8) }) else {
            return .incomplete
        }
        let lines = String(decoding: bytes[..<end], as: UTF8.self).split(separator: "\r\n")
        let status = lines.first?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
        func value(_ name: String) -> Substring? {
            guard let line = lines.first(where: { $0.lowercased().hasPrefix(name + ":") }) else { return nil }
            return line.dropFirst(name.count + 1).drop { $0 == " " }
        }
        switch status {
        case 101:
            guard value("sec-websocket-accept").map(String.init) == self.accept else {
                return .refused("a wrong Sec-WebSocket-Accept")
            }
            return .accepted(end + 4)
        case 429, 503: return .later(seconds: value("retry-after").flatMap { Double($0) } ?? 1)
        default: return .refused(lines.first.map(String.init) ?? "")
        }
    }
}
