/// Colours by hand; without colour every function is the identity.
struct Style: Sendable, Equatable {
    enum Color: String, Sendable {
        case dim = "2"
        case bold = "1"
        case red = "31"
        case green = "32"
        case yellow = "33"
        case cyan = "36"
    }

    var isColored: Bool

    func paint(_ text: String, _ color: Color) -> String {
        self.isColored && !text.isEmpty ? "\u{1B}[\(color.rawValue)m\(text)\u{1B}[0m" : text
    }
}
