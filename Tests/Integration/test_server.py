"""The server as a program: starting, stopping, and what it needs."""

import os
import subprocess
import time

import psycopg
import pytest
import wire
from conftest import SERVER


def start(database, secret):
    """Runs `serve` until it listens or ends; the first line, the exit code and stderr."""
    environment = {**os.environ, "DATABASE_URL": database.dsn(), "JOBFEED_JWT_SECRET": secret,
                   "SWIFT_BACKTRACE": "enable=no"}
    process = subprocess.Popen(
        [SERVER, "serve", "--port", "0"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    process.terminate()
    return line, process.wait(wire.PATIENCE), process.communicate()[1]


@pytest.mark.parametrize("length", [31, 32, 47, 48, 63, 64])
def test_length_of_the_secret(installed, length):
    line, code, errors = start(installed, "s" * length)
    if length < 32:
        assert (line, code) == ("", 78), errors
    else:
        assert line.startswith("listening") and code == 0, f"{code}: {errors[:1000]}"


def test_subscribing_as_soon_as_the_gateway_listens(postgres, installed, gateways):
    # A database that takes its time to accept sessions: the gateway listens before its reader has read the feeds.
    postgres.execute("alter system set pre_auth_delay = 1")
    postgres.execute("select pg_reload_conf()")
    try:
        with gateways(installed, ready=False).client() as alice:
            held = alice.subscribe()
            assert held.state == "live", held.error
    finally:
        postgres.execute("alter system reset pre_auth_delay")
        postgres.execute("select pg_reload_conf()")


# The programs


def server(*arguments, **environment):
    """Runs jobfeed-server to its end."""
    base = {name: value for name, value in os.environ.items() if not name.startswith(("JOBFEED_", "PG", "DATABASE_URL"))}
    done = subprocess.run([SERVER, *arguments], env={**base, **environment, "SWIFT_BACKTRACE": "enable=no"},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=wire.PATIENCE)
    return done.returncode, done.stdout, done.stderr


def state(connection):
    return connection.execute(
        "select (select nonce from jobfeed.installation), (select array_agg(f::text) from jobfeed.feed f),"
        " (select count(*) from jobfeed.change), (select array_agg(t.oid order by t.oid) from pg_trigger t)").fetchone()


def test_install(database):
    connection = database.connect()
    code, script, _ = server("install", "--reference-tables", "--dry-run", DATABASE_URL="postgres://nowhere.invalid/x")
    assert code == 0 and "create table jobfeed.change" in script.lower()
    assert connection.execute("select to_regnamespace('jobfeed')").fetchone() == (None,)
    code, out, errors = server("install", "--reference-tables", DATABASE_URL=database.dsn())
    assert code == 0 and "installed" in out, errors
    connection.execute("insert into thread (title, author) values ('t', 'alice');"
                       "insert into job (assigned_to, path) values (1, '/x')")
    before = state(connection)
    code, out, errors = server("install", "--reference-tables", DATABASE_URL=database.dsn())
    assert code == 0, errors
    assert state(connection) == before
    # The printed script is what is run.
    connection.execute(script)
    assert state(connection) == before


def test_check(installed, database):
    code, out, errors = server("check", DATABASE_URL=installed.dsn(), JOBFEED_JWT_SECRET=wire.SECRET)
    assert code == 0 and "jobs" in out, errors
    assert server("check", DATABASE_URL=database.dsn(), JOBFEED_JWT_SECRET=wire.SECRET)[0] == 78
    assert server("check", DATABASE_URL=installed.dsn())[0] == 78


def test_token(house):
    code, out, errors = server("token", "--user", "carol", "--access", "operator", "--ttl", "2m",
                               JOBFEED_JWT_SECRET=wire.SECRET)
    assert (code, out.count("\n"), errors) == (0, 1, "")
    with house.client("carol", "operator", bearer=out.strip()) as carol:
        welcome = carol.welcome()
        assert (welcome["user"], welcome["access"]) == ("carol", "operator")


NOWHERE = "postgres://postgres@127.0.0.1:1/x"


@pytest.mark.parametrize(
    "arguments, environment, wanted",
    [(["serve", "--start-timeout", "1"], {"DATABASE_URL": NOWHERE, "JOBFEED_JWT_SECRET": wire.SECRET}, 69),
     (["check"], {"DATABASE_URL": NOWHERE, "JOBFEED_JWT_SECRET": wire.SECRET}, 69),
     (["install"], {"DATABASE_URL": NOWHERE}, 69),
     (["serve"], {"DATABASE_URL": "{installed}"}, 78),
     (["serve"], {"DATABASE_URL": "{empty}", "JOBFEED_JWT_SECRET": wire.SECRET}, 78),
     (["serve"], {"DATABASE_URL": "{app}", "JOBFEED_JWT_SECRET": wire.SECRET}, 78),
     (["serve", "--start-timeout", "2"], {"DATABASE_URL": "{installed}_not_there", "JOBFEED_JWT_SECRET": wire.SECRET}, 78),
     (["check"], {"DATABASE_URL": "{installed}_not_there", "JOBFEED_JWT_SECRET": wire.SECRET}, 78),
     (["serve", "--config", "/nowhere.yml"], {"DATABASE_URL": "{installed}", "JOBFEED_JWT_SECRET": wire.SECRET}, 78),
     (["serve", "--jwt-secret-file", "/nowhere"], {"DATABASE_URL": "{installed}"}, 78),
     (["serve", "--jwt-algorithms", "none"], {"DATABASE_URL": "{installed}", "JOBFEED_JWT_SECRET": wire.SECRET}, 78),
     (["serve", "--log-level", "loud"], {"DATABASE_URL": "{installed}", "JOBFEED_JWT_SECRET": wire.SECRET}, 78),
     (["serve", "--heartbeat-seconds", "0"], {"DATABASE_URL": "{installed}", "JOBFEED_JWT_SECRET": wire.SECRET}, 78),
     (["serve", "--port", "{taken}"], {"DATABASE_URL": "{installed}", "JOBFEED_JWT_SECRET": wire.SECRET}, 69),
     (["serve", "--port", "many"], {}, 64),
     (["serve", "--prot", "1"], {}, 64),
     (["server"], {}, 64),
     (["token"], {"JOBFEED_JWT_SECRET": wire.SECRET}, 64),
     (["token", "--user", "a", "--ttl", "soon"], {"JOBFEED_JWT_SECRET": wire.SECRET}, 64),
     (["token", "--user", "a", "--access", "root"], {"JOBFEED_JWT_SECRET": wire.SECRET}, 64),
     (["token", "--user", "a"], {}, 78),
     (["token", "--user", "a"], {"JOBFEED_JWT_SECRET": "short"}, 78)],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None)
def test_exit_codes(house, postgres, arguments, environment, wanted):
    names = {"installed": house.database.dsn(), "app": house.database.dsn("app"), "empty": postgres.dsn("template1"),
             "taken": house.gateway.port}
    code, out, errors = server(*[text.format(**names) for text in arguments],
                               **{name: value.format(**names) for name, value in environment.items()})
    assert code == wanted, errors
    assert out == "" or arguments[0] == "check"
    assert errors.strip() and wire.SECRET not in errors
    assert "Fatal error" not in errors and len(errors) < 3000


# Ending and coming back


def loop(connection, job, times, pause=0.0):
    """The job runs in circles; returns what every watcher has to have seen."""
    assert times % 3 == 0
    seen = []
    for number in range(times):
        status = ("processing", "failed", "pending")[number % 3]
        connection.execute("update job set status = %s where id = %s", [status, job])
        seen.append(status)
        time.sleep(pause)
    return seen


def statuses(held):
    return [columns["status"] for op, _, _, columns in held.log if op == "update" and "status" in columns]


def test_sigterm_drains(installed, gateways):
    gateway = gateways(installed)
    clients = [gateway.client(f"user{number}") for number in range(10)]
    held = [client.subscribe() for client in clients]
    assert gateway.stop() == 0
    assert {client.closed() for client in clients} == {1001}
    assert all(subscription.cursor for subscription in held)
    assert installed.connect().execute("select count(*) from jobfeed.node").fetchone() == (0,)
    assert "error" not in gateway.stderr.lower()


def test_sigterm_with_a_client_that_does_not_leave(installed, gateways):
    gateway = gateways(installed, drain_seconds=2)
    client = gateway.client()
    client.subscribe()
    client.socket.protocol.receive_data = lambda data: None  # deaf: answers no close
    assert gateway.stop() == 0
    client.drop()


def test_killed_and_started_again(installed, gateways):
    writer = installed.connect()
    writer.execute("insert into thread (title, author) values ('t', 'alice'); insert into job (assigned_to, path) values (1, '/x')")
    gateway = gateways(installed)
    client = gateway.client()
    held = client.subscribe()
    wanted = []
    for _ in range(3):
        wanted += loop(writer, 1, 9)
        gateway.kill()
        client.thread.join(wire.PATIENCE)
        wanted += loop(writer, 1, 9)
        gateway.start()
        client = gateway.client()
        client.open(held, resume=held.cursor)
        assert held.answer["recovered"] is True
        wanted += loop(writer, 1, 9)
        client.wait(lambda: len(statuses(held)) >= len(wanted), "the transitions")
        assert statuses(held) == wanted
    client.close()


def test_rows_of_dead_nodes_are_removed(installed, gateways):
    writer = installed.connect()
    for _ in range(2):
        gateways(installed).kill()
    gateways(installed)
    stale = "select count(*) from jobfeed.node n where not exists (select from pg_stat_activity a where a.pid = n.pid)"
    deadline = time.monotonic() + wire.PATIENCE
    while writer.execute(stale).fetchone() != (0,):
        assert time.monotonic() < deadline, "rows of dead nodes stay"
        time.sleep(0.05)


@pytest.mark.parametrize("purpose", ["listen", "read", "snapshot", "%"])
def test_terminated_backends(house, purpose):
    user = house.user()
    job = house.job(house.thread(user))
    with house.client(user) as client:
        held, counts = client.subscribe(), client.subscribe("jobs#counts")
        wanted = []
        for _ in range(3):
            wanted += loop(house.writer, job, 6)
            house.run("select pg_terminate_backend(pid) from pg_stat_activity where application_name like %s"
                      " and datname = current_database()", f"jobfeed/%/{purpose}")
            wanted += loop(house.writer, job, 6)
            # Also who comes now is served.
            late = client.subscribe()
            assert late.error is None, late.error
            client.wait(lambda: len(statuses(held)) >= len(wanted), "the transitions")
        assert statuses(held) == wanted
        assert held.resets == [] and len(counts.counts) >= 1
        client.wait(lambda: counts.counts[wanted[-1]] == 1, "the counts")


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgres_restarts(breakable, gateways, mode):
    def connect():
        return psycopg.connect(breakable.dsn(), autocommit=True)

    with connect() as writer:
        thread = writer.execute("insert into thread (title, author) values ('t', %s) returning id", [mode]).fetchone()[0]
        job = writer.execute("insert into job (assigned_to, path) values (%s, '/x') returning id", [thread]).fetchone()[0]
    gateway = gateways(breakable.dsn(), heartbeat_seconds=1)
    with gateway.client(mode) as client:
        held, counts = client.subscribe(), client.subscribe("jobs#counts")
        with connect() as writer:
            wanted = loop(writer, job, 9)
        breakable.stop(mode)
        try:
            deadline = time.monotonic() + wire.PATIENCE
            while gateway.get("/readyz")[0] == 200:
                assert time.monotonic() < deadline, "ready without a database"
                time.sleep(0.05)
            assert gateway.get("/healthz")[0] == 200
            answer = client.subscribe()
            assert answer.error["code"] == "unavailable" and answer.error["retry"] is True
        finally:
            breakable.start()
        with connect() as writer:
            wanted += loop(writer, job, 9)
            if mode == "immediate":
                # A crash begins a new epoch: what came before the reset is not told step by step.
                client.wait(lambda: held.resets == counts.resets == ["epoch"] and held.state == counts.state == "live"
                            and held.rows[str(job)]["status"] == wanted[-1], "the reset")
                held.log.clear()
                wanted = []
            client.wait(lambda: len(statuses(held)) >= len(wanted), "the transitions")
            gateway.wait_ready()
            wanted += loop(writer, job, 9)
            client.wait(lambda: len(statuses(held)) >= len(wanted), "the transitions")
        assert statuses(held) == wanted
        assert held.resets == ([] if mode == "fast" else ["epoch"])
        assert {s: n for s, n in counts.counts.items() if n} == {wanted[-1]: 1}
        assert list(client.subscribe().rows) == [str(job)]
    assert "password" not in gateway.stderr


def test_secrets(installed, gateways, tmp_path):
    """Neither in the process list nor in what is logged, also when things go wrong."""
    url = installed.dsn().replace("postgres@", "postgres:correct-horse@")
    gateway = gateways(url, log_level="trace")
    arguments = open(f"/proc/{gateway.process.pid}/cmdline", "rb").read().decode()
    bearer = wire.token("mallory")
    with gateway.client("mallory", bearer=bearer) as client:
        client.subscribe()
        client.ask({"type": "authenticate", "id": "x", "token": bearer + "x"}, "error")
    with gateway.client("mallory", by="protocol", bearer=bearer) as client:
        client.subscribe("jobs", resume="x")
        writer = installed.connect()
        writer.execute("insert into thread (title, author) values ('t', 'mallory')")
        writer.execute("insert into job (assigned_to, path, payload) values (1, '/x', '{\"secret\": \"of-the-job\"}')")
        writer.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'jobfeed/%'"
                       " and datname = current_database()")
        client.wait(lambda: client.subscriptions["s0"].rows, "the row")
    titles = installed.connect().execute("select string_agg(query, ' ') from pg_stat_activity").fetchone()[0]
    for secret in ("correct-horse", wire.SECRET, bearer, "of-the-job"):
        assert secret not in gateway.stderr and secret not in arguments and secret not in titles, secret[:20]
