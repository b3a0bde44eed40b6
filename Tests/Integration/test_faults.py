"""Faults of every part while a writer goes on committing: nothing is lost and nothing comes twice."""

import asyncio
import contextlib
import datetime
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import tempfile
import time

import psycopg
import pytest
import websockets.asyncio.client
import websockets.exceptions
import wire
from conftest import SERVER, Postgres, binaries, free_port, install, private_cluster
from faults import Proxy, Watcher, Writer, compare, must
from oracle import settles, visible


def through(proxy, database):
    """The database as the gateway reaches it; the proxy reads the first packet, so that has to be in the clear."""
    return (f"postgresql://postgres@127.0.0.1:{proxy.port}/{database.name}"
            "?connect_timeout=2&sslmode=disable&gssencmode=disable")


class Scene:
    """A writer and those who watch it."""

    def __init__(self, connect, user="alice"):
        self.connect, self.user = connect, user
        self.writer = Writer(connect, user)
        self.watchers = []

    def watch(self, urls, user=None, access="account", **options):
        watcher = Watcher(urls, user or self.user, access, **options).start()
        self.watchers.append(watcher)
        return watcher.live()

    def write(self):
        self.writer.start()
        self.writer.goes_on()

    def ends_well(self, unbroken=True):
        """Everything arrived once and in order, and everybody holds what row-level security says."""
        written = self.writer.stop()
        with self.connect() as connection:
            for watcher in self.watchers:
                watcher.has_all(written)
                watcher.live()
                if unbroken:
                    watcher.is_unbroken()
                settles(watcher.client, watcher.subscription,
                        lambda: visible(connection, watcher.user, watcher.access))

    def close(self):
        self.writer.stopping.set()
        for watcher in self.watchers:
            watcher.stopping.set()
        for watcher in self.watchers:
            watcher.thread.join(wire.PATIENCE)
        if self.writer.thread.ident:
            self.writer.thread.join(wire.PATIENCE)


@contextlib.contextmanager
def scene(connect, user="alice"):
    made = Scene(connect, user)
    try:
        yield made
    finally:
        made.close()


def connector(dsn):
    return lambda: psycopg.connect(dsn, autocommit=True, connect_timeout=5)


# The network between gateway and Postgres


@pytest.mark.parametrize(
    "purpose, late", [("", True), ("", False), ("listen", True), ("read", True), ("snapshot", False)])
def test_postgres_falls_silent(installed, gateways, purpose, late):
    """The network takes everything and brings nothing: only a limit of our own tells."""
    with Proxy(installed.postgres.port) as proxy, scene(connector(installed.dsn())) as stage:
        gateway = gateways(through(proxy, installed), database_response_seconds=1, pool_size=1)
        stage.watch(gateway.url)
        stage.watch(gateway.url, "root", "operator")
        stage.write()
        proxy.stall(purpose)
        if purpose == "snapshot":
            with gateway.client(stage.user) as client:
                held = client.subscribe()
                assert held.error["code"] == "unavailable" and held.error["retry"] is True, held.error
        else:
            must(lambda: gateway.get("/readyz")[0] == 503, "the gateway to notice")
            assert "no answer within 1.0 seconds" in gateway.stderr
        stage.writer.goes_on()
        proxy.heal(late)
        gateway.wait_ready()
        stage.writer.goes_on()
        stage.watch(gateway.url).stop()
        stage.watchers.pop()
        stage.ends_well()


@pytest.mark.parametrize("way", ["up", "down"])
def test_postgres_is_heard_or_hears_only(installed, gateways, way):
    with Proxy(installed.postgres.port) as proxy, scene(connector(installed.dsn())) as stage:
        gateway = gateways(through(proxy, installed), database_response_seconds=1)
        stage.watch(gateway.url)
        stage.write()
        proxy.stall(ways=(way,))
        must(lambda: gateway.get("/readyz")[0] == 503, "the gateway to notice")
        proxy.heal(late=False)
        stage.writer.goes_on()
        stage.ends_well()


def test_postgres_is_cut_off_again_and_again(installed, gateways):
    with Proxy(installed.postgres.port) as proxy, scene(connector(installed.dsn())) as stage:
        gateway = gateways(through(proxy, installed))
        stage.watch(gateway.url, channels=("jobs", "jobs#counts"))
        stage.write()
        for _ in range(4):
            proxy.cut()
            stage.writer.goes_on(30)
        proxy.call(proxy.change(delay=0.05))
        stage.writer.goes_on(30)
        proxy.heal()
        stage.ends_well()


