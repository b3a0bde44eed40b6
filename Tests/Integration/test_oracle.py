"""Random writers against many watchers on two gateways: at every cursor each holds what row-level security lets it select.

JOBFEED_SEED               replays the choices of a run (the timing is never the same); the seed is in every failure
JOBFEED_ORACLE_SECONDS     how long to write; 15, and more on a busy machine
JOBFEED_ORACLE_SABOTAGE    1: also breaks the database in the ways of SABOTAGE and demands that the oracle notices
JOBFEED_MUTANT             a gateway built by scripts/sabotage.sh: demands that the oracle notices each of its faults
JOBFEED_ORACLE_PROGRESS    print a line every so many seconds
"""

import collections
import contextlib
import os
import random
import threading
import time

import conftest
import mutants
import pytest
import wire
from checker import Checker, Track
from oracle import difference, visible, without
from watch import Person, Recorded
from workload import OPERATORS, USERS, LongWriter, Writer, setup

SECONDS = float(os.environ.get("JOBFEED_ORACLE_SECONDS", 15))
PROGRESS = float(os.environ.get("JOBFEED_ORACLE_PROGRESS", 0))
WRITERS, LONG_WRITERS = 8, 2

VIEWS = [
    # channel, options of the subscription, the same in SQL; {job} is one of the user's jobs, {other} anybody's
    ("jobs:pending,processing", {}, "status in ('pending', 'processing')"),
    ("jobs:success", {}, "status = 'success'"),
    ("jobs", {"filter": "retries=gte.2"}, "retries >= 2"),
    ("jobs", {"filter": "path=like./a*&status=neq.failed"}, "path like '/a%' and status <> 'failed'"),
    ("jobs", {"filter": "payload->>kind=eq.x"}, "payload->>'kind' = 'x'"),
    ("jobs", {"filter": "assigned_to=not.is.null&timeout=is.null"}, "assigned_to is not null and timeout is null"),
    ("jobs", {"columns": ["progress"]}, "true"),
    ("jobs:failed,pending", {"columns": ["retries", "payload"], "filter": "max_retries=in.(3,4)"},
     "status in ('failed', 'pending') and max_retries in (3, 4)"),
    ("jobs", {"max_rate": 3}, "true"),
    ("jobs", {"max_rate": 1, "filter": "retries=lt.3"}, "retries < 3"),
    ("jobs", {"limit": 3}, "true"),
    ("jobs:pending", {"limit": 2}, "status = 'pending'"),
    ("jobs", {"snapshot": False}, "true"),
    ("jobs#counts", {}, "true"),
    ("jobs#counts", {"filter": "retries=lt.2"}, "retries < 2"),
    ("jobs/{job}", {}, "true"),
    ("jobs/{other}", {"columns": ["status"]}, "true"),
]
WHERES = sorted({where for _, _, where in VIEWS} - {"true"})


class Node:
    """A gateway and how often it was started."""

    def __init__(self, gateway):
        self.gateway, self.run, self.kills, self.slow_starts = gateway, 0, 0, 0
        self.starting = self.problem = None

    @property
    def url(self):
        return self.gateway.url

    def kill(self):
        """Comes back by itself."""
        self.gateway.kill()
        self.run += 1
        self.kills += 1
        self.starting = threading.Thread(target=self.start)
        self.starting.start()

    def start(self):
        for _ in range(3):
            try:
                self.gateway.start()
                return
            except AssertionError as problem:
                self.slow_starts += 1
                self.problem = problem

    @property
    def is_up(self):
        if self.starting and not self.starting.is_alive() and self.gateway.process.poll() is not None:
            raise self.problem
        return self.starting is None or not self.starting.is_alive()

    @property
    def resident_kilobytes(self):
        with contextlib.suppress(OSError), open(f"/proc/{self.gateway.process.pid}/status") as status:
            return next((int(line.split()[1]) for line in status if line.startswith("VmRSS")), 0)
        return 0


