import Foundation
import LibPQ

/// A call of `jobfeed.attach` or `jobfeed.attach_preset`, to be shown or made.
struct AttachCall {
    let function: String
    /// The feed or the preset, then the table.
    let positional: [String]
    var named: [(name: String, value: String?)] = []
    /// `text[]` literals.
    var lists: [(name: String, value: String?)] = []

    init(function: String, positional: [String]) {
        self.function = function
        self.positional = positional
    }

    private var call: String {
        let arguments =
            self.positional.map(Self.literal)
            + (self.named + self.lists).compactMap { name, value in value.map { "\(name) => \(Self.literal($0))" } }
        return "jobfeed.\(self.function)(\(arguments.joined(separator: ", ")))"
    }

    var sql: String { "SELECT \(self.call);" }

    /// - Returns: what is attached now, in a line.
    func run(_ connection: Connection) throws(PostgresError) -> String {
        let result = try connection.query(
            """
            SELECT format('feed %s: %s is attached; key %s, status %s, %s%s%s', a.name, jobfeed.label(a.relation),
                array_to_string(a.key, ', '), a.status,
                coalesce('rows belong to ' || a.owner || coalesce(' (claim ' || a.owner_claim || ')', ''), 'operators only'),
                coalesce('; accounts do not see ' || nullif(array_to_string(a.hidden, ', '), ''), ''),
                coalesce('; nobody sees ' || nullif(array_to_string(a.secret, ', '), ''), ''))
            FROM \(self.call) AS a
            """
        )
        return result.string(0, 0) ?? ""
    }

    /// A list of names, comma separated, as the text form of an array.
    static func columns(_ text: String) -> String {
        let names = text.split(separator: ",").map { name in
            "\"\(Self.doubling("\"\\", in: name.trimmingCharacters(in: .whitespaces), by: "\\"))\""
        }
        return "{\(names.joined(separator: ","))}"
    }

    /// A string constant, whatever `standard_conforming_strings` says.
    private static func literal(_ text: String) -> String {
        let quoted = Self.doubling("\\", in: Self.doubling("'", in: text, by: "'"), by: "\\")
        return (quoted.unicodeScalars.contains("\\") ? "E'" : "'") + quoted + "'"
    }

    /// By scalars: a quote with an accent after it is one `Character`, and that is no quote.
    private static func doubling(_ marks: String, in text: String, by mark: Unicode.Scalar) -> String {
        var out = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            if marks.unicodeScalars.contains(scalar) { out.append(mark) }
            out.append(scalar)
        }
        return String(out)
    }
}
