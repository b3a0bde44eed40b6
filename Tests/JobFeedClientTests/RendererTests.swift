import Foundation
import JobFeedClient
import JobFeedProtocol
import Testing

@testable import jobfeed

@Suite struct RendererTests {
    private static let now = Date(timeIntervalSince1970: 0)

    private static func renderer(
        _ format: Renderer.Format = .lines,
        color: Bool = false,
        liveBlock: Bool = false
    ) -> Renderer {
        Renderer(
            format: format,
            style: Style(isColored: color),
            hasLiveBlock: liveBlock,
            localTime: { _ in "12:00:00" }
        )
    }

    private static let snapshot = Event.snapshot(
        .init(
            rows: [
                .init(key: "1", columns: ["id": 1, "status": "pending", "path": "/a", "progress": .null]),
                .init(key: "2", columns: ["id": 2, "status": "processing", "progress": ["percent": 40]]),
            ],
            cursor: "c1"
        )
    )

    private func batch(_ changes: Change...) -> Event { .changes(.init(changes: changes, cursor: "c2", at: nil)) }

    @Test func snapshotRowsEnter() {
        var renderer = Self.renderer()
        let output = renderer.render(Self.snapshot, now: Self.now)
        #expect(output.lines == ["12:00:00  +  1  /a  pending", "12:00:00  +  2  processing  40 %"])
        #expect(renderer.render(Self.snapshot, now: Self.now).lines.isEmpty)
    }

