import Feed
import JobFeedProtocol
import NIOCore
import WebSocketTransport

/// How one client speaks: what it sends becomes commands, and what its session says becomes frames.
///
/// A translation and no more: it sees no SQL, and who may see what is decided elsewhere.
protocol Tongue: AnyObject {
    func commands(in text: ByteBuffer) throws(CommandError) -> [Command]

    func frames(_ answer: Answer) -> [OutboundFrame]

    /// How the rows of this subscription are written.
    func encoding(of request: Subscribe) -> any RowEncoding
}

/// How rows and their changes are written, at best once for many clients.
protocol RowEncoding: Sendable {
    /// Encodings of the same name write the same, but for ``head(of:)``.
    var name: String { get }

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
