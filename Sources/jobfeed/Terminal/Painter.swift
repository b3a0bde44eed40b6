/// Keeps a live block below the lines that scroll by; answers the bytes to write and touches no terminal itself.
struct Painter: Sendable {
    private var block: [String] = []

    /// What removes the block; rows are counted at the present `width`, for a narrowed window has wrapped them.
    mutating func erase(width: Int) -> String {
        let rows = self.block.reduce(0) { sum, line in
            sum + max(1, (DisplayText.width(line) + width - 1) / max(width, 1))
        }
        self.block = []
        return rows == 0 ? "" : "\r\u{1B}[\(rows)A\u{1B}[J"
    }

    mutating func draw(_ block: [String]) -> String {
        self.block = block
        return block.map { $0 + "\n" }.joined()
    }

    /// Lines above, the block below, in one write so that nothing flickers.
    mutating func paint(lines: [String], block: [String], width: Int) -> String {
        guard !lines.isEmpty || block != self.block else { return "" }
        return self.erase(width: width) + lines.map { $0 + "\n" }.joined() + self.draw(block)
    }
}