class Run:
    """The writers, the watchers, what befalls them, and the checker."""

    def __init__(self, subject, oracle, gateways, seed, report=print):
        self.seed = seed
        self.random = random.Random(f"{seed} run")
        self.subject = subject
        self.connection = subject.connect()
        self.connection.execute(
            "do $$ begin execute format('alter database %I set deadlock_timeout = 50', current_database()); end $$")
        self.nodes = [Node(gateway) for gateway in gateways]
        self.people, tracks = [], []
        self.checker = Checker(subject.connect(), oracle.connect(), self.people, WHERES, self.random, report)
        with self.connection.transaction():
            setup(self.connection)
        for number, name in enumerate(USERS + OPERATORS):
            access = "operator" if name in OPERATORS else "account"
            jobs = [row[0] for row in self.connection.execute(
                "select job.id from job join thread on thread.id = assigned_to where author = %s or %s order by 1",
                [name, access == "operator"]).fetchall()]
            names = {"job": self.random.choice(jobs), "other": self.random.randrange(1, 100)}
            views = [("jobs", {}, "true")] + [VIEWS[(number * 5 + n * 7) % len(VIEWS)] for n in range(3)]
            subscriptions = []
            person = Person(name, access, self.nodes, number, subscriptions)
            for n, (channel, options, where) in enumerate(views):
                limit = {} if "limit" in options or "snapshot" in options or "#" in channel else {"limit": 10000}
                subscription = Recorded(f"v{n}", channel.format(**names), **{**limit, **options})
                subscriptions.append(subscription)
                track = Track(person, subscription, None if where == "true" else WHERES.index(where))
                if limit:
                    track.limit, track.is_whole = None, where == "true" and "/" not in channel
                tracks.append((track, where))
            self.people.append(person)
        self.tracks = tracks
        self.checker.watch([track for track, _ in tracks])
        for person in self.people:
            assert person.connect()
        self.terminated = 0

    # Running

    def write(self, seconds):
        writers = [Writer(self.subject.dsn(), self.seed, n) for n in range(WRITERS)]
        writers += [LongWriter(self.subject.dsn(), self.seed, WRITERS + n) for n in range(LONG_WRITERS)]
        for writer in writers:
            writer.start()
        begun = time.monotonic()
        kills = [begun + seconds * part for part in (0.3, 0.65)] if seconds < 120 else [begun + 20]
        told = begun
        try:
            rounds = 0
            while not self.checker.violations:
                now = time.monotonic()
                # On a busy machine less is done in that time.
                if now >= begun + seconds and (self.is_enough(writers, seconds) or now >= begun + seconds + min(2 * seconds, 60)):
                    break
                self.chaos()
                if kills and now >= kills[0]:
                    kills.pop(0)
                    if self.kill() and seconds >= 120:
                        kills.append(now + 20 + self.random.random() * 40)
                rounds += 1
                if rounds % 3 == 0:
                    if rounds % 12 == 0:
                        self.checker.control()
                    self.checker.round(6)
                for writer in writers:
                    if writer.problem:
                        raise writer.problem
                if PROGRESS and now >= told + PROGRESS:
                    told = now
                    print(f"{now - begun:6.0f} s  {self}", flush=True)
        finally:
            for writer in writers:
                writer.is_over.set()
            for writer in writers:
                writer.join(wire.PATIENCE)
        self.done = sum((writer.done for writer in writers), collections.Counter())

    def sessions(self):
        """What the gateways do in the database, and whose subscriptions are not live."""
        waiting = [person.describe() for person in self.people if any(s.state != "live" for s in person.subscriptions)]
        activity = self.connection.execute(
            "select application_name, pid, state, wait_event_type, wait_event, now() - xact_start, now() - query_start,"
            " left(query, 200) from pg_stat_activity where datname = current_database()").fetchall()
        return "\n" + "\n".join(map(str, [*waiting, *activity]))

    def is_enough(self, writers, seconds):
        counted = self.checker.counted
        return (counted["checks"] > 80 * seconds and counted["transitions"] > 20 * seconds
                and sum(writer.done["commit"] for writer in writers) > 10 * seconds)

    def kill(self):
        node = self.random.choice(self.nodes)
        if all(each.is_up for each in self.nodes):
            node.kill()
        return True

    def chaos(self):
        time.sleep(self.random.random() * 0.15)
        if self.random.random() < 0.03:
            # A node loses its listener or its reader.
            self.terminated += self.connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
                " and application_name like %s", [f"jobfeed/%/{self.random.choice(['listen', 'read'])}"]).rowcount
        person = self.random.choice(self.people)
        if person.client is not None and self.random.random() < 0.6:
            if self.random.random() < 0.7:
                person.node = 1 - person.node
            person.leave(self.random.choice([0, 0, 0.3, 1.5]))
        for person in self.people:
            person.tend()

    def finish(self):
        """Waits until everybody has seen the last change, checks the rest, and compares with the tables themselves."""
        connection = self.connection
        connection.execute("update job set timeout = -1 where path = '/marker'")
        marker = connection.execute("select max(xid::text::bigint) from audit.history").fetchone()[0]
        self.checker.control()
        deadline = time.monotonic() + wire.PATIENCE * 2
        while True:
            for person in self.people:
                person.tend()
            self.checker.round(4)
            late = [track for track, _ in self.tracks if not track.has_seen(marker)]
            if self.checker.violations or not late:
                break
            assert time.monotonic() < deadline, (
                f"{len(late)} do not come on, such as {late[0]} at {late[0].order}: " + late[0].person.describe()
                + self.sessions())
            time.sleep(0.1)
        if self.checker.violations:
            return
        for track, where in self.tracks:
            person, subscription = track.person, track.subscription
            if track.limit is not None or subscription.is_counts:
                continue
            where += f" and id = {track.key}" if track.key else ""
            columns = ", ".join(dict.fromkeys(["id", "status", *track.columns])) if track.columns else "*"
            wanted = visible(connection, person.name, person.access, columns=columns, where=where, parse=wire.exact)
            wrong = difference(without(track.rows, "updated_at"), without(wanted, "updated_at"))
            assert not wrong, f"{track} in the end:\n{wrong}"
            self.checker.counted["checks"] += 1

    def __str__(self):
        counted = self.checker.counted
        log = self.connection.execute(
            "select sum(pg_total_relation_size(oid)) from pg_class where relnamespace = 'jobfeed'::regnamespace"
            " and relname ~ '^change' and relkind in ('r', 'p')").fetchone()[0]
        return (f"checks {counted['checks']} at {counted['cursors']} cursors ({counted['controls']} controls),"
                f" transitions {counted['transitions']}, values {counted['values']}, old replays {counted['unjudged']},"
                f" violations {len(self.checker.violations)}, resumes {sum(p.resumes for p in self.people)},"
                f" kills {sum(node.kills for node in self.nodes)} ({sum(node.slow_starts for node in self.nodes)} slow starts),"
                f" backends terminated {self.terminated},"
                f" log {log // 1024} KiB, RSS {[node.resident_kilobytes // 1024 for node in self.nodes]} MiB")

    def close(self):
        for person in self.people:
            person.close()
        for node in self.nodes:
            if node.starting:
                node.starting.join(wire.PATIENCE)


