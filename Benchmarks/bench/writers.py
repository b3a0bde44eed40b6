"""Rows 7 and 8: what capturing the changes costs those who write."""

import contextlib
import time

import psycopg

from bench import cluster, fanout, gateways, jobfeed, load, process, writer
from bench.results import Metric, Row

JOBS = 10_000
CLIENTS = 64
BULK = 100_000
SCRIPT = rf"""\set id random(1, {JOBS})
update job set assignee = {jobfeed.STAMP} where id = :id;
"""


def prepare(dsn):
    """Jobs for the writers, and many more for the bulk."""
    jobfeed.install_with(
        dsn,
        "insert into thread (title, author) values ('t', 'somebody')",
        f"insert into job (assigned_to, path) select 1, '/x' from generate_series(1, {JOBS})",
        f"insert into job (assigned_to, path) select 1, '/bulk' from generate_series(1, {BULK})",
    )


def prepare_bare(dsn):
    """The same without any trigger of jobfeed."""
    prepare(dsn)
    gateways.remove_jobfeed(dsn)


def prepare_ringing(dsn):
    """The log row, and a notification in every commit, whether somebody sleeps or not."""
    prepare(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("create or replace function jobfeed.ring() returns void language sql"
                           " as $$ select pg_notify('jobfeed', '') $$")


def prepare_notifying(dsn):
    """No log; the change travels in the notification of every commit."""
    prepare_bare(dsn)
    gateways.add_notifications(dsn)


@contextlib.contextmanager
def bystander(kind, dsn):
    """Who receives the changes meanwhile: one socket that sees everything."""
    if kind is None:
        yield None
    elif kind is gateways.HandRolled:
        with kind(dsn) as server, load.Load(server, 1, [jobfeed.token("somebody")]) as crowd:
            crowd.open(1)
            yield crowd
    else:
        with kind(dsn) as server, load.Load(
                server, 1, fanout.operators(1), join=fanout.JOIN, reconnect=True) as crowd:
            crowd.open(1)
            yield crowd


def measure(context, row, postgres, subjects, bulk):
    seconds = max(context.seconds(10, 5), 3)
    for attempt in range(context.runs):
        context.say(f"row {row.number}, run {attempt + 1} of {context.runs}")
        for name, template, kind in subjects:
            if attempt > 0 and context.is_quick and name not in (row.baseline, jobfeed.Server.name):
                continue
            with postgres.database(template) as dsn, bystander(kind, dsn) as crowd:
                with writer.PGBench(dsn, SCRIPT, CLIENTS, seconds) as bench:
                    commits = bench.commits()
                figures = {"commits": commits / seconds}
                if crowd:
                    seen = received(crowd, commits)
                    figures["missing"] = commits - seen["received"]
                    if seen["lost"]:
                        row.note(f"{name}: the socket was closed and resumed; a replay is compacted")
                if bulk:
                    figures["bulk"] = bulk_update(dsn, context.count(BULK))
                row.add(name, **figures)
    return row


def received(crowd, expected):
    """What arrived, after as long as it goes on arriving."""
    before = -1
    while (seen := crowd.measure(1))["received"] < expected and seen["received"] > before:
        before = seen["received"]
    return seen


def bulk_update(dsn, count):
    """Seconds of one statement."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        started = time.monotonic()
        connection.execute("update job set assignee = 'w' where path = '/bulk' and id <= %s", [JOBS + count])
        return time.monotonic() - started


METRICS = [Metric("commits", "commits/s", 0), Metric("missing", "changes not delivered", 0)]


def slow_disk(context):
    row = Row(7, f"{CLIENTS} writers, a disk that syncs in 2 ms", METRICS, baseline="no trigger",
              reach="≥ 0.6 × no trigger, ≥ 12 × NOTIFY in every commit, every change delivered")
    if not process.compiler():
        row.note("not measured: no C compiler to make the slow disk with")
        return row
    library = process.compiled("slowdisk.c", "slowdisk.so", "-shared", "-fPIC")
    with cluster.running(preload=library, fsync="on") as postgres:
        return measure(context, row, postgres, [
            ("no trigger", prepare_bare, None), ("jobfeed", prepare, jobfeed.Server),
            ("log row and NOTIFY", prepare_ringing, jobfeed.Server),
        ], bulk=False)


def fast_disk(context):
    row = Row(8, f"{CLIENTS} writers, a fast disk; then one UPDATE of {BULK:,} rows",
              [*METRICS, Metric("bulk", "s bulk UPDATE")], baseline="no trigger",
              reach="≥ 0.65 × no trigger; bulk ≤ 2.5 × bare")
    row.note("the bulk is written while a gateway runs")
    return measure(context, row, context.cluster, [
        ("no trigger", prepare_bare, None), ("jobfeed", prepare, jobfeed.Server),
        ("the change in NOTIFY", prepare_notifying, gateways.HandRolled),
    ], bulk=True)
