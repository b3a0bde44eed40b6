/// Why a command was refused before it reached the session.
public struct CommandError: Error, Sendable, Equatable {
    /// The command's id, when one could be read.
    public var id: String?
    public var code: ErrorCode
    public var message: String
    /// The frame was not one JSON object, so the connection is closed with ``CloseCode/protocolError``.
    public var isProtocolError: Bool { self.code == .invalidJSON }

    public init(id: String?, code: ErrorCode, message: String) {
        self.id = id
        self.code = code
        self.message = message
    }
}