@contextlib.contextmanager
def oracle_database(installed):
    """Beside the one under test, with the same tables and policies."""
    with installed.postgres.fresh_database("installed_template") as database:
        yield database
        database.close()


def run(installed, gateways, seconds, sabotage=None):
    seed = os.environ.get("JOBFEED_SEED") or str(random.SystemRandom().randrange(10**9))
    print(f"JOBFEED_SEED={seed}", flush=True)
    with oracle_database(installed) as oracle:
        nodes = [gateways(installed, node=f"node-{n}", heartbeat_seconds=1, ring_bytes=8 << 20, start_timeout=60) for n in range(2)]
        started = Run(installed, oracle, nodes, seed)
        try:
            if sabotage:
                started.connection.execute(sabotage)
            started.write(seconds)
            started.finish()
            assert not started.checker.violations, started.checker.violations[0]
        except AssertionError as failure:
            raise AssertionError(f"JOBFEED_SEED={seed}: {failure}") from failure
        finally:
            started.close()
        print(f"seed {seed}: {started}; {dict(started.done)}")
    return started


def test_oracle(installed, gateways):
    result = run(installed, gateways, SECONDS)
    # A run that did little proves little.
    counted = result.checker.counted
    assert all(counted[what] for what in ("checks", "controls", "transitions", "values"))
    assert counted["checks"] > min(30 * SECONDS, 1000), counted
    assert sum(person.resumes for person in result.people) > 20
    assert sum(node.kills for node in result.nodes) > 0


