"""Row 11: progress bars that tick faster than anybody looks."""

import threading
import time

import psycopg

from bench import jobfeed, load
from bench.results import Metric, Row

JOBS = 200
SOCKETS = 2000
MAX_RATE = 4
ENDINGS = 10


def prepare(dsn):
    jobfeed.install(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("insert into thread (title, author) values ('t', 'watcher')")
        connection.execute("insert into job (assigned_to, path, status) select 1, '/x', 'processing'"
                           " from generate_series(1, %s)", [JOBS])


class Ticker:
    """All jobs tick in one statement; ten times a second one of them ends, and the one before begins anew."""

    def __init__(self, dsn, rate):
        self.dsn, self.rate = dsn, rate
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.ticks = 0

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join(10)

    def run(self):
        with psycopg.connect(self.dsn, autocommit=True, prepare_threshold=1) as connection:
            due = ending = time.monotonic()
            ended = 0
            while not self.stopping.is_set():
                connection.execute("update job set progress = jsonb_build_object('percent', %s::int)"
                                   " where status = 'processing'", [self.ticks % 100])
                self.ticks += 1
                while ending <= time.monotonic():
                    connection.execute("update job set status = 'processing', assignee = null where status = 'success'")
                    connection.execute("update job set status = 'success', assignee ="
                                       f" {jobfeed.STAMP} where id = %s", [1 + ended % JOBS])
                    ended += 1
                    ending += 1 / ENDINGS
                due += 1 / self.rate
                self.stopping.wait(max(due - time.monotonic(), 0))


def run(context):
    row = Row(11, f"progress bars: {JOBS} jobs watched by {SOCKETS:,} sockets at max_rate {MAX_RATE}",
              [Metric("cpu", "% CPU of the server", 1), Metric("kilobytes", "KB/s sent", 0),
               Metric("frames", "frames/s", 0), Metric("p50", "ms p50 of terminal states"),
               Metric("p99", "ms p99 of terminal states"), Metric("ticks", "ticks/s reached", 1)],
              baseline="4 Hz", reach="bytes and CPU ≤ 1.2 × 4 Hz, terminal states never late")
    row.note(f"each socket watches one job, {ENDINGS} jobs end a second, 50 Hz are {50 * JOBS:,} changed rows a second")
    sockets = context.count(SOCKETS)
    seconds = context.seconds(10, 5)
    for attempt in range(context.runs):
        for rate in (4, 50):
            context.say(f"row 11, run {attempt + 1} of {context.runs}, {rate} Hz")
            with context.cluster.database(prepare) as dsn, jobfeed.Server(dsn) as server:
                join = [jobfeed.subscribe(channel="jobs/JOB", snapshot=False, max_rate=MAX_RATE).replace("JOB", "%j")]
                with load.Load(server, sockets, [jobfeed.token("watcher")], join=join, jobs=JOBS) as crowd:
                    crowd.open(sockets)
                    with Ticker(dsn, rate) as ticker:
                        crowd.measure(2)
                        before = ticker.ticks
                        seen = crowd.measure(seconds)
                        ticks = ticker.ticks - before
                    if not seen["deliveries"]:
                        raise RuntimeError("no terminal state was delivered")
                    row.add(f"{rate} Hz", cpu=seen["cpu_s"] / seen["seconds"] * 100, ticks=ticks / seen["seconds"],
                            kilobytes=seen["bytes"] / seen["seconds"] / 1e3, frames=seen["frames"] / seen["seconds"],
                            p50=seen["p50_us"] / 1e3, p99=seen["p99_us"] / 1e3)
    return row
