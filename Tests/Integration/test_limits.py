"""Limits: who is one too many is told so, before the upgrade if that is possible, and others do not notice."""

import contextlib
import json
import os
import resource
import socket
import subprocess

import pytest
import websockets.exceptions
import wire
from conftest import SERVER
from faults import must


def refused(gateway, user, **options):
    """Status, Retry-After and problem of an upgrade that has to be refused."""
    with pytest.raises(websockets.exceptions.InvalidStatus) as refusal:
        gateway.client(user, **options).close()
    response = refusal.value.response
    problem = json.loads(response.body)
    assert problem["status"] == response.status_code
    return response.status_code, int(response.headers["Retry-After"]), problem


@contextlib.contextmanager
def clients(gateway, *users):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(gateway.client(user)) for user in users]


def counter(gateway, line):
    for found in gateway.get("/metrics")[1].splitlines():
        if found.startswith(line + " "):
            return float(found.split()[-1])
    raise AssertionError(f"no {line}")


def test_no_more_connections_than_allowed(installed, gateways):
    gateway = gateways(installed, max_connections=3)
    with clients(gateway, "a", "b", "c") as held:
        status, retry_after, problem = refused(gateway, "d")
        assert status == 503 and 5 <= retry_after <= 15
        assert problem["code"] == "unavailable" and "3 connections" in problem["detail"]
        # Also before a token is looked at.
        assert refused(gateway, "d", bearer="nonsense")[0] == 503
        # Plain requests are served.
        assert gateway.get("/readyz")[0] == 200
        for client in held:
            client.subscribe()
        held[0].drop()
        must(lambda: counter(gateway, "jobfeed_connections") == 2, "the seat to be free")
        with gateway.client("d") as late:
            late.subscribe()
        assert counter(gateway, 'jobfeed_connections_refused_total{limit="total"}') == 2


def test_no_more_connections_of_one_user_than_allowed(installed, gateways):
    gateway = gateways(installed, max_connections_per_user=2)
    with clients(gateway, "a", "a", "b") as held:
        assert counter(gateway, "jobfeed_users") == 2
        status, retry_after, problem = refused(gateway, "a")
        assert status == 429 and retry_after == 30
        assert problem["code"] == "connection_limit" and "2 connections" in problem["detail"]
        # Who says it in a frame learns it there.
        late = gateway.client("a", by="frame")
        assert late.closed() == 4509
        assert [frame["code"] for frame in late.frames if frame["type"] == "error"] == ["connection_limit"]
        # Others have room, and so has the user when a connection ends.
        with gateway.client("b", by="frame") as other:
            other.subscribe()
        held[1].drop()
        must(lambda: counter(gateway, "jobfeed_connections") == 2, "the seat to be free")
        with gateway.client("a", by="frame") as again:
            again.subscribe()
        assert counter(gateway, 'jobfeed_connections_refused_total{limit="user"}') == 2


def test_no_more_connections_from_one_address_than_allowed(installed, gateways):
    gateway = gateways(installed, max_connections_per_address=2)
    with clients(gateway, "a", "b"):
        status, retry_after, problem = refused(gateway, "c")
        assert status == 429 and retry_after == 30 and "from this address" in problem["detail"]
        # Another address of the loopback network is another client.
        with gateway.client("c", source_address=("127.0.0.2", 0)) as other:
            other.subscribe()


def test_handshakes_beyond_the_limit_are_refused_and_then_cut(installed, gateways):
    """A slow loris cannot fill the node, and who is served already does not notice."""
    gateway = gateways(installed, max_handshakes=5)
    address = ("127.0.0.1", gateway.port)
    with gateway.client("a") as before, contextlib.ExitStack() as stack:
        before.subscribe()
        idle = []
        for _ in range(12):
            slow = stack.enter_context(socket.create_connection(address, timeout=wire.PATIENCE))
            with contextlib.suppress(OSError):
                slow.sendall(b"GET /v1/feed HTTP/1.1\r\nHost: x\r\n")
            idle.append(slow)

        def cut():
            closed = 0
            for slow in idle:
                slow.setblocking(False)
                try:
                    closed += slow.recv(1) == b""
                except BlockingIOError:
                    pass
                except OSError:
                    closed += 1
            return closed

        must(lambda: cut() == 2, "those beyond twice the limit to be cut")
        # Room for an answer.
        idle.pop(0).close()
        status, retry_after, problem = refused(gateway, "b")
        assert status == 503 and 1 <= retry_after <= 3 and "opened" in problem["detail"]
        before.ask({"type": "ping", "id": "p"}, "pong")
        stack.close()
        must(lambda: opens(gateway), "room for another")


