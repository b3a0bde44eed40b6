import Feed
import HTTPTypes
import JobFeedProtocol

/// The parameters of a request's query, decoded as browsers encode them (URL standard, 5.1); the one place that words
/// complaints about them.
struct QueryItems: Equatable {
    struct Item: Equatable {
        let name: String
        let value: String
    }

    private static let maximumItems = 128

    let items: [Item]

    init(_ query: String?) throws(Problem) {
        var items: [Item] = []
        for part in (query ?? "").utf8.split(separator: UInt8(ascii: "&")) {
            guard items.count < Self.maximumItems else {
                throw .badRequest("the query has more than \(Self.maximumItems) parameters")
            }
            let sides = part.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = Self.decoded(sides[0], isForm: true) else {
                throw .badRequest("the name of a parameter is no UTF-8 in percent-encoding")
            }
            guard let value = sides.count < 2 ? "" : Self.decoded(sides[1], isForm: true) else {
                throw .badRequest("parameter \"\(Self.brief(name))\" is no UTF-8 in percent-encoding")
            }
            items.append(Item(name: name, value: value))
        }
        self.items = items
    }

    // MARK: Values

    func refuseOthers(than known: [String]) throws(Problem) {
        for item in self.items where !known.contains(item.name) {
            throw Problem(
                status: .badRequest,
                code: .unknownField,
                detail: "there is no parameter \"\(Self.brief(item.name))\""
                    + (Spelling.nearest(to: item.name, among: known).map { "; did you mean \"\($0)\"?" }
                        ?? "; there are \(known.joined(separator: ", "))")
            )
        }
    }

    func string(_ name: String) throws(Problem) -> String? {
        let values = self.items.filter { $0.name == name }
        guard values.count <= 1 else { throw .badRequest("send \(name) once") }
        return values.first?.value
    }

    func limit() throws(Problem) -> Int? {
        guard let text = try self.string("limit") else { return nil }
        guard let number = Int(text), Subscribe.limits.contains(number) else {
            let range = "from \(Subscribe.limits.lowerBound) to \(Subscribe.limits.upperBound)"
            throw .badRequest("limit is \"\(Self.brief(text))\"; it must be an integer \(range)")
        }
        return number
    }

    /// Names joined by commas.
    func columns() throws(Problem) -> [String]? {
        guard let text = try self.string("columns") else { return nil }
        let columns = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        guard !columns.contains("") else {
            throw .badRequest("columns is \"\(Self.brief(text))\"; it must be names of columns, joined by commas")
        }
        return columns
    }

    func boolean(_ name: String) throws(Problem) -> Bool? {
        switch try self.string(name) {
        case nil: return nil
        case "true": return true
        case "false": return false
        case let text?: throw .badRequest("\(name) is \"\(Self.brief(text))\"; it must be true or false")
        }
    }

    func rate(_ name: String) throws(Problem) -> Double? {
        guard let text = try self.string(name) else { return nil }
        guard let number = Double(text), number.isFinite, number > 0 else {
            throw .badRequest(
                "\(name) is \"\(Self.brief(text))\"; it must be a number greater than 0, in changes per second"
            )
        }
        return number
    }

    // MARK: Percent-encoding

    /// - Parameter isForm: `+` stands for a space.
    /// - Returns: `nil` for what is no UTF-8, and for NUL, which no text in Postgres can hold.
    static func decoded(_ text: some Collection<UInt8>, isForm: Bool) -> String? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count)
        var index = text.startIndex
        func next() -> UInt8? {
            guard index < text.endIndex else { return nil }
            defer { index = text.index(after: index) }
            return text[index]
        }
        while let byte = next() {
            switch byte {
            case UInt8(ascii: "%"):
                guard let high = next().flatMap(Self.digit), let low = next().flatMap(Self.digit) else { return nil }
                bytes.append(high << 4 | low)
            case UInt8(ascii: "+") where isForm: bytes.append(UInt8(ascii: " "))
            default: bytes.append(byte)
            }
        }
        guard !bytes.contains(0) else { return nil }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    private static func brief(_ text: String) -> String {
        let scalars = text.unicodeScalars
        return scalars.count > 60 ? String(String.UnicodeScalarView(scalars.prefix(60))) + "…" : text
    }
}
