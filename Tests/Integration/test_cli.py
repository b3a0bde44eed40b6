"""The terminal client as its users run it."""

import json
import os
import queue
import signal
import subprocess
import threading
import time

import pytest
import wire
from conftest import ROOT

CLI = os.environ.get("JOBFEED_CLI", str(ROOT / ".build" / "debug" / "jobfeed"))


class Tail:
    """A running `jobfeed tail`; its lines as they come."""

    def __init__(self, url, user, *arguments, **environment):
        base = {name: value for name, value in os.environ.items() if not name.startswith("JOBFEED_")}
        given = {"JOBFEED_URL": url, "JOBFEED_TOKEN": wire.token(user) if user else "", "SWIFT_BACKTRACE": "enable=no"}
        self.process = subprocess.Popen(
            [CLI, "tail", *arguments], env={**base, **given, **environment}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.queues = {"out": queue.Queue(), "err": queue.Queue()}
        self.lines = {"out": [], "err": []}
        for name, stream in (("out", self.process.stdout), ("err", self.process.stderr)):
            threading.Thread(target=self.pump, args=(name, stream), daemon=True).start()

    def pump(self, name, stream):
        for line in stream:
            self.queues[name].put(line.rstrip("\n"))
        self.queues[name].put(None)

    def until(self, condition, name="out"):
        """Reads lines up to one that satisfies the condition, and returns it."""
        deadline = time.monotonic() + wire.PATIENCE
        while True:
            try:
                line = self.queues[name].get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"timeout; {self.lines}") from None
            assert line is not None, f"ended with {self.process.wait()}: {self.lines}"
            self.lines[name].append(line)
            if condition(line):
                return line

    def live(self):
        self.until(lambda line: "live" in line, "err")
        return self

    def change(self, condition):
        """The same for --json."""
        return json.loads(self.until(lambda line: condition(json.loads(line))))

    def end(self, how=None):
        """Returns the exit code and what was still said."""
        if how:
            self.process.send_signal(how)
        code = self.process.wait(wire.PATIENCE)
        for name, lines in self.queues.items():
            while (line := lines.get(timeout=wire.PATIENCE)) is not None:
                self.lines[name].append(line)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def mine(house):
    """A user with a thread."""
    user = house.user()
    return user, house.thread(user)


def test_json(house, mine):
    user, thread = mine
    job = house.job(thread, payload='{"a": [1, "x", null]}')
    with Tail(house.gateway.url, user, "jobs", "--json") as tail:
        tail.live()
        first = tail.change(lambda change: True)
        assert (first["op"], first["key"]) == ("enter", str(job))
        assert first["row"]["payload"] == {"a": [1, "x", None]} and "errors" not in first["row"]
        house.run("update job set status = 'failed', retries = 2 where id = %s", job)
        change = tail.change(lambda change: change["op"] == "update")
        assert change["key"] == str(job) and change["at"] and change["cursor"]
        assert {name: change["set"][name] for name in ("status", "retries")} == {"status": "failed", "retries": 2}
        house.run("delete from job where id = %s", job)
        change = tail.change(lambda change: change["op"] == "leave")
        assert (change["key"], change["reason"]) == (str(job), "deleted")
        assert tail.end(signal.SIGINT) == 0
        assert all(isinstance(json.loads(line), dict) for lines in tail.lines.values() for line in lines)
        stopped = json.loads(tail.lines["err"][-1])
        assert stopped["event"] == "stopped"
    # And on from there.
    house.job(thread, path="/later")
    with Tail(house.gateway.url, user, "jobs", "--json", "--since", stopped["since"]) as tail:
        assert tail.change(lambda change: True)["row"]["path"] == "/later"
        assert tail.end(signal.SIGTERM) == 0
        assert len(tail.lines["out"]) == 1


def test_lines(house, mine):
    user, thread = mine
    job = house.job(thread, path="/render/\x1b[31m\u202e")
    with Tail(house.gateway.url, user, "jobs:pending,processing", "--filter", "retries=lt.5") as tail:
        tail.live()
        line = tail.until(lambda line: True)
        assert str(job) in line and "pending" in line and "/render/" in line
        house.run("update job set status = 'processing' where id = %s", job)
        assert "pending → processing" in tail.until(lambda line: True)
        house.run("update job set status = 'success' where id = %s", job)
        assert "success" in tail.until(lambda line: True)
        assert tail.end(signal.SIGINT) == 0
        assert "--since" in tail.lines["err"][-1]
        # What a row holds cannot steer the terminal.
        assert not any(character in line for line in tail.lines["out"] for character in "\x1b\u202e")