SABOTAGE = {
    "the thread's trigger is gone": "do $$ declare t record; begin for t in select tgname from pg_trigger where tgrelid ="
    " 'thread'::regclass and tgname like 'jobfeed%' loop execute format('drop trigger %I on thread', t.tgname); end loop;"
    " end $$",
    "no before": "do $$ begin execute replace(pg_get_functiondef('jobfeed.capture_of_jobs'::regproc),"
    " 'else c.row end, c.before', 'else c.row end, ''{}''::jsonb'); end $$",
    "updates of progress are lost": "do $$ begin execute replace(pg_get_functiondef('jobfeed.capture_of_jobs'::regproc),"
    " '{updated_at}', '{updated_at,progress}'); end $$",
    "every 50th change is lost": "create function lose() returns trigger language plpgsql as $$ begin"
    " return case when new.seq % 50 = 0 then null else new end; end $$;"
    "create trigger lose before insert on jobfeed.change for each row execute function lose()",
    "every 50th change is logged twice": "create function twice() returns trigger language plpgsql as $$ begin"
    " if new.seq % 50 = 0 and new.op = 'U' and pg_trigger_depth() < 3 then insert into jobfeed.change (feed, op, key, row,"
    " before) values (new.feed, new.op, new.key, new.row, new.before); end if; return new; end $$;"
    "create trigger twice before insert on jobfeed.change for each row execute function twice()",
    "some transactions are logged under an older xid": "create function late() returns trigger language plpgsql as $$ begin"
    " if new.seq % 50 = 0 then new.xid := '3'; end if; return new; end $$;"
    "create trigger late before insert on jobfeed.change for each row execute function late()",
    "a writer bypasses the triggers": "alter table job disable trigger jobfeed_capture",
    "intermediate rows of another owner": "do $$ begin execute replace(pg_get_functiondef('jobfeed.capture_hop'::regproc),"
    " 'insert into jobfeed.change', 'link_before := link_before || ''{\"author\": \"user1\"}''; insert into jobfeed.change');"
    " end $$",
}


@pytest.mark.skipif(not os.environ.get("JOBFEED_ORACLE_SABOTAGE"), reason="set JOBFEED_ORACLE_SABOTAGE=1")
@pytest.mark.parametrize("sabotage", SABOTAGE)
def test_oracle_notices(installed, gateways, sabotage):
    with pytest.raises((AssertionError, wire.Violation)) as noticed:
        run(installed, gateways, 8, SABOTAGE[sabotage])
    print(sabotage, "->", str(noticed.value)[:300])


@pytest.mark.skipif(not os.environ.get("JOBFEED_MUTANT"), reason="set JOBFEED_MUTANT, or run scripts/sabotage.sh")
@pytest.mark.parametrize("mutation", mutants.MUTATIONS)
def test_oracle_notices_mutant(installed, gateways, monkeypatch, mutation):
    monkeypatch.setattr(conftest, "SERVER", os.environ["JOBFEED_MUTANT"])
    monkeypatch.setenv("JOBFEED_MUTATION", mutation)
    if mutation == "none":
        run(installed, gateways, 8)
        return
    with pytest.raises((AssertionError, wire.Violation)) as noticed:
        run(installed, gateways, 12, mutants.MUTATIONS[mutation])
    print(f"{mutation} -> {str(noticed.value)[:600]}")
