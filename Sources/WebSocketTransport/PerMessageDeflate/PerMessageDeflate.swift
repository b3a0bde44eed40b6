/// How messages are compressed (RFC 7692): without context takeover in either direction, so that no connection has a
/// state of its own and all receivers of a frame share its compressed form.
package struct PerMessageDeflate: Sendable {
    /// Messages of so many bytes are compressed.
    package let thresholdBytes: Int
    /// Called on the event loop for each frame that leaves compressed, and each of its receivers.
    package let observe: (@Sendable (_ plainBytes: Int, _ sentBytes: Int) -> Void)?
    /// Log2 of how far back what is sent may refer; smaller only where the peer asked for it.
    private(set) var windowBits = 15

    package init(thresholdBytes: Int = 1024, observe: (@Sendable (Int, Int) -> Void)? = nil) {
        self.thresholdBytes = thresholdBytes
        self.observe = observe
    }

    /// Shorter messages than the threshold are compressed too, once so many have asked for the same one: then it costs
    /// next to nothing.
    static let manyReceivers = 16
    var thresholdBytesForMany: Int { self.thresholdBytes / 4 }

    // MARK: Negotiation

    static let name = "permessage-deflate"

    /// What a client says; it does not offer client_max_window_bits, so no server may limit it.
    static let offer = "\(Self.name); server_no_context_takeover; client_no_context_takeover"

    package enum Answer: Sendable {
        case accepted(PerMessageDeflate, header: String)
        case declined
        /// RFC 6455 section 9.1: the connection has to fail.
        case malformed
    }

    /// A server's answer to the Sec-WebSocket-Extensions fields of a request: the first offer that it can meet.
    package func answer(to fields: [String]) -> Answer {
        guard let offers = try? ExtensionHeader.parse(fields) else {
            return .malformed
        }
        for offer in offers where offer.name == Self.name {
            guard let parameters = Parameters(offer), let accepted = self.limited(to: parameters.serverMaxWindowBits)
            else {
                continue
            }
            // Both may be said whether they were offered or not (sections 7.1.1.1 and 7.1.1.2).
            var header = "\(Self.name); server_no_context_takeover; client_no_context_takeover"
            if parameters.serverMaxWindowBits != nil {
                header += "; server_max_window_bits=\(accepted.windowBits)"
            }
            return .accepted(accepted, header: header)
        }
        return .declined
    }

    /// What is agreed on by a server's answer to ``offer``; `nil` when it declined.
    func accepted(by fields: [String]) throws(ExtensionFault) -> PerMessageDeflate? {
        guard let answers = try? ExtensionHeader.parse(fields) else {
            throw ExtensionFault("its Sec-WebSocket-Extensions is malformed")
        }
        guard let answer = answers.first else {
            return nil
        }
        guard answers.count == 1, answer.name == Self.name else {
            throw ExtensionFault("it uses an extension that was not offered")
        }
        guard let parameters = Parameters(answer), !parameters.hasClientMaxWindowBits else {
            throw ExtensionFault("its parameters of \(Self.name) are not allowed or were not offered")
        }
        guard parameters.serverNoContextTakeover else {
            throw ExtensionFault("it does not accept server_no_context_takeover, which was asked for")
        }
        return self
    }

    private func limited(to windowBits: Int?) -> PerMessageDeflate? {
        var limited = self
        limited.windowBits = min(windowBits ?? 15, 15)
        // zlib cannot restrict itself to 256 bytes.
        return limited.windowBits < 9 ? nil : limited
    }

    /// The parameters of section 7.1, where none is unknown, stands twice or has a value that it may not have.
    private struct Parameters {
        var serverNoContextTakeover = false
        var serverMaxWindowBits: Int?
        var hasClientMaxWindowBits = false

        init?(_ header: ExtensionHeader) {
            var seen: Set<String> = []
            for parameter in header.parameters {
                guard seen.insert(parameter.name).inserted else {
                    return nil
                }
                switch (parameter.name, parameter.value) {
                case ("server_no_context_takeover", nil): self.serverNoContextTakeover = true
                case ("client_no_context_takeover", nil): break
                case ("client_max_window_bits", nil): self.hasClientMaxWindowBits = true
                case ("client_max_window_bits", let value?):
                    guard Self.windowBits(value) != nil else { return nil }
                    self.hasClientMaxWindowBits = true
                case ("server_max_window_bits", let value?):
                    guard let bits = Self.windowBits(value) else { return nil }
                    self.serverMaxWindowBits = bits
                default: return nil
                }
            }
        }

        /// "a decimal integer value without leading zeroes between 8 to 15"
        private static func windowBits(_ text: String) -> Int? {
            (8...15).first { String($0) == text }
        }
    }
}

/// What is wrong with the extensions that a server answered.
struct ExtensionFault: Error, Hashable {
    let detail: String

    init(_ detail: String) { self.detail = detail }
}