def test_sigterm_while_the_database_is_silent(installed, gateways):
    """The end does not wait for an answer that does not come."""
    with Proxy(installed.postgres.port) as proxy:
        gateway = gateways(through(proxy, installed), drain_seconds=2)
        proxy.stall("read")
        installed.connect().execute("insert into thread (title, author) values ('t', 'alice');"
                                    "insert into job (assigned_to, path) values (1, '/x')")
        must(lambda: proxy.held, "the reader to ask")
        started = time.monotonic()
        assert gateway.stop() == 0
        print(f"stopped with a silent database in {time.monotonic() - started:.1f} s")


def test_sigterm_before_the_database_answers(installed):
    with Proxy(installed.postgres.port) as proxy:
        proxy.stall()
        environment = {**os.environ, "DATABASE_URL": through(proxy, installed), "JOBFEED_JWT_SECRET": wire.SECRET}
        process = subprocess.Popen([SERVER, "serve", "--port", "0", "--start-timeout", "60"], env=environment,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        must(lambda: proxy.accepted, "the first session")
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=wire.PATIENCE)
        assert (process.returncode, out) == (0, ""), errors


# The network between client and gateway


def test_clients_are_cut_off_and_stalled(installed, gateways):
    gateway = gateways(installed, ping_seconds=1)
    with Proxy(gateway.port) as proxy, scene(connector(installed.dsn())) as stage:
        near = stage.watch(gateway.url)
        far = stage.watch(f"http://127.0.0.1:{proxy.port}", channels=("jobs", "jobs#counts"))
        stage.write()
        for _ in range(3):
            proxy.cut()
            stage.writer.goes_on(30)
        far.live()
        proxy.stall()
        # Nobody answers the pings behind the stall; who can be reached does not notice.
        must(lambda: gateway.get("/healthz")[0] == 200 and len(proxy.links) > 0, "the gateway")
        stage.writer.goes_on(300)
        proxy.heal()
        stage.ends_well()
        assert near.codes == [] and 1006 in far.codes
        assert 4002 in far.codes, far.codes


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_half_open_client_is_closed(installed, gateways, way):
    """It hears and is not heard, or the other way round: the pong is missing."""
    gateway = gateways(installed, ping_seconds=1)
    with Proxy(gateway.port) as proxy, scene(connector(installed.dsn())) as stage:
        far = stage.watch(f"http://127.0.0.1:{proxy.port}")
        stage.write()
        proxy.stall(ways=(way,))
        if way == "up":
            must(lambda: 4002 in far.codes, "the client to be told")
        else:
            must(lambda: gateway.process.poll() is None and stage.writer.count > 400, "some time")
        proxy.heal()
        stage.ends_well()
        assert 4002 in far.codes, far.codes


# The clock of the machine


class Clock:
    """The wall clock of all processes that are started while it is the machine's."""

    def __init__(self, directory, monkeypatch):
        library, self.file = directory / "clock.so", directory / "offset"
        source = pathlib.Path(__file__).with_name("clock.c")
        compiler = shutil.which("cc") or shutil.which("clang")
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
        self.file.write_bytes(bytes(8))
        # PostgreSQL runs under another account.
        for path in (directory, *directory.parents[:2]):
            path.chmod(0o755)
        monkeypatch.setenv("LD_PRELOAD", str(library))
        monkeypatch.setenv("CLOCK_OFFSET", str(self.file))

    def set(self, seconds):
        with open(self.file, "r+b") as file:
            file.write(struct.pack("q", seconds))


def heartbeat_time(client):
    """The time on the server as the next heartbeat says it, less the time here, in seconds."""
    seen = len(client.frames)

    def beats():
        return [frame for frame in client.frames[seen:] if frame["type"] == "heartbeat"]

    client.wait(beats, "a heartbeat")
    then = datetime.datetime.fromisoformat(beats()[0]["as_of"].replace("Z", "+00:00"))
    return then.timestamp() - time.time()


