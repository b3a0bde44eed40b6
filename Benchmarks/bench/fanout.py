"""Rows 1, 2, 3 and 9: one change to many sockets."""

import contextlib
import time

import psycopg

from bench import jobfeed, load, peers, writer
from bench.context import FAN_OUT_PEERS
from bench.results import Metric, Row

FRAME_BYTES = 200
UPDATE = f"update job set {jobfeed.CHANGE} where id = any(%s)"
JOBS = 32


def prepare(dsn):
    """Jobs that everybody watches; operators see all."""
    jobfeed.install(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("insert into thread (title, author) values ('t', 'somebody')")
        connection.execute("insert into job (assigned_to, path) select 1, '/x' from generate_series(1, %s)", [JOBS])


def operators(count):
    return [jobfeed.token(f"operator{number}", "operator") for number in range(count)]


JOIN = [jobfeed.subscribe(snapshot=False)]


def padding(context):
    """How many characters make a frame of one change as large as it shall be; 0 when it is larger anyway."""
    with context.cluster.database(prepare) as dsn, jobfeed.Server(dsn) as server:
        with load.Load(server, 1, operators(1), join=JOIN) as crowd:
            crowd.open(1)
            # One change in one frame, and nothing else.
            seen = {"deliveries": 0}
            while seen["deliveries"] != 1 or seen["frames"] != 1:
                crowd.begin()
                context.cluster.execute("update job set assignee = '~1000000000000000' where id = 1", dsn=dsn)
                time.sleep(0.2)
                seen = crowd.end()
                context.cluster.execute("update job set assignee = null where id = 1", dsn=dsn)
                time.sleep(0.2)
    empty = int(seen["bytes"]) - (4 if seen["bytes"] > 127 else 2)
    return max(FRAME_BYTES - empty, 0), max(FRAME_BYTES, empty)


def paced(number, sockets, rate, reach):
    """One change to all, evenly paced: the server's CPU time per delivery."""
    row = Row(number, f"one change to {sockets:,} sockets, about {FRAME_BYTES} bytes, {rate}/s",
              [Metric("cpu", "µs CPU per delivery"), Metric("p50", "ms p50"), Metric("p99", "ms p99"),
               Metric("bytes", "bytes per delivery", 0), Metric("load", "µs CPU of the load per delivery")],
              baseline="floor", reach=reach)

    def run(context):
        wanted = context.count(sockets)
        pad, size = padding(context)
        candidates = context.available(row, FAN_OUT_PEERS)
        seconds = context.seconds(8, 3)
        for attempt in range(context.runs):
            context.say(f"row {number}, run {attempt + 1} of {context.runs}")
            with context.cluster.database(prepare) as dsn, jobfeed.Server(dsn) as server:
                with load.Load(server, wanted, operators(min(wanted, 1000)), join=JOIN) as crowd:
                    crowd.open(wanted)
                    with writer.Writer(dsn, UPDATE, lambda n: (pad, [1 + n % JOBS]), rate=rate):
                        record(row, server.name, crowd, seconds)
            for peer in context.of_run(attempt, candidates):
                with context.forgiving(row, peer.name), peer() as server, \
                        load.Load(server, wanted, publish_bytes=size) as crowd:
                    crowd.open(wanted)
                    crowd.say(f"rate {rate}")
                    record(row, server.name, crowd, seconds)
        row.note(f"not measured: {', '.join(f'{name} ({why})' for name, why in peers.ABSENT.items())}")
        return row

    return run


def record(row, name, crowd, seconds):
    time.sleep(1)
    seen = crowd.measure(seconds)
    if seen["closed"]:
        row.note(f"{name}: {seen['closed']:.0f} sockets were closed")
    count = seen["deliveries"]
    if not count:
        raise RuntimeError(f"{name} delivered nothing")
    row.add(name, cpu=seen["cpu_s"] / count * 1e6, load=seen["load_cpu_s"] / count * 1e6,
            bytes=seen["bytes"] / count, p50=seen["p50_us"] / 1e3, p99=seen["p99_us"] / 1e3,
            per_second=count / seen["seconds"], per_frame=count / seen["frames"])


# Commits that are on their way at any time: one is written while another is delivered.
COMMITS_IN_FLIGHT = 2


def saturated(context):
    """Commits that change several rows each, as fast as it goes."""
    rows = []
    for changes in (8, 32):
        row = Row(3, f"1,000 sockets, commits of {changes} rows, as fast as it goes",
                  [Metric("per_second", "changes delivered/s", 0), Metric("cpu", "µs CPU per delivery"),
                   Metric("per_frame", "changes per frame", 1), Metric("p50", "ms p50"), Metric("p99", "ms p99")],
                  baseline="uWebSockets", reach="≥ uWebSockets")
        row.note(f"on their way at a time: {COMMITS_IN_FLIGHT} commits of {changes} rows; peers: {changes} messages")
        rows.append((changes, row))
    seconds, sockets = context.seconds(6, 3), context.count(1000)
    _, size = padding(context)
    for attempt in range(context.runs):
        context.say(f"row 3, run {attempt + 1} of {context.runs}")
        for changes, row in rows:
            candidates = context.available(row, [peers.Floor, peers.JoiningFloor, *FAN_OUT_PEERS[1:]])
            ids = list(range(1, changes + 1))
            with contextlib.ExitStack() as stack:
                dsn = stack.enter_context(context.cluster.database(prepare))
                server = stack.enter_context(jobfeed.Server(dsn))
                crowd = stack.enter_context(
                    load.Load(server, sockets, operators(sockets), credits_every=changes, join=JOIN))
                crowd.open(sockets)
                # Each change is as large as a peer's message.
                pad = size - len('{"op":"update","key":"10","set":{"assignee":"~1234567890123456"}},')
                with writer.Writer(dsn, UPDATE, lambda n: (pad, ids), 0, crowd.credits, COMMITS_IN_FLIGHT):
                    record(row, server.name, crowd, seconds)
                    crowd.process.stdin.close()
            for peer in context.of_run(attempt, candidates):
                with context.forgiving(row, peer.name), peer() as server, \
                        load.Load(server, sockets, publish_bytes=size) as crowd:
                    crowd.open(sockets)
                    crowd.say(f"window {changes}")
                    record(row, server.name, crowd, seconds)
    return [row for _, row in rows]
