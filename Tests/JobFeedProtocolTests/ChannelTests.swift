import JobFeedProtocol
import Testing

@Suite struct ChannelTests {
    @Test(arguments: [
        ("jobs", Channel.all(feed: "jobs")),
        ("jobs:processing", .statuses(feed: "jobs", ["processing"])),
        ("jobs:pending,processing", .statuses(feed: "jobs", ["pending", "processing"])),
        ("jobs:a/b#c:d", .statuses(feed: "jobs", ["a/b#c:d"])),
        ("jobs:in progress,tîmed out", .statuses(feed: "jobs", ["in progress", "tîmed out"])),
        ("jobs/42", .key(feed: "jobs", "42")),
        ("jobs/a:b/c#counts,d", .key(feed: "jobs", "a:b/c#counts,d")),
        ("jobs/\u{301}", .key(feed: "jobs", "\u{301}")),
        ("jobs#counts", .counts(feed: "jobs")),
    ])
    func understood(text: String, channel: Channel) throws {
        #expect(try Channel(parsing: text) == channel)
        #expect(channel.description == text)
    }

    @Test(arguments: [
        "", ":a", "/a", "#counts", "jobs:", "jobs:a,", "jobs:,a", "jobs:a,,b", "jobs/", "jobs#", "jobs#c",
    ])
    func refused(text: String) throws {
        let error = try #require(throws: ChannelError.self) { try Channel(parsing: text) }
        #expect(error.description.hasPrefix("channel \"\(text)\" "))
    }
}
