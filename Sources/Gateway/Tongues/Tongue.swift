import Feed
import JobFeedProtocol
import NIOCore
import WebSocketTransport

/// What follows from something that was said: for the session to do, or for the client to be told.
enum Turn {
    case ask(Command)
    case tell(OutboundFrame)
    /// The same as `tell` for each frame, and counts as an error of the client.
    case refuse(ErrorCode, [OutboundFrame])
}

/// How one client speaks: what it sends becomes commands, and what its session says becomes frames.
///
/// A translation and no more: it sees no SQL, and who may see what is decided elsewhere.
protocol Tongue: AnyObject {
    func turns(after text: ByteBuffer) throws(CommandError) -> [Turn]

    /// `nil`: a client of this tongue sends none, and is closed.
    func turns(afterBinary bytes: ByteBuffer) -> [Turn]?

    func turns(after answer: Answer) -> [Turn]

    /// How the rows of this subscription are written.
    func encoding(of request: Subscribe) -> any RowEncoding

    /// How clients write filters.
    var grammar: FilterParser.Grammar { get }

    /// Whether a client whose first token is refused may send another one.
    var staysAfterRefusedToken: Bool { get }

    /// What the connection is closed with when the node drains.
    var farewell: CloseCode { get }

    /// Called twice a second.
    ///
    /// - Returns: what to close the connection with, if it is of no use any more.
    func tick() -> CloseCode?
}

extension Tongue {
    func turns(afterBinary bytes: ByteBuffer) -> [Turn]? { nil }

    var grammar: FilterParser.Grammar { .postgREST }

    var staysAfterRefusedToken: Bool { false }

    var farewell: CloseCode { .goingAway }

    func tick() -> CloseCode? { nil }
}

/// How rows and their changes are written, at best once for many clients.
protocol RowEncoding: Sendable {
    /// Encodings of the same name write the same, but for ``head(of:)``.
    var name: String { get }

    /// What all elements of a shape have in common, made once; see ``Shape/preamble``.
    func preamble(of shape: Shape) -> [UInt8]

    /// What all frames of changes begin with that go to this subscription.
    func head(of request: Subscribe) -> [UInt8]

    /// One change, as it stands in frames.
    ///
    /// - Returns: `nil` when this client is not told of such a change.
    func element(_ change: Feed.Change, _ delta: View.Delta, _ shape: Shape) -> [UInt8]?

    /// What follows the head in each frame.
    ///
    /// - Parameters:
    ///   - cursor: complete with the last frame.
    ///   - elements: at least one.
    func tails(cursor: String, _ elements: [(at: Int64, json: [UInt8])]) -> [[UInt8]]

    /// The same for `FEED#counts`.
    func tails(cursor: String, at: Int64, counts: [(status: String, count: Int)]) -> [[UInt8]]

    func frame(head: [UInt8], tail: [UInt8]) -> OutboundFrame

    func snapshot(of request: Subscribe, _ rows: [Row], isTruncated: Bool, _ shape: Shape) -> [OutboundFrame]

    func snapshot(of request: Subscribe, counts: [(status: String, count: Int)]) -> [OutboundFrame]
}

extension RowEncoding {
    func preamble(of shape: Shape) -> [UInt8] { [] }
}