def test_the_clock_jumps(tmp_path, monkeypatch, gateways):
    """Nothing that counts time stops or runs wild: reads, heartbeats, drops of the log; only tokens go by the clock."""
    clock = Clock(tmp_path, monkeypatch)
    with private_cluster() as cluster:
        install(cluster.dsn())
        owner = psycopg.connect(cluster.dsn(), autocommit=True)
        with scene(connector(cluster.dsn())) as stage:
            gateway = gateways(cluster.dsn(), heartbeat_seconds=1)
            stage.watch(gateway.url)
            stage.watch(gateway.url, "root", "operator")
            stage.write()
            # Who has no jobs hears heartbeats only.
            idle = gateway.client("idle")
            short = gateway.client("short", bearer=wire.token("short", ttl=1000))
            with idle, short:
                idle.subscribe()
                short.subscribe()
                for hours in (0.5, -24, 0):
                    clock.set(int(hours * 3600))
                    must(lambda: abs(heartbeat_time(idle) - hours * 3600) < 60, "the new time")
                    stage.writer.goes_on(20)
                    if hours > 0:
                        assert short.closed() == 4001
                    # Slots that were sealed tomorrow must not stay until then.
                    outcomes = []

                    def is_emptied():
                        rotated = owner.execute("select outcome from jobfeed.rotate('1 day', 1, '1 s', '1 s')")
                        outcomes.append(rotated.fetchone()[0])
                        stage.writer.goes_on(3)
                        return outcomes.count("emptied") >= 2

                    must(is_emptied, "two slots to be emptied")
            stage.ends_well()
        owner.close()


# Nodes


def test_nodes_are_killed(installed, gateways):
    nodes = [gateways(installed), gateways(installed)]
    urls = [node.url for node in nodes]
    with scene(connector(installed.dsn())) as stage:
        stage.watch(urls, channels=("jobs", "jobs#counts"))
        stage.watch(urls[::-1], "root", "operator")
        stage.write()
        for node in nodes * 2:
            node.kill()
            stage.writer.goes_on()
            node.start()
            stage.writer.goes_on()
        stage.ends_well()
        assert all(watcher.answers for watcher in stage.watchers)


@pytest.mark.parametrize("purpose", ["listen", "read", "snapshot", "%"])
def test_backends_are_terminated(installed, gateways, purpose):
    with scene(connector(installed.dsn())) as stage:
        stage.watch(gateways(installed).url, channels=("jobs", "jobs#counts"))
        stage.write()
        killer = installed.connect()
        for _ in range(4):
            killer.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name like %s"
                           " and datname = current_database()", [f"jobfeed/%/{purpose}"])
            stage.writer.goes_on()
        stage.ends_well()
        assert stage.watchers[0].codes == []


CROWD = 1000


class Crowd:
    """Many light clients in one event loop."""

    def __init__(self, size):
        self.cursors = [None] * size
        self.codes = []
        self.closed_at = []
        self.recovered = []
        self.seen = [[] for _ in range(size)]
        self.bearer = wire.token("alice")

    async def one(self, number, url, until):
        async with websockets.asyncio.client.connect(
            url.replace("http", "ws", 1) + "/v1/feed", additional_headers={"Authorization": "Bearer " + self.bearer},
            subprotocols=["jobfeed.v1"], compression=None, ping_interval=None, open_timeout=60, proxy=None,
        ) as socket:
            command = {"type": "subscribe", "id": "s", "channel": "jobs", "snapshot": False}
            if self.cursors[number]:
                command["resume"] = self.cursors[number]
            await socket.send(json.dumps(command))
            try:
                async for message in socket:
                    frame = json.loads(message)
                    if frame["type"] == "subscribed" and "resume" in command:
                        self.recovered.append(frame["recovered"])
                    for change in frame.get("changes", []):
                        if "status" in change.get("set", {}):
                            self.seen[number].append((change["key"], change["set"]["status"]))
                    if "cursor" in frame and frame["type"] in ("live", "changes"):
                        self.cursors[number] = frame["cursor"]
                    if until(number, frame):
                        return
            except websockets.exceptions.ConnectionClosed:
                pass
            self.codes.append(socket.close_code)
            self.closed_at.append(time.monotonic())

    async def all(self, url, until, ready=None):
        # Not all in one instant: the backlog of a listening socket is bounded.
        gate = asyncio.Semaphore(100)
        live = set()

        async def one(number):
            def watch(number, frame):
                if frame["type"] == "live":
                    live.add(number)
                    gate.release()
                    if len(live) == len(self.cursors) and ready:
                        ready()
                return number in live and until(number)

            await gate.acquire()
            await self.one(number, url, watch)

        async with asyncio.timeout(3 * wire.PATIENCE):
            await asyncio.gather(*(one(number) for number in range(len(self.cursors))))