def test_counts(house, mine):
    user, thread = mine
    with Tail(house.gateway.url, user, "jobs#counts", "--json") as tail:
        tail.live()
        house.job(thread)
        tail.change(lambda change: change["counts"].get("pending") == 1)


@pytest.mark.parametrize("ending, code", [
    ("update job set status = 'success' where id = %s", 0),
    ("update job set status = 'failed' where id = %s", 1),
    ("delete from job where id = %s", 1),
    ("update job set assigned_to = null where id = %s", 1)])
def test_until_terminal(house, mine, ending, code):
    user, thread = mine
    job = house.job(thread)
    with Tail(house.gateway.url, user, f"jobs/{job}", "--until-terminal", "--json") as tail:
        tail.live()
        house.run("update job set status = 'processing' where id = %s", job)
        tail.change(lambda change: change.get("set", {}).get("status") == "processing")
        assert tail.process.poll() is None
        house.run(ending, job)
        assert tail.end() == code


@pytest.mark.parametrize("status, code", [("success", 0), ("failed", 1), (None, 1)])
def test_until_terminal_of_what_has_ended(house, mine, status, code):
    user, thread = mine
    job = house.job(thread, status=status) if status else 0
    with Tail(house.gateway.url, user, f"jobs/{job}", "--until-terminal") as tail:
        assert tail.end() == code


@pytest.mark.parametrize("arguments, code", [
    (["jobs:"], 64), (["job"], 64), (["jobs", "--filter", "stat=eq.1"], 64), (["jobs", "--columns", "errors"], 64),
    (["jobs", "--limit", "0"], 64), (["jobs", "--nonsense"], 64), (["jobs#counts", "--until-terminal"], 64),
    (["--url", "http://127.0.0.1:1", "--connect-timeout", "1"], 69), (["--url", "nonsense"], 64),
    (["--token-file", "/nowhere"], 64)])
def test_exit_codes(house, arguments, code):
    with Tail(house.gateway.url, "somebody", *arguments) as tail:
        assert tail.end() == code, tail.lines
        assert tail.lines["err"] and tail.lines["out"] == []


@pytest.mark.parametrize("bad, code", [("nonsense", 77), (wire.token(secret="x" * 64), 77), ("", 64)])
def test_bad_token(house, tmp_path, bad, code):
    with Tail(house.gateway.url, None, "jobs", JOBFEED_TOKEN=bad) as tail:
        assert tail.end() == code, tail.lines
        assert not bad or bad not in str(tail.lines)
    if bad:
        (tmp_path / "token").write_text(bad + "\n")
        with Tail(house.gateway.url, "somebody", "jobs", "--token-file", str(tmp_path / "token")) as tail:
            assert tail.end() == code, tail.lines


def test_gateway_restarts(installed, gateways):
    """Not a line lost, not a line twice, whatever happens to the gateway."""
    writer = installed.connect()
    writer.execute("insert into thread (title, author) values ('t', 'alice'); insert into job (assigned_to, path) values (1, '/x')")
    gateway = gateways(installed)
    with Tail(gateway.url, "alice", "jobs", "--json") as tail:
        tail.live()
        number = 0

        def tick(times):
            nonlocal number
            for _ in range(times):
                number += 1
                # Another status each time: a replay may merge what lies between two.
                status = ["pending", "processing", "failed"][number % 3]
                writer.execute("update job set status = %s, retries = %s where id = 1", [status, number])

        for stop in (gateway.stop, gateway.kill):
            tick(20)
            stop()
            tick(20)
            gateway.start()
            tick(20)
            tail.change(lambda change: change.get("set", {}).get("retries") == number)
        assert tail.end(signal.SIGTERM) == 0
    changes = [json.loads(line) for line in tail.lines["out"]]
    assert [change["op"] for change in changes] == ["enter"] + ["update"] * number
    assert [change["set"]["retries"] for change in changes[1:]] == list(range(1, number + 1))
    assert any("reconnecting" in line for line in tail.lines["err"])
