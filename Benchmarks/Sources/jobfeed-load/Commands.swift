/// What whoever started the load generator says on its standard input.
enum Command: Equatable {
    /// Opens the connections of a group that was announced, or all of them.
    case open(Int)
    /// Closes connections until so many are left.
    case shrink(Int)
    case begin
    case end
    case publish(Publisher.Pace)
    case quit

    init?(_ line: String) {
        let words = line.split(separator: " ").map(String.init)
        switch (words.first, words.dropFirst().first.flatMap { Double($0) }) {
        case ("open", let count?): self = .open(Int(count))
        case ("shrink", let count?): self = .shrink(Int(count))
        case ("begin", _): self = .begin
        case ("end", _): self = .end
        case ("rate", let rate?): self = .publish(rate > 0 ? .perSecond(rate) : .silent)
        case ("window", let size?): self = .publish(.window(Int(size)))
        case ("quit", _): self = .quit
        default: return nil
        }
    }
}
