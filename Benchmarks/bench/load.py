"""The load generator, jobfeed-load, as a driven process."""

import json
import os
import pathlib
import select
import subprocess
import tempfile
import time

# Seconds that the slowest joining may take.
PATIENCE = 300
BINARY = pathlib.Path(__file__).parents[1] / ".build" / "release" / "jobfeed-load"


class Load:
    """A crowd of sockets on one server.

    open(n) waits until n are live; measure(s) returns the figures of s seconds; between begin() and end() lies whatever
    the caller does. Latencies are in microseconds, cpu_s is the server's.
    """

    def __init__(self, server, connections, tokens=(), credits_every=0, **options):
        self.command = [str(BINARY), "--port", server.port, "--connections", connections]
        self.command += ["--pids", ",".join(map(str, server.pids))]
        self.tokens = None
        if tokens:
            self.tokens = tempfile.NamedTemporaryFile("w", prefix="jobfeed-bench-tokens-")
            self.tokens.write("\n".join(tokens))
            self.tokens.flush()
            self.command += ["--tokens", self.tokens.name]
        for name, value in {**server.load_options, **options}.items():
            flag = "--" + name.replace("_", "-")
            if value is True:
                self.command.append(flag)
            else:
                for one in value if isinstance(value, list) else [value]:
                    self.command += [flag, one]
        self.credits = None
        if credits_every:
            self.credits, self.credits_in = os.pipe()
            self.command += ["--credit-descriptor", self.credits_in, "--credit-every", credits_every]

        self.command = list(map(str, self.command))
        self.heard = b""

    def __enter__(self):
        passed = [self.credits_in] if self.credits is not None else []
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=passed)
        for descriptor in passed:
            os.close(descriptor)
        return self

    def __exit__(self, *_):
        # Its standard input ends, and so does it.
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        if self.tokens:
            self.tokens.close()
        if self.credits is not None:
            os.close(self.credits)

    def say(self, command):
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()

    def hear(self, event):
        """The next event of this kind; a crowd that was thrown out and came back says "ready" unasked."""
        while True:
            said = json.loads(self.line())
            if said.pop("event") == event:
                return said

    def line(self):
        deadline = time.monotonic() + PATIENCE
        while b"\n" not in self.heard:
            if not select.select([self.process.stdout], [], [], max(deadline - time.monotonic(), 0))[0]:
                raise RuntimeError(f"the load generator has nothing to say for {PATIENCE} s: {' '.join(self.command)}")
            chunk = os.read(self.process.stdout.fileno(), 65536)
            if not chunk:
                raise RuntimeError(f"the load generator ended with {self.process.wait()}")
            self.heard += chunk
        line, _, self.heard = self.heard.partition(b"\n")
        return line

    def ask(self, connections):
        self.say(f"open {connections}")

    def wait_until_live(self):
        """Seconds from the wish to the last one that was live."""
        return self.hear("ready")["seconds"]

    def open(self, connections):
        self.ask(connections)
        return self.wait_until_live()

    def begin(self):
        self.say("begin")

    def end(self):
        self.say("end")
        return self.hear("end")

    def measure(self, seconds):
        self.begin()
        time.sleep(seconds)
        return self.end()
