"""Row 10: thousands come at once, while a few others go on being served."""

import threading
import time

import psycopg

from bench import jobfeed, load, writer
from bench.results import Metric, Row

CLIENTS = 5000
JOBS_EACH = 20
QUIET = 50
RATE = 50


def prepare(dsn):
    """Twenty jobs of each client, and one job that the quiet ones watch."""
    jobfeed.install_with(
        dsn,
        "insert into thread (title, author) values ('t', 'quiet')",
        "insert into job (assigned_to, path) values (1, '/x')",
        f"insert into thread (title, author) select 't', 'user' || n from generate_series(0, {CLIENTS} - 1) n",
        f"""insert into job (assigned_to, path, progress) select 2 + n % {CLIENTS}, '/x', '{{"percent": 40}}'
            from generate_series(0, {CLIENTS * JOBS_EACH} - 1) n""",
    )


def run(context):
    row = Row(10, f"storms of {CLIENTS:,} clients, while {QUIET} others get {RATE} changes a second",
              [Metric("seconds", "s until the last is live"), Metric("quiet", "ms p99 of the others before"),
               Metric("during", "ms p99 of the others meanwhile"), Metric("times", "× quiet", 1),
               Metric("recovered", "% recovered", 1)],
              reach="resume ≤ 3 s, join ≤ 10 s, others' p99 ≤ 3 × quiet")
    row.note("join: a snapshot of 20 rows each")
    row.note("resume: the server is killed and started again, and meanwhile each client's jobs change once; the time"
             " counts from when it listens, and the others have to resume as well")
    for attempt in range(context.runs):
        context.say(f"row 10, run {attempt + 1} of {context.runs}")
        with context.cluster.database(prepare) as dsn:
            storm(context, row, dsn)
    return row


def storm(context, row, dsn):
    clients = context.count(CLIENTS)
    options = {"join": [jobfeed.subscribe()], "reconnect": True, "inflight": 1000}
    update = f"update job set {jobfeed.CHANGE} where id = 1"
    users = [jobfeed.token(f"user{number}") for number in range(clients)]
    with jobfeed.Server(dsn) as server, \
            load.Load(server, QUIET, [jobfeed.token("quiet")], **options) as others, \
            load.Load(server, clients, users, **options) as crowd, \
            writer.Writer(dsn, update, lambda _: (0,), rate=RATE):
        others.open(QUIET)
        others.measure(1)
        quiet = others.measure(context.seconds(8, 3))["p99_us"] / 1e3
        others.begin()
        seconds = crowd.open(clients)
        seen = others.end()
        during = seen["p99_us"] / 1e3
        if seen["closed"]:
            row.note(f"join: {seen['closed']:.0f} of the others were closed and came back")
        row.add("join", seconds=seconds, quiet=quiet, during=during, times=during / quiet)

        time.sleep(1)
        quiet = others.measure(context.seconds(8, 3))["p99_us"] / 1e3
        server.stop(9)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("update job set assignee = 'w' where id between 2 and %s", [CLIENTS + 1])
        again = jobfeed.Server(dsn, port=server.port)
        others.begin()
        again.wait_until_ready = lambda: None  # The storm does not wait either.
        again.__enter__()
        try:
            listening = time.monotonic()
            waiting = threading.Thread(target=others.wait_until_live)
            waiting.start()
            crowd.wait_until_live()
            seconds = time.monotonic() - listening
            waiting.join()
            during = others.end()["p99_us"] / 1e3
            metrics = again.metrics().items()
            counts = {name: value for name, value in metrics if name.startswith("jobfeed_resumes_total")}
            recovered = sum(value for name, value in counts.items() if 'recovered="true"' in name)
            row.add("resume", seconds=seconds, quiet=quiet, during=during, times=during / quiet,
                    recovered=100 * recovered / max(sum(counts.values()), 1))
        finally:
            again.stop(9)
