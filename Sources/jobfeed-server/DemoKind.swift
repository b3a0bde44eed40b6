/// A sort of job: what it is given, how long it takes, what it says meanwhile and what goes wrong with it.
struct DemoKind: Sendable {
    let path: String
    /// How many of 100 new jobs are of this kind, about.
    let share: Int
    /// Nobody's jobs are assigned to no thread: only operators see them.
    var isNobodys = false
    let seconds: ClosedRange<Double>
    /// Seconds between two reports of progress; nil for none at all.
    let tick: Double?
    let failing: Double
    var strategy = "exponential"
    let stages: [String]
    /// What is counted in `progress.data`, and up to which numbers.
    let counted: (name: String, upTo: ClosedRange<Int>)
    let errors: [String]
    /// JSON.
    let payload: @Sendable (inout DemoRandom) -> String

    static func pick(_ random: inout DemoRandom) -> Self {
        var left = Int.random(in: 0..<Self.all.reduce(0) { $0 + $1.share }, using: &random)
        for kind in Self.all {
            left -= kind.share
            if left < 0 { return kind }
        }
        return Self.all[0]
    }

    static let all = [
        Self(
            path: "/spookify",
            share: 34,
            seconds: 2.5...6,
            tick: 0.25,
            failing: 0.15,
            stages: ["waking the ghosts", "stretching vowels", "adding fog"],
            counted: ("words", 12...80),
            errors: ["the ghosts are on strike (503)", "no answer within 5 s"],
            payload: { random in
                let text = random.pick(["Happy birthday", "See you at eight", "The shop is open", "Thank you all"])
                let spookiness = Int.random(in: 1...10, using: &random)
                return #"{"text":"\#(text)","spookiness":\#(spookiness)}"#
            }
        ),
        Self(
            path: "/render-thumbnails",
            share: 26,
            seconds: 2...5,
            tick: 0.2,
            failing: 0.1,
            strategy: "linear",
            stages: ["reading the originals", "scaling", "uploading"],
            counted: ("images", 8...48),
            errors: ["IMG_2041.jpg: not a JPEG file", "the bucket refused the upload (429)"],
            payload: { random in
                let album = random.pick(["autumn", "winter", "studio", "backstage"])
                return #"{"album":"\#(album)","sizes":[160,320,\#(random.pick([640, 960, 1280]))]}"#
            }
        ),
        Self(
            path: "/send-digest",
            share: 18,
            seconds: 4...9,
            tick: 0.35,
            failing: 0.2,
            stages: ["collecting", "sending"],
            counted: ("sent", 120...900),
            errors: ["the mail server closed the connection", "421 too many messages, try again later"],
            payload: { random in
                let edition = random.pick(["daily", "weekly"])
                return #"{"edition":"\#(edition)","subscribers":\#(Int.random(in: 120...900, using: &random))}"#
            }
        ),
        Self(
            path: "/transcode-video",
            share: 8,
            seconds: 9...16,
            tick: 0.15,
            failing: 0.12,
            stages: ["first pass", "second pass", "writing the index"],
            counted: ("frames", 1_500...9_000),
            errors: ["codec av1 is not available on this machine", "out of memory in the second pass"],
            payload: { random in
                let height = random.pick([720, 1080, 2160])
                return #"{"source":"take-\#(Int.random(in: 1...40, using: &random)).mov","height":\#(height)}"#
            }
        ),
        Self(
            path: "/import-contacts",
            share: 10,
            seconds: 0.8...2.5,
            tick: nil,
            failing: 0.25,
            strategy: "linear",
            stages: ["importing"],
            counted: ("rows", 20...400),
            errors: [#"line 17: \"n/a\" is not an address"#, "the file has no column email"],
            payload: { random in #"{"file":"contacts-\#(Int.random(in: 100...999, using: &random)).csv"}"# }
        ),
        Self(
            path: "/sweep-expired",
            share: 4,
            isNobodys: true,
            seconds: 0.3...1,
            tick: nil,
            failing: 0.05,
            stages: ["sweeping"],
            counted: ("sessions", 5...60),
            errors: ["another sweep is running"],
            payload: { _ in #"{"older_than":"30 days"}"# }
        ),
    ]
}
