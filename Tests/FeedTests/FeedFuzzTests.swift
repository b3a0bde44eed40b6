import Fuzz
import Testing

@testable import Feed

/// Filters, cursors, snapshots and rows, from peers and from the log.
@Suite struct FeedFuzzTests {
    private static let feed = FeedDefinition.jobs(hops: 1)
    private static let parser = FilterParser(feed: feed, visible: Set(feed.columns.map(\.name)))

    private static let columns = [
        "id", "status", "path", "progress->>a", "progress", "retries", "urgent", "token", "area", "created_at",
        "errors", "nope",
    ]
    private static let operators = ["eq", "neq", "gt", "gte", "lt", "lte", "in", "like", "ilike", "is"]
    private static let values = [
        "1", "-1.50e3", "1e199999", "1e-199999", "NaN", "infinity", "null", "true", "unknown", "pending",
        "(pending,failed)",
        "(1,2)", "(\"a\\\"b\",c)", "()", "2026-01-01T00:00:00.5+02:00", "999999-12-31", "0001-01-01 BC", "-infinity",
        "00000000-0000-0000-0000-000000000000", "%a%_%", "*a*b*c*", "\\", "%\\", "é", "e\u{301}",
    ]
    private static let json = [
        "null", "true", "1", "-1.5e10", "1e400", #""pending""#, #""a\"b\u0000\ud83d\ude00""#,
        #"{"a":1,"b":[{"c":"x"}]}"#,
        #"{"a":"1"}"#, #"{"a":null}"#, "[1,2]", #""2026-01-01T00:00:00+00:00""#, #""infinity""#, #""é""#, #""\u00e9""#,
        "\"\"",
    ]

    private static func row(_ random: inout FuzzRandom) -> Row {
        Row(
            values: Dictionary(
                uniqueKeysWithValues: Self.feed.columns.map { ($0.name, JSONText(random.pick(Self.json))) }
            )
        )
    }

    @Test func filters() async {
        var understood = 0
        let failure = await Fuzz.failure(of: "filters", iterations: 2000) { random in
            func value(_ random: inout FuzzRandom) -> String {
                random.chance(75) ? random.pick(Self.values) : random.text(random.below(12))
            }
            let column = random.pick(Self.columns)
            let test = "\(random.pick(Self.operators)).\(value(&random))"
            var text = "\(column)=\(test)"
            if random.chance(30) { text += "&\(random.pick(Self.columns))=not.eq.\(value(&random))" }
            if random.chance(30) {
                text = String(
                    decoding: random.mutated(Array(text.utf8), words: ["&", "not.", "->>", "(", "\""]),
                    as: UTF8.self
                )
            }
            let row = Self.row(&random)
            do throws(FilterError) {
                let filter = try Self.parser.parse(text)
                understood += 1
                _ = filter.matches { row[$0] }
                // A row without the column is a row with null in it.
                _ = filter.matches { _ in nil }
            } catch {
                // Whatever was sent.
                if error.message.utf8.count > 2000 { throw error }
            }
            guard let plain = try? Self.parser.parse("\(column)=\(test)"),
                let negated = try? Self.parser.parse("\(column)=not.\(test)")
            else { return }
            if plain.matches({ row[$0] }), negated.matches({ row[$0] }) {
                throw Fuzz.Mistake("both \(test) and its negation")
            }
        }
        #expect(failure == nil)
        #expect(understood > 0)
    }

    @Test func cursors() async {
        let failure = await Fuzz.failure(of: "cursors", iterations: 1000) { random in
            let xmin = random.next() >> UInt64(1 + random.below(62)) | 1
            let span = random.next() >> UInt64(20 + random.below(43))
            let running = Set((0..<random.below(20)).map { _ in xmin + random.next() % max(span, 1) })
            guard let snapshot = Snapshot(xmin: xmin, xmax: xmin + span, inProgress: span == 0 ? [] : running.sorted())
            else {
                throw Fuzz.Mistake("no snapshot")
            }
            guard Snapshot(text: snapshot.text) == snapshot else { throw Fuzz.Mistake(snapshot.text) }
            let cursor = Cursor(epoch: random.next(), snapshot: snapshot)
            let text = cursor.encoded()
            guard Cursor(encoded: text) == cursor else { throw Fuzz.Mistake(text) }
            let mutant = String(decoding: random.mutated(Array(text.utf8), words: ["A", "_", "=", "é"]), as: UTF8.self)
            if let read = Cursor(encoded: mutant), Cursor(encoded: read.encoded()) != read {
                throw Fuzz.Mistake(mutant)
            }
            let other = String(
                decoding: random.mutated(Array(snapshot.text.utf8), words: [":", ",", "18446744073709551615"]),
                as: UTF8.self
            )
            guard let read = Snapshot(text: other) else { return }
            guard Snapshot(text: read.text) == read else { throw Fuzz.Mistake(other) }
            // Comparing snapshots of different histories has no meaning, but must not trap.
            _ = (read.includes(snapshot), snapshot.includes(read), read.sees(random.next()))
        }
        #expect(failure == nil)
    }

    private static func quoted(_ text: String, _ random: inout FuzzRandom) -> String {
        "\""
            + text.unicodeScalars.map { scalar -> String in
                switch scalar {
                case "\"", "\\": return "\\\(scalar)"
                case _ where scalar.value < 0x20 || (scalar.value < 0x10000 && random.chance(20)):
                    let hex = String(scalar.value, radix: 16)
                    return "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
                default: return String(scalar)
                }
            }.joined() + "\""
    }

    @Test func rows() async {
        let failure = await Fuzz.failure(of: "rows", iterations: 2000) { random in
            var expected: [String: JSONText] = [:]
            var members: [String] = []
            for _ in 0..<random.below(6) {
                let name = random.text(1 + random.below(4))
                let content = random.text(random.below(8))
                let value = random.chance(50) ? random.pick(Self.json) : Self.quoted(content, &random)
                let space = random.pick(["", " ", "\n\t"])
                members.append(Self.quoted(name, &random) + space + ":" + space + value)
                expected[name] = JSONText(value)
            }
            let text = "{" + members.joined(separator: random.pick([",", ", "])) + "}"
            guard let row = Row(json: text), row.values == expected else {
                throw Fuzz.Mistake("\(text) is read as \(String(describing: Row(json: text)))")
            }
            guard let read = Row(json: random.mutated(Array(text.utf8), words: ["\\u", "\\", "\"", "{", "}"])) else {
                return
            }
            for value in read.values.values { _ = (value.scalarText, value.member("a"), value.isNull) }
        }
        #expect(failure == nil)
    }
}
