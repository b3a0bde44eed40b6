import Foundation

/// The shell process that owns the server: it obeys lines on its input and, when that ends because we closed it or
/// were killed, stops the server and removes a temporary directory.
struct Supervisor: Sendable {
    private static let script = """
        trap '' HUP INT PIPE TERM
        bin=$1 dir=$2 temporary=$3 runner=
        cd "$dir" || exit 1
        while read -r command argument; do
            case $command in
            initialize)
                "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync --no-instructions \\
                    </dev/null >>"$dir/server.log" 2>&1
                echo "initialized $?" ;;
            start)
                rm -f server.pid
                (
                    "$bin/postgres" -D "$dir/data" </dev/null >>"$dir/server.log" 2>&1 &
                    echo $! >server.pid
                    wait $!
                    echo "exited $?" 2>/dev/null
                ) &
                runner=$! tries=0
                until [ -s server.pid ] || [ $tries -eq 250 ]; do sleep 0.02; tries=$((tries + 1)); done ;;
            follow)
                tail -n +1 -f server.log >&2 &
                follower=$! ;;
            signal)
                kill -s "$argument" "$(cat server.pid)" 2>/dev/null ;;
            esac
        done
        if [ -n "$runner" ]; then
            if [ "$temporary" = yes ]; then signal=QUIT; else signal=INT; fi
            kill -s "$signal" "$(cat server.pid)" 2>/dev/null
            wait "$runner"
        fi
        # Ignored signals are inherited, TERM too.
        [ -z "$follower" ] || kill -KILL "$follower"
        if [ "$temporary" = yes ]; then cd / && rm -rf -- "$dir"; fi
        """

    private let child: ChildProcess

    init(
        binaries: String,
        directory: String,
        isTemporary: Bool,
        user: UnprivilegedUser?
    ) throws(EmbeddedPostgresError) {
        let arguments = [
            "/bin/sh", "-c", Self.script, "jobfeed-postgres", binaries, directory, isTemporary ? "yes" : "no",
        ]
        self.child = try ChildProcess(user?.command(arguments) ?? arguments)
    }

    func follow() {
        self.child.send("follow")
    }

    /// The exit status of initdb; nil when the supervisor could not even enter the directory.
    func initialize() -> Int? {
        self.child.send("initialize")
        guard case .line(let line) = self.child.readLine(within: .seconds(120)) else { return nil }
        return line.split(separator: " ").last.flatMap { Int($0) }
    }

    func startServer() {
        self.child.send("start")
    }

    func signalServer(_ name: String) {
        self.child.send("signal \(name)")
    }

    /// Whether the server ended within the time; true also when the supervisor itself is gone.
    func serverExited(within timeout: Duration) -> Bool {
        switch self.child.readLine(within: timeout) {
        case .timedOut: false
        case .line(let line): line.hasPrefix("exited")
        case .ended: true
        }
    }

    func end() {
        self.child.waitForExit()
    }
}