    @Test func transitionsAndLeaves() {
        var renderer = Self.renderer()
        _ = renderer.render(Self.snapshot, now: Self.now)
        let output = renderer.render(
            self.batch(
                .update(key: "1", set: ["status": "processing", "retries": 2]),
                .update(key: "9", set: ["status": "processing"]),
                .leave(key: "2", reason: "filter", set: ["status": "success"]),
                .leave(key: "1", reason: "deleted", set: nil)
            ),
            now: Self.now
        )
        #expect(
            output.lines == [
                "12:00:00  ~  1  /a  pending → processing  retries=2",
                "12:00:00  −  2  filter  processing → success",
                "12:00:00  −  1  /a  deleted",
            ]
        )
    }

    @Test(
        arguments: [
            ["progress": ["percent": 55]], ["progress": ["percent": 55], "updated_at": "2026-11-21T12:00:00Z"],
        ] as [JSONObject]
    )
    func progressAloneNeedsNoLineAboveABar(set: JSONObject) {
        var (block, plain) = (Self.renderer(liveBlock: true), Self.renderer())
        let change = self.batch(.update(key: "2", set: set))
        _ = block.render(Self.snapshot, now: Self.now)
        _ = plain.render(Self.snapshot, now: Self.now)
        #expect(block.render(change, now: Self.now).lines.isEmpty)
        #expect(plain.render(change, now: Self.now).lines == ["12:00:00  ~  2  55 %"])
    }

    @Test func aTitleCannotDriveTheTerminal() {
        var renderer = Self.renderer()
        let row: JSONObject = ["id": 1, "title": "\u{1B}]0;x\u{7}\r\n\u{202E}", "status": "\u{9B}2J"]
        let lines = renderer.render(self.batch(.enter(key: "\u{1B}[2J", reason: "a\nb", row: row)), now: Self.now).lines
        #expect(lines.count == 1)
        #expect(lines.allSatisfy { $0.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7F...0x9F ~= $0.value) } })
    }

    @Test func coloursOnlyWhenAsked() {
        var colored = Self.renderer(color: true)
        var plain = Self.renderer()
        #expect(colored.render(Self.snapshot, now: Self.now).lines[0].contains("\u{1B}[36mpending\u{1B}[0m"))
        #expect(!plain.render(Self.snapshot, now: Self.now).lines.joined().contains("\u{1B}"))
    }

    @Test func jsonLinesCarryTheCursorWhereAStepEnds() {
        var renderer = Self.renderer(.json)
        let output = renderer.render(
            self.batch(
                .enter(key: "43", reason: "created", row: ["id": 43]),
                .update(key: "9", set: ["n": .number("12345678901234567890")]),
                .leave(key: "43", reason: "filter", set: ["status": "x"])
            ),
            now: Self.now
        )
        #expect(
            output.lines == [
                #"{"op":"enter","key":"43","reason":"created","row":{"id":43},"cursor":null,"at":null}"#,
                #"{"op":"update","key":"9","reason":null,"set":{"n":12345678901234567890},"cursor":null,"at":null}"#,
                #"{"op":"leave","key":"43","reason":"filter","set":{"status":"x"},"cursor":"c2","at":null}"#,
            ]
        )
    }

    @Test(arguments: [
        (Event.live, "live", #"{"event":"live"}"#),
        (.behind(since: Date(timeIntervalSince1970: -12)), "behind 12 s", #"{"event":"behind","seconds":12}"#),
        (
            .reconnecting(after: .milliseconds(1150), reason: "cut\n"), "reconnecting in 1.2 s: cut␊",
            #"{"event":"reconnecting","after":1.2,"reason":"cut\n"}"#
        ),
    ])
    func notes(event: Event, line: String, json: String) {
        var (lines, objects) = (Self.renderer(), Self.renderer(.json))
        #expect(lines.render(event, now: Self.now) == .init(notes: [line]))
        #expect(objects.render(event, now: Self.now) == .init(notes: [json]))
    }

    @Test(arguments: [("AbC-_=", "AbC-_="), ("a b'c", #"'a b'\''c'"#)])
    func farewellCanBePasted(cursor: String, word: String) {
        #expect(Self.renderer().farewell(cursor: cursor) == "continue with --since \(word)")
    }

    @Test(arguments: [20, 30, 60, 200], [1, 3, 24])
    func barsFitTheWindow(width: Int, height: Int) {
        var renderer = Self.renderer(color: true, liveBlock: true)
        let rows = (1...15).map { number in
            let columns: JSONObject = [
                "status": "processing", "path": .string("/日本/\(number)"), "progress": ["percent": 50],
            ]
            return ServerMessage.Row(key: "\(number)", columns: columns)
        }
        _ = renderer.render(.snapshot(.init(rows: rows)), now: Self.now)
        let block = renderer.liveBlock(width: width, height: height)
        #expect(block.count == min(11, max(0, height - 1)))
        #expect(block.allSatisfy { DisplayText.width($0) < width })
        #expect(height == 1 || block.last?.contains("+\(15 - (block.count - 1)) more") == true)
    }

    @Test(arguments: [
        ("40", 40), ("0.4", 40), ("1", 1), ("\"40%\"", 40), (#"{"percent":40}"#, 40), (#"{"fraction":0.4}"#, 40),
        (#"{"done":2,"total":5}"#, 40), ("250", 100), ("-3", 0), ("1e999", nil), ("null", nil), ("{}", nil),
        (#"{"done":1,"total":0}"#, nil), ("\"soon\"", nil), ("[]", nil),
    ])
    func progress(json: String, percent: Double?) throws {
        #expect(Progress.percent(try JSONValue(parsing: json)) == percent)
    }

    @Test func thePainterErasesWhatTheWindowShows() {
        var painter = Painter()
        #expect(painter.paint(lines: ["a"], block: ["1234567890", "x"], width: 20) == "a\n1234567890\nx\n")
        #expect(painter.paint(lines: [], block: ["1234567890", "x"], width: 20) == "")
        // Half as wide, the first bar has wrapped to three rows.
        #expect(painter.paint(lines: ["b"], block: ["y"], width: 4) == "\r\u{1B}[4A\u{1B}[Jb\ny\n")
        #expect(painter.erase(width: 4) == "\r\u{1B}[1A\u{1B}[J")
        #expect(painter.erase(width: 4) == "")
    }
}
