"""Supabase's own Python package, unmodified, in a recent and in an old release."""

import json
import os
import pathlib
import queue
import subprocess
import sys
import threading
import time

import pytest
import wire

ROOT = pathlib.Path(__file__).parents[2]
CLIENTS = ROOT / ".venv" / "clients"
PROGRAM = pathlib.Path(__file__).parent / "realtime" / "client.py"
JOBS = {"event": "*", "schema": "public", "table": "job"}


class Client:
    """A process of its own with one release of the package."""

    def __init__(self, release, gateway, token, **options):
        directory = CLIENTS / release
        assert directory.is_dir(), "run `make deps-test` first"
        self.is_recent = release == "recent"
        self.errors = open(os.path.join(os.path.dirname(gateway.stderr_path), f"client-{id(self)}.err"), "w+")
        self.process = subprocess.Popen(
            [sys.executable, "-S", PROGRAM], env={**os.environ, "PYTHONPATH": str(directory)}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors)
        self.events = queue.Queue()
        self.seen = []
        threading.Thread(target=self.read, daemon=True).start()
        self.do("connect", url=gateway.url + "/realtime/v1", token=token, **options)
        self.wait(lambda event: "connected" in event)

    def read(self):
        for line in self.process.stdout:
            self.events.put(json.loads(line))

    def do(self, command, **arguments):
        self.process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
        self.process.stdin.flush()

    def wait(self, condition):
        """The next event of which this holds; others are skipped."""
        deadline = time.monotonic() + wire.PATIENCE
        while True:
            try:
                event = self.events.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                self.errors.seek(0)
                raise AssertionError(f"nothing came; before came {self.seen[-5:]}\n{self.errors.read()[-3000:]}") from None
            self.seen.append(event)
            if condition(event):
                return event

    def subscribe(self, topic, *bindings, state="SUBSCRIBED", **options):
        self.do("channel", topic=topic, bindings=bindings, **options)
        return self.state(topic, state)

    def state(self, topic, state):
        return self.wait(lambda event: event.get("topic") == topic and event.get("state") == state)

    def change(self):
        """Topic, binding and data of the next change."""
        event = self.wait(lambda event: "payload" in event)
        return event["topic"], event["binding"], event["payload"]["data"]

    def note(self):
        return self.wait(lambda event: "broadcast" in event)["broadcast"]["payload"]

    def close(self):
        self.process.kill()
        self.process.wait()
        self.errors.close()


@pytest.fixture(params=["recent", "old"])
def connect(request, house):
    opened = []

    def open_client(token, gateway=house.gateway, **options):
        opened.append(Client(request.param, gateway, token, **options))
        return opened[-1]

    yield open_client
    for client in opened:
        client.close()


def test_a_life(house, connect):
    user = house.user()
    thread = house.thread(user)
    client = connect(wire.token(user))
    filtered = {**JOBS, "event": "UPDATE", "filter": f"status=in.(processing,failed),assigned_to=eq.{thread}"}
    client.subscribe("jobs", JOBS, filtered, {**JOBS, "event": "DELETE"})
    system = client.wait(lambda event: "system" in event)["system"]
    assert "Subscribed to PostgreSQL" in str(system)
    job = house.job(thread)
    topic, binding, data = client.change()
    assert (topic, binding, data["type"], data["record"]["id"]) == ("jobs", 0, "INSERT", job)
    assert data["columns"][0] == {"name": "id", "type": "int8"} and data["errors"] is None
    house.run("update job set path = '/y' where id = %s", job)
    assert client.change()[1:2] == (0,)
    house.run("update job set status = 'processing' where id = %s", job)
    # The old release calls a binding for * also with what is for the other bindings of its channel.
    extra = 0 if client.is_recent else 1
    changes = [client.change() for _ in range(2 + extra)]
    assert sorted(change[1] for change in changes) == [0] * (1 + extra) + [1]
    for _, _, data in changes:
        assert (data["record"]["status"], data["old_record"]["status"]) == ("processing", "pending")
    house.run("delete from job where id = %s", job)
    changes = sorted([client.change(), client.change()], key=lambda change: change[1])
    assert [(change[1], change[2]["type"], change[2]["old_record"]) for change in changes] == [
        (0, "DELETE", {"id": job}), (2, "DELETE", {"id": job})]