def test_sigterm_drains_a_thousand_clients(installed, gateways):
    first, second = gateways(installed, drain_seconds=20), gateways(installed)
    with scene(connector(installed.dsn())) as stage:
        crowd = Crowd(CROWD)
        stopping = []

        def stop():
            stage.writer.pause = 0.03
            stage.writer.start()
            first.process.send_signal(signal.SIGTERM)
            stopping.append(time.monotonic())

        asyncio.run(crowd.all(first.url, lambda number: False, ready=stop))
        assert first.process.wait(wire.PATIENCE) == 0
        assert crowd.codes == [1001] * CROWD
        spread = max(crowd.closed_at) - min(crowd.closed_at)
        # A window, not a moment: those who were told later have seen more of what was written meanwhile.
        assert len({len(seen) for seen in crowd.seen}) > 2
        stage.writer.goes_on(5)
        written = stage.writer.stop()
        started = time.monotonic()

        def complete(number):
            return len(crowd.seen[number]) >= stage.writer.count

        asyncio.run(crowd.all(second.url, complete))
        resumed = time.monotonic() - started
        print(f"{CROWD} clients: told to leave within {spread:.2f} s, resumed on another node in {resumed:.2f} s")
        assert crowd.recovered == [True] * CROWD
        for seen in crowd.seen:
            for job, history in written.items():
                assert [status for key, status in seen if key == job] == history


# The whole server


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgres_goes_and_comes_back(breakable, gateways, mode):
    gateway = gateways(breakable.dsn())
    with scene(connector(breakable.dsn()), mode) as stage:
        stage.watch(gateway.url, channels=("jobs", "jobs#counts"))
        stage.watch(gateway.url, "root", "operator")
        stage.write()
        for _ in range(2):
            breakable.stop(mode)
            must(lambda: gateway.get("/readyz")[0] == 503, "the gateway to notice")
            # Several attempts to connect fail.
            must(lambda: gateway.stderr.count("retry_in=0.8") > 0, "attempts")
            breakable.start()
            started = time.monotonic()
            gateway.wait_ready()
            print(f"{mode} stop: live again {time.monotonic() - started:.2f} s after Postgres was")
            stage.writer.goes_on()
        if mode == "fast":
            stage.ends_well()
        else:
            # A crash gives out transaction ids again that cursors count as seen, so everybody starts anew.
            stage.writer.stop()
            with psycopg.connect(breakable.dsn(), autocommit=True) as connection:
                for watcher in stage.watchers:
                    watcher.live()
                    assert set(watcher.subscription.resets) == {"epoch"}
                    settles(watcher.client, watcher.subscription,
                            lambda: visible(connection, watcher.user, watcher.access))
        assert stage.watchers[0].codes == []
        assert stage.writer.errors, "the writer noticed nothing"


def test_transaction_ids_that_a_crash_gives_out_again(breakable, gateways):
    """An abort is not flushed: a snapshot has seen its id, and after the crash somebody else commits under it."""
    with psycopg.connect(breakable.dsn(), autocommit=True) as writer:
        thread = writer.execute("insert into thread (title, author) values ('t', 'xid') returning id").fetchone()[0]
        insert = "insert into job (assigned_to, path) values (%s, '/x') returning id"
        job = writer.execute(insert, [thread]).fetchone()[0]
        gateway = gateways(breakable.dsn())
        flusher = writer.execute("select pid from pg_stat_activity where backend_type = 'walwriter'").fetchone()[0]
        os.kill(flusher, signal.SIGSTOP)
        for _ in range(50):
            with writer.transaction(force_rollback=True):
                writer.execute("select pg_current_xact_id()")
        with gateway.client("xid") as client:
            held = client.subscribe()
        before = writer.execute("select pg_snapshot_xmax(pg_current_snapshot())::text::bigint").fetchone()[0]
        breakable.stop("immediate")
    breakable.start()
    with psycopg.connect(breakable.dsn(), autocommit=True) as writer:
        after = writer.execute("select pg_snapshot_xmax(pg_current_snapshot())::text::bigint").fetchone()[0]
        assert after < before, "the ids were flushed after all"
        writer.execute("update job set status = 'processing' where id = %s", [job])
        # A snapshot that has not got as far as the cursor is refused; soon they all have.
        for _ in range(before - after):
            writer.execute("select pg_current_xact_id()")
        gateway.wait_ready()
        with gateway.client("xid") as client:
            client.open(held, resume=held.cursor)
            assert held.answer["reason"] == "epoch"
            settles(client, held, lambda: visible(writer, "xid"), timeout=5)


