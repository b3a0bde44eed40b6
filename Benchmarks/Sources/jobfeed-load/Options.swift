import ArgumentParser

/// How the crowd behaves.
struct Options: ParsableArguments {
    @Option(help: "Port of the server, on 127.0.0.1.")
    var port: Int

    @Option(help: "Path of the WebSocket.")
    var path = "/v1/feed"

    @Option(help: "Connections that may ever be opened; `open N` opens them.")
    var connections = 1000

    @Option(help: "Further header of the request.")
    var header: [String] = []

    @Option(help: "File of bearer tokens, one per line, taken in turn.", completion: .file())
    var tokens: String?

    @Option(
        parsing: .unconditionalSingleValue,
        help: "Text to send once connected; %r is what resumes, %j the number of a job, see --jobs. Repeatable."
    )
    var join: [String] = []

    @Option(help: "Jobs that the connections take in turn for %j, from 1 up.")
    var jobs = 1

    @Option(parsing: .unconditional, help: "A connection is live once it has got this text as often as --lives says.")
    var ready = ""

    @Option(help: "See --ready.")
    var lives = 1

    @Option(help: "Handshakes under way at one time.")
    var inflight = 200

    @Flag(help: "Connect again after being closed, and resume.")
    var reconnect = false

    @Option(help: "Processes whose CPU time and memory count as the server's, comma separated.")
    var pids = ""

    @Option(help: "Path to publish at, on a connection of its own.")
    var publishPath: String?

    @Option(help: "Bytes of a published message.")
    var publishBytes = 200

    @Option(help: "Write a byte to this descriptor each time that all connections have got --credit-every changes.")
    var creditDescriptor: Int32 = -1

    @Option(help: "See --credit-descriptor.")
    var creditEvery = 1
}