def opens(gateway):
    try:
        gateway.client("c").drop()
        return True
    except (OSError, websockets.exceptions.WebSocketException):
        return False


def test_running_out_of_descriptors_is_survived(installed, gateways):
    """Nothing but refusals while there are none, and service as before when there are."""
    gateway = gateways(installed, max_connections=50)
    with gateway.client("a") as before, contextlib.ExitStack() as stack:
        subscription = before.subscribe()
        used = len(os.listdir(f"/proc/{gateway.process.pid}/fd"))
        resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (used + 3, used + 3))
        for _ in range(20):
            stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=wire.PATIENCE))
        before.ask({"type": "ping", "id": "p"}, "pong")
        thread = "insert into thread (title, author) values ('t', 'a') returning id"
        job = f"with made as ({thread}) insert into job (assigned_to, path) select id, '/x' from made returning id"
        key = installed.connect().execute(job).fetchone()[0]
        before.wait(lambda: str(key) in subscription.rows, "the row")
        stack.close()
        must(lambda: opens(gateway), "the next connection")


def test_commands_a_second_can_be_set(installed, gateways):
    gateway = gateways(installed, max_commands_per_second=1)
    with gateway.client("a") as client:
        for number in range(10):
            client.ask({"type": "ping", "id": f"p{number}"}, "pong")
        for number in range(5):
            with contextlib.suppress(websockets.exceptions.ConnectionClosed):
                client.send({"type": "ping", "id": f"q{number}"})
        assert client.closed() == 4003
        assert "1 a second" in client.close_reason


def test_limits_that_cannot_be_kept_are_refused(installed):
    def check(*flags, files=1000):
        environment = {**os.environ, "DATABASE_URL": installed.dsn(), "JOBFEED_JWT_SECRET": wire.SECRET}
        return subprocess.run(
            [SERVER, "check", *flags], env=environment, capture_output=True, text=True, timeout=wire.PATIENCE,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (min(files, 512), files)))

    assert check().returncode == 0
    result = check("--max-connections", "2000")
    assert result.returncode == 78
    assert "may open 1000 files" in result.stderr and "ulimit -n" in result.stderr
    assert check("--max-connections", "2000", files=4000).returncode == 0
    assert check("--max-handshakes", "0").returncode == 78


def test_users_take_turns_for_snapshots(installed, gateways):
    """One who asks for everything delays another by no more than one snapshot for each session of the pool."""
    writer = installed.connect()
    for author in ("greedy", "modest"):
        writer.execute("insert into thread (title, author) values ('t', %s)", [author])
    gateway = gateways(installed, pool_size=1)
    blocker = installed.connect(autocommit=False)
    with contextlib.ExitStack() as stack:
        # No snapshot is read while the table is locked.
        blocker.execute("lock table job in access exclusive mode")
        answered = []

        def ask(user):
            client, subscription = stack.enter_context(gateway.client(user)), wire.Subscription("s", "jobs")
            subscription.at_cursor = lambda _: answered.append(user)
            return client, client.open(subscription, wait=False)

        asked = [ask("greedy") for _ in range(20)]
        must(lambda: counter(gateway, "jobfeed_snapshot_queue_length") == 19, "the queue")
        asked.append(ask("modest"))
        must(lambda: counter(gateway, "jobfeed_snapshot_queue_length") == 20, "the queue")
        blocker.rollback()
        for client, subscription in asked:
            client.wait(lambda: subscription.state == "live", "the snapshot")
        # The third; threads may have read what came at about the same time in another order.
        assert answered.index("modest") < 10, answered