def copy_of(cluster, directory):
    """A cluster restored from a base backup of a running one, promoted: another timeline."""
    copy = Postgres(directory, free_port())
    if os.geteuid() == 0:
        shutil.chown(directory, "postgres", "postgres")
    account = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    subprocess.run(
        [os.path.join(binaries(), "pg_basebackup"), "-D", os.path.join(directory, "data"), "-R", "-X", "stream",
         "-c", "fast", "-N", "-d", cluster.dsn()], check=True, cwd=directory, **account)
    copy.start()
    return copy


@pytest.fixture
def whole():
    """A cluster of its own: a base backup of one that has crashed without fsync may not start."""
    with private_cluster() as cluster:
        install(cluster.dsn())
        yield cluster


def test_failover_to_a_copy(whole, gateways):
    """What the old primary committed after the promotion is lost; cursors of that future are refused."""
    directory = tempfile.mkdtemp(prefix="jobfeed-test-")
    copy = None
    try:
        with Proxy(whole.port) as proxy, scene(connector(whole.dsn()), "failover") as stage:
            url = f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres?sslmode=disable&gssencmode=disable"
            gateway = gateways(url)
            watcher = stage.watch(gateway.url)
            absent = stage.watch(gateway.url)
            stage.write()
            copy = copy_of(whole, directory)
            # The copy stops following, while the old primary commits on.
            copy.execute("select pg_promote()")
            stage.writer.goes_on()
            written = stage.writer.stop()
            watcher.has_all(written)
            absent.has_all(written)
            absent.stopping.set()
            absent.thread.join(wire.PATIENCE)
            before = {subscription.subscription.cursor for subscription in (watcher, absent)}
            proxy.call(proxy.change(target=copy.port))
            whole.stop("immediate")
            with psycopg.connect(copy.dsn(), autocommit=True) as connection:
                must(lambda: watcher.subscription.resets == ["epoch"], "the reset")
                watcher.live()
                settles(watcher.client, watcher.subscription, lambda: visible(connection, "failover"))
                with gateway.client("failover") as client:
                    client.open(absent.subscription, resume=absent.subscription.cursor)
                    assert absent.subscription.answer == {
                        "type": "subscribed", "id": "s0", "recovered": False, "reason": "epoch"}
                    settles(client, absent.subscription, lambda: visible(connection, "failover"))
                    # Life goes on.
                    more = Writer(lambda: psycopg.connect(copy.dsn(), autocommit=True), "failover").start()
                    more.goes_on()
                    written = more.stop()
                    must(lambda: all(watcher.statuses().get(job) == history for job, history in written.items()),
                         "the rest")
                assert watcher.subscription.cursor not in before
            watcher.stop()
    finally:
        whole.start()
        if copy is not None:
            copy.stop("immediate")
        shutil.rmtree(directory, ignore_errors=True)


# Transactions and tables


def test_a_long_transaction_delays_nobody(installed, gateways):
    """Held open from before the first change until after the last one of the others."""
    long = installed.connect(autocommit=False)
    with scene(connector(installed.dsn())) as stage:
        url = gateways(installed).url
        watcher = stage.watch(url)
        root = stage.watch(url, "root", "operator")
        own = long.execute("insert into job (assigned_to, path) values (%s, '/long') returning id",
                           [stage.writer.thread_id]).fetchone()[0]
        long.execute("update job set status = 'processing' where id = %s", [own])
        stage.write()
        stage.writer.goes_on(100)
        written = stage.writer.stop()
        # All of theirs came while it was open, none of its own.
        watcher.has_all(written)
        root.has_all(written)
        assert str(own) not in watcher.subscription.rows
        long.execute("update job set status = 'success' where id = %s", [own])
        long.commit()
        must(lambda: watcher.statuses().get(str(own)) and watcher.statuses()[str(own)][-1] == "success", "its own")
        ops = [(op, columns.get("status")) for op, key, _, columns in watcher.subscription.log if key == str(own)]
        assert ops == [("enter", "pending"), ("update", "processing"), ("update", "success")]
        written[str(own)] = ["processing", "success"]
        stage.ends_well()


