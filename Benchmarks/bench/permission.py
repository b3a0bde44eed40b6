"""Row 6: what a change costs that one user sees, while more and more subscriptions of others are there."""

import psycopg

from bench import fanout, jobfeed, load, writer
from bench.results import Metric, Row

# Sockets and subscriptions on each; a process may have 20,000 descriptors.
LEVELS = [(1000, 1), (5000, 2), (8400, 6)]
LABELS = {1000: "1,000", 5000: "10,000", 8400: "50,000"}
RATE = 200


def prepare(dsn):
    """One job of the one who is watched."""
    jobfeed.install(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("insert into thread (title, author) values ('t', 'watched')")
        connection.execute("insert into job (assigned_to, path) values (1, '/x')")


def run(context):
    row = Row(6, f"permission: a change of one user, {RATE}/s, while others are subscribed",
              [Metric("cpu", "µs CPU per change", 1), Metric("idle", "% CPU without changes", 2),
               Metric("p50", "ms p50"), Metric("p99", "ms p99"), Metric("joined", "s until all were live", 1)],
              baseline="1,000 subscriptions", reach="≤ 1.15 × from 1,000 to 50,000")
    row.note("each socket is a user of its own; heartbeats and pings are an hour apart, so that only the change costs")
    row.note("Supabase Realtime is not measured (containers only); its checks grow with the subscriptions")
    seconds = context.seconds(8, 3)
    # The subscribing takes longest.
    joins, windows = (1, context.runs) if context.is_quick else (context.runs, 1)
    for attempt in range(joins):
        # Up and down again by turns, so that no level comes always first.
        levels = LEVELS if attempt % 2 == 0 else LEVELS[::-1]
        for wanted, each in levels:
            sockets = context.count(wanted)
            context.say(f"row 6, run {attempt + 1} of {joins}, {sockets * each:,} subscriptions")
            name = f"{LABELS[wanted]} subscriptions"
            with context.forgiving(row, name), context.cluster.database(prepare) as dsn, \
                    jobfeed.Server(dsn, heartbeat_seconds=3600, ping_seconds=3600) as server, \
                    load.Load(server, 1, [jobfeed.token("watched")], join=fanout.JOIN) as watched, \
                    load.Load(server, sockets, [jobfeed.token(f"other{number}") for number in range(sockets)],
                              join=[jobfeed.subscribe(f"s{number}", snapshot=False) for number in range(each)],
                              lives=each) as others:
                watched.open(1)
                joined = others.open(sockets)
                watched.measure(1)
                idle = watched.measure(2)
                with writer.Writer(dsn, f"update job set {jobfeed.CHANGE}", lambda _: (0,), rate=RATE):
                    watched.measure(1.5)
                    for _ in range(windows):
                        seen = watched.measure(seconds)
                        row.add(name, cpu=seen["cpu_s"] / seen["deliveries"] * 1e6, p50=seen["p50_us"] / 1e3,
                                p99=seen["p99_us"] / 1e3, idle=idle["cpu_s"] / idle["seconds"] * 100, joined=joined)
    return row