def test_channels(house, connect):
    user = house.user()
    thread = house.thread(user)
    client = connect(wire.token(user))
    # All tables of a schema, without a table; the same table twice; nothing at all.
    client.subscribe("all", {"event": "INSERT", "schema": "public"})
    client.subscribe("one", JOBS)
    client.subscribe("none")
    if client.is_recent:
        client.subscribe("narrow", {**JOBS, "select": ["path"]})
    job = house.job(thread)
    topics = ["all", "narrow", "one"] if client.is_recent else ["all", "one"]
    changes = {topic: data for topic, _, data in (client.change() for _ in topics)}
    assert sorted(changes) == topics
    if client.is_recent:
        assert changes["narrow"]["record"] == {"id": job, "path": "/x", "status": "pending"}
    client.do("leave", topic="all")
    if client.is_recent:
        client.state("all", "CLOSED")
    client.do("send", topic="one")
    house.run("update job set path = '/z' where id = %s", job)
    assert client.change()[0] == "one" if not client.is_recent else client.change()[0] in ("one", "narrow")


def test_tokens(house, connect):
    """Signed out, then signed in, then with a new token."""
    user = house.user()
    thread = house.thread(user)
    client = connect("anon.key.signature")
    refused = client.subscribe("jobs", JOBS, state="CHANNEL_ERROR")
    assert "InvalidJWTToken" in refused["error"]
    client.do("set_auth", token=wire.token(user))
    if not client.is_recent:
        # It joins again with what it joined with before; an application makes a new channel.
        client.subscribe("again", JOBS)
    else:
        client.state("jobs", "SUBSCRIBED")
    client.do("set_auth", token=wire.token(user, ttl=1200))
    job = house.job(thread)
    assert client.change()[2]["record"]["id"] == job


def test_refusals(house, connect):
    client = connect(wire.token(house.user()))
    for binding, words in [({**JOBS, "table": "jobs"}, "did you mean"), ({**JOBS, "filter": "nope=eq.1"}, "no column")]:
        assert words in client.subscribe(words, binding, state="CHANNEL_ERROR")["error"]


def test_resync_and_restart(house, connect, gateways):
    user = house.user()
    with house.database.postgres.fresh_database("installed_template") as database:
        gateway = gateways(database)
        writer = database.connect()
        thread = writer.execute("insert into thread (title, author) values ('t', %s) returning id", (user,)).fetchone()[0]

        def insert():
            return writer.execute(
                "insert into job (assigned_to, path) values (%s, '/') returning id", (thread,)).fetchone()[0]

        client = connect(wire.token(user), gateway)
        client.subscribe("jobs", JOBS)
        writer.execute("truncate job")
        # The old release does not know phx_error; it is given a new connection.
        if client.is_recent:
            assert "ReconnectSubscribeToPostgres" in client.state("jobs", "CHANNEL_ERROR")["error"]
        client.state("jobs", "SUBSCRIBED")
        job = insert()
        assert client.change()[2]["record"]["id"] == job
        for stop in (gateway.kill, gateway.stop):
            stop()
            gateway.start().wait_ready()
            client.state("jobs", "SUBSCRIBED")
            job = insert()
            assert client.change()[2]["record"]["id"] == job
        gateway.kill()
        database.close()


def test_snapshot(house, connect):
    user = house.user()
    job = house.job(house.thread(user))
    client = connect(wire.token(user))
    params = {"config": {
        "broadcast": {"ack": False, "self": False, "jobfeed": {"snapshot": True, "resume": None}},
        "presence": {"key": "", "enabled": False}, "private": False}}
    client.subscribe("jobs", JOBS, params=params)
    assert client.note()["type"] == "subscribed"
    assert [row["id"] for row in client.note()["rows"]] == [job]
    assert client.note()["type"] == "live"
    house.run("delete from job where id = %s", job)
    assert client.change()[2]["type"] == "DELETE"
    assert client.note()["cursor"]