def test_delay_by_a_long_transaction_is_measured(installed, gateways):
    """Printed, not judged: how long a change takes to arrive, without and with a transaction that is held open."""
    url = gateways(installed).url
    with scene(connector(installed.dsn())) as stage:
        watcher = stage.watch(url)
        job = stage.writer.jobs[0]
        connection = installed.connect()

        def delays(count=40):
            taken = []
            for number in range(count):
                seen = len(watcher.subscription.log)
                started = time.monotonic()
                connection.execute("update job set retries = retries + 1 where id = %s", [job])
                with watcher.client.changed:
                    watcher.client.changed.wait_for(lambda: len(watcher.subscription.log) > seen, wire.PATIENCE)
                taken.append(time.monotonic() - started)
            return sorted(taken)

        without = delays()
        long = installed.connect(autocommit=False)
        long.execute("insert into job (assigned_to, path) values (%s, '/long')", [stage.writer.thread_id])
        within = delays()
        long.rollback()
        for name, taken in (("without", without), ("with", within)):
            print(f"{name} a long transaction: median {taken[20] * 1000:.1f} ms, slowest {taken[-1] * 1000:.1f} ms")


def waits_for_a_lock(connection, purpose):
    return connection.execute(
        "select exists (select from pg_stat_activity where application_name like %s and wait_event_type = 'Lock'"
        " and datname = current_database())", [f"jobfeed/%/{purpose}"]).fetchone()[0]


@pytest.mark.parametrize("table, column", [("thread", "title"), ("job", "path")])
def test_a_table_is_rewritten_under_a_step(installed, gateways, table, column):
    """A snapshot from before the rewrite sees the new file as empty; nobody's rows leave because of that."""
    alter, look = installed.connect(autocommit=False), installed.connect()
    with scene(connector(installed.dsn())) as stage:
        watcher = stage.watch(gateways(installed).url)
        root = stage.watch(next(watcher.urls), "root", "operator")
        stage.write()
        for _ in range(3):
            alter.execute(f"alter table {table} alter column {column} type text using {column} || ''")
            if table == "thread":
                # Somebody who writes a job looks at no thread, so the reader's step is under way now.
                must(lambda: waits_for_a_lock(look, "read"), "the reader to wait for the table")
            alter.commit()
            stage.writer.goes_on()
        if table == "thread":
            stage.ends_well()
        else:
            written = stage.writer.stop()
            for viewer in (watcher, root):
                must(lambda: held_numbers(viewer) == counted(written), "the last")
        for viewer in (watcher, root):
            assert [entry for entry in viewer.subscription.log if entry[0] == "leave"] == []


def counted(written):
    return {job: len(history) for job, history in written.items()}


def held_numbers(watcher):
    return {key: row["retries"] for key, row in watcher.subscription.rows.items()}


@pytest.mark.parametrize("change", ["add extra int", "rename column delay to wait", "drop column delay"])
def test_the_table_is_altered_while_jobs_run(installed, gateways, change):
    with scene(connector(installed.dsn())) as stage:
        watcher = stage.watch(gateways(installed).url, channels=("jobs", "jobs#counts"))
        stage.write()
        installed.connect().execute(f"alter table job {change}")
        stage.writer.goes_on()
        must(lambda: watcher.subscription.resets, "the reset")
        stage.writer.goes_on()
        written = stage.writer.stop()
        must(lambda: held_numbers(watcher) == counted(written), "the last")
        assert set(watcher.subscription.resets) == {"schema"} and watcher.codes == []
        settles(watcher.client, watcher.subscription, lambda: visible(installed.connect(), stage.user))
        # What came after the reset came in order; nothing before it came twice.
        for job, seen in watcher.statuses().items():
            assert is_part_of(seen, written[job]), compare(watcher.statuses(), written)


def is_part_of(seen, written):
    """Whether it is what was written, in order, without what a snapshot stood for."""
    rest = iter(written)
    return all(status in rest for status in seen)


