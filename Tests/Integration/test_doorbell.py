"""How a gateway hears of changes: rung while it sleeps, on its own while writers are busy, by polling behind a pooler."""

import json
import os
import shutil
import subprocess
import time

import pytest
import wire
from conftest import free_port
from oracle import settles, visible


def until(condition, what):
    deadline = time.monotonic() + wire.PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
    return found


def flags(connection):
    return dict(connection.execute("select node, asleep from jobfeed.node").fetchall())


def job(connection, author="alice"):
    thread = connection.execute("insert into thread (title, author) values ('t', %s) returning id", [author]).fetchone()[0]
    return connection.execute("insert into job (assigned_to, path) values (%s, '/x') returning id", [thread]).fetchone()[0]


def settled(gateway):
    """Asleep, with nothing left to wait for; the log of the node says so in /readyz."""
    until(lambda: json.loads(gateway.get("/readyz")[1]).get("doorbell") == "asleep", "the node to sleep")


def test_wakes_under_load_and_sleeps_again(installed, gateways):
    nodes = [gateways(installed, node=f"node-{n}") for n in range(2)]
    connection = installed.connect()
    number = job(connection)
    clients = [node.client() for node in nodes]
    subscriptions = [client.subscribe() for client in clients]
    for node in nodes:
        settled(node)
    assert flags(connection) == {"node-0": True, "node-1": True}

    seen = set()
    for percent in range(2000):
        connection.execute("update job set payload = %s where id = %s", [json.dumps({"tick": percent}), number])
        if percent % 50 == 49:
            seen.update(flags(connection).values())
            if seen == {True, False} and percent > 400:
                break
    assert False in seen, "no node stayed awake while writers were busy"
    for client, subscription in zip(clients, subscriptions):
        client.wait(lambda: subscription.rows[str(number)]["payload"] == {"tick": percent}, "the last tick")
        ticks = [columns["payload"]["tick"] for op, _, _, columns in subscription.log if op == "update"]
        assert ticks == list(range(percent + 1))
    for node in nodes:
        settled(node)
    until(lambda: flags(connection) == {"node-0": True, "node-1": True}, "both nodes to sleep")
    # Asleep they are rung.
    connection.execute("update job set status = 'processing' where id = %s", [number])
    for client, subscription in zip(clients, subscriptions):
        client.wait(lambda: subscription.rows[str(number)]["status"] == "processing", "the ring")
    assert not any("no notification announced" in node.stderr for node in nodes)


def test_a_lost_row_is_written_again(installed, gateways):
    gateway = gateways(installed, node="n")
    connection = installed.connect()
    settled(gateway)
    # As a crash of the database does with an unlogged table.
    connection.execute("truncate jobfeed.node")
    until(lambda: flags(connection) == {"n": True}, "the row to come back")
    number = job(connection)
    with gateway.client() as client:
        subscription = client.subscribe()
        connection.execute("update job set status = 'processing' where id = %s", [number])
        client.wait(lambda: subscription.rows[str(number)]["status"] == "processing", "the change")


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_writers_with_an_old_view_of_the_flags_ring(installed, gateways, isolation):
    gateway = gateways(installed, node="n")
    connection, observer = installed.connect(), installed.connect()
    number = job(connection)
    settled(gateway)
    observer.execute("listen jobfeed")
    # The writer's snapshot is of a time when nobody slept.
    observer.execute("update jobfeed.node set asleep = false")
    connection.execute(f"begin isolation level {isolation}")
    connection.execute("select 1 from jobfeed.node")
    observer.execute("update jobfeed.node set asleep = true")
    connection.execute("update job set status = 'processing' where id = %s", [number])
    connection.execute("commit")
    assert list(observer.notifies(timeout=wire.PATIENCE, stop_after=1))


@pytest.fixture
def pooler(installed, tmp_path):
    """PgBouncer in transaction mode; yields a connection string that leads through it."""
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    if not os.path.exists(program):
        pytest.skip("there is no pgbouncer")
    port = free_port()
    directory = tmp_path / "pgbouncer"
    directory.mkdir()
    (directory / "users").write_text('"gateway_login" ""\n')
    (directory / "ini").write_text(f"""
[databases]
* = host=127.0.0.1 port={installed.postgres.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {directory}/users
pool_mode = transaction
default_pool_size = 3
ignore_startup_parameters = extra_float_digits
""")
    account = {}
    if os.geteuid() == 0:
        account = {"user": "postgres", "group": "postgres", "extra_groups": []}
        for parent in [directory, *directory.parents][:4]:
            parent.chmod(0o755)
    process = subprocess.Popen([program, str(directory / "ini")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               **account)
    yield f"postgresql://gateway_login@127.0.0.1:{port}/{installed.name}"
    process.terminate()
    process.wait(wire.PATIENCE)


def test_polls_behind_a_transaction_pooler(installed, gateways, pooler):
    gateway = gateways(pooler, node="n", start_timeout=20)
    assert "transaction pooler" in gateway.stderr
    status, body, _ = gateway.get("/readyz")
    assert status == 200 and any("polling" in note for note in json.loads(body)["notes"])
    connection = installed.connect()
    number = job(connection)
    with gateway.client() as client:
        subscription = client.subscribe()
        for percent in range(50):
            connection.execute("update job set progress = %s where id = %s", [json.dumps({"percent": percent}), number])
        client.wait(lambda: subscription.rows[str(number)]["progress"] == {"percent": 49}, "the last tick")
        assert [row["progress"]["percent"] for op, _, _, row in subscription.log if op == "update"] == list(range(50))
    connection.execute("update job set status = 'processing' where id = %s", [number])
    with gateway.client() as client:
        client.open(subscription, subscription.cursor)
        assert subscription.answer["recovered"]
        settles(client, subscription, lambda: visible(connection, "alice"))