def test_the_feed_is_detached_and_attached_again(installed, gateways):
    owner = installed.connect()
    with scene(connector(installed.dsn())) as stage:
        gateway = gateways(installed)
        with gateway.client(stage.user) as client:
            held = client.subscribe()
            stage.write()
            owner.execute("select jobfeed.detach('jobs')")
            client.wait(lambda: held.state == "closed", "the end of the feed")
            assert held.error["code"] == "unknown_feed"
            cursor = held.cursor
            stage.writer.goes_on()
            owner.execute("select jobfeed.attach('jobs', 'public.job', status => 'status',"
                          " owner => 'assigned_to.author', hidden => '{errors}', quiet => '{updated_at}',"
                          " gauges => '{progress}')")
            again = client.subscribe(resume=cursor)
            # What was written in between is in no log.
            assert again.answer["recovered"] is False, again.answer
            assert again.answer["reason"] in ("retention", "schema"), again.answer
            stage.writer.goes_on()
            stage.writer.stop()
            settles(client, again, lambda: visible(owner, stage.user))
        assert gateway.get("/readyz")[0] == 200


def test_the_log_is_rotated_under_a_sleeping_client(installed, gateways):
    owner = installed.connect()
    with scene(connector(installed.dsn())) as stage:
        gateway = gateways(installed)
        watcher = stage.watch(gateway.url)
        asleep = stage.watch(gateway.url)
        stage.write()
        asleep.stop()
        stage.watchers.remove(asleep)
        outcomes = []

        def is_emptied():
            outcomes.append(owner.execute("select outcome from jobfeed.rotate('1 day', 1, '1 s', '0')").fetchone()[0])
            stage.writer.goes_on(3)
            return outcomes.count("emptied") >= 2

        must(is_emptied, "two slots to be emptied")
        # The first node may still remember; one that starts now has only the log.
        with gateways(installed).client(stage.user) as client:
            client.open(asleep.subscription, resume=asleep.subscription.cursor)
            assert asleep.subscription.answer["recovered"] is False, outcomes
            assert asleep.subscription.answer["reason"] == "retention"
            # Who was awake has noticed nothing.
            stage.ends_well()
            settles(client, asleep.subscription, lambda: visible(owner, stage.user))


def test_the_disk_of_the_log_is_full(breakable, gateways):
    """Writers are told; the gateway goes on when there is room again."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    directory = tempfile.mkdtemp(prefix="jobfeed-disk-", dir="/tmp")
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=777", "tmpfs", directory]
    mounted = subprocess.run(mount, capture_output=True)
    if mounted.returncode:
        os.rmdir(directory)
        pytest.skip(f"this machine mounts nothing: {mounted.stderr.decode().strip()}")
    space = os.path.join(directory, "space")
    os.mkdir(space)
    shutil.chown(space, "postgres", "postgres")
    ballast = os.path.join(directory, "ballast")
    tables = "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname = 'jobfeed'" \
             " and tablename ~ '^change_[0-9]+$'"

    def move(connection, tablespace):
        for (table,) in connection.execute(tables).fetchall():
            connection.execute(f"alter table {table} set tablespace {tablespace}")

    with psycopg.connect(breakable.dsn(), autocommit=True) as owner:
        try:
            owner.execute(f"create tablespace small location '{space}'")
            move(owner, "small")
            with scene(connector(breakable.dsn()), "disk") as stage:
                gateway = gateways(breakable.dsn())
                watcher = stage.watch(gateway.url)
                stage.write()
                with open(ballast, "wb") as file, contextlib.suppress(OSError):
                    while True:
                        file.write(b"x" * 65536)
                        file.flush()
                must(lambda: stage.writer.errors, "a writer to be refused")
                assert "No space left on device" in stage.writer.errors[0]
                # Reading needs no room.
                with gateway.client("disk") as client:
                    assert client.subscribe().state == "live"
                assert gateway.get("/readyz")[0] == 200
                os.unlink(ballast)
                stage.writer.goes_on()
                stage.ends_well()
                assert watcher.codes == []
        finally:
            with contextlib.suppress(OSError):
                os.unlink(ballast)
            move(owner, "pg_default")
            owner.execute("drop tablespace if exists small")
            subprocess.run(["umount", directory], check=False)
            os.rmdir(directory)
