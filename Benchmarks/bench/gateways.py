"""Rows 4, 5 and 6: from the database to the socket with the row rule on."""

import pathlib
import sys

import psycopg

from bench import jobfeed, load, process, writer
from bench.results import Metric, Row

HERE = pathlib.Path(__file__).parents[1]
USERS = 100
SOCKETS_EACH = 10
JOBS = 1000


def prepare(dsn):
    """Jobs of a hundred users."""
    jobfeed.install(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("insert into thread (title, author)"
                           " select 't', 'user' || n from generate_series(0, %s - 1) n", [USERS])
        connection.execute("insert into job (assigned_to, path)"
                           " select 1 + n %% %s, '/x' from generate_series(0, %s - 1) n", [USERS, JOBS])


def remove_jobfeed(dsn):
    """The tables and their rows stay."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("select jobfeed.detach('jobs')")
        connection.execute("drop schema jobfeed cascade")


def add_notifications(dsn):
    """The trigger that people write."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("""
            create function tell() returns trigger language plpgsql as $$
            begin
                perform pg_notify('handrolled', (select author from thread where id = new.assigned_to) || e'\\n'
                    || jsonb_build_object('op', 'update', 'key', new.id,
                        'set', jsonb_build_object('assignee', new.assignee)));
                return null;
            end
            $$;
            create trigger tell after update on job for each row execute function tell();
        """)


def prepare_handrolled(dsn):
    """The same tables and rows with nothing of jobfeed."""
    prepare(dsn)
    remove_jobfeed(dsn)
    add_notifications(dsn)


class HandRolled(process.Server):
    """asyncpg, websockets and uvloop, with the change in the notification."""

    name = "hand-rolled Python"
    command = (sys.executable, HERE / "peers" / "handrolled.py")

    def __init__(self, dsn):
        super().__init__()
        self.environment = {"DATABASE_URL": dsn, "JWT_SECRET": jobfeed.SECRET}


SCRIPT = rf"""\set id random(1, {JOBS})
update job set assignee = {jobfeed.STAMP} where id = :id;
"""
SUBJECTS = [
    (jobfeed.Server, prepare, {"join": [jobfeed.subscribe(snapshot=False)]}),
    (HandRolled, prepare_handrolled, {}),
]
ABSENT = "not measured: a Node gateway with pg and ws (npm only)"


def crowd_on(server, options):
    users = [jobfeed.token(f"user{number}") for number in range(USERS)]
    return load.Load(server, USERS * SOCKETS_EACH, users, **options)


def steady(context):
    """A thousand commits a second, each of one row that ten sockets see."""
    row = Row(4, "1,000 sockets of 100 users, 1,000 commits/s",
              [Metric("cpu", "µs CPU per delivery"), Metric("p50", "ms p50"), Metric("p99", "ms p99"),
               Metric("commits", "commits/s", 0)],
              baseline=HandRolled.name, reach="≤ 9 µs, p50 ≤ 0.8 ms, p99 ≤ 2.5 ms")
    row.note(ABSENT)
    seconds = context.seconds(10, 5)
    for attempt in range(context.runs):
        context.say(f"row 4, run {attempt + 1} of {context.runs}")
        for kind, template, options in SUBJECTS:
            with context.cluster.database(template) as dsn, kind(dsn) as server, crowd_on(server, options) as crowd:
                crowd.open(USERS * SOCKETS_EACH)
                with writer.PGBench(dsn, SCRIPT, 4, seconds + 3, rate=1000):
                    crowd.measure(1.5)
                    seen = crowd.measure(seconds)
                count = seen["deliveries"]
                row.add(kind.name, cpu=seen["cpu_s"] / count * 1e6, p50=seen["p50_us"] / 1e3, p99=seen["p99_us"] / 1e3,
                        commits=count / SOCKETS_EACH / seen["seconds"])
    return row


def fastest(context):
    """As many commits as eight writers reach, for long enough to see a backlog grow."""
    row = Row(5, "the same, as many commits as 8 writers reach",
              [Metric("commits", "commits/s delivered", 0), Metric("p50", "ms p50"), Metric("p99", "ms p99"),
               Metric("early", "ms p50 in the first third"), Metric("late", "ms p50 in the last third"),
               Metric("cpu", "µs CPU per delivery"), Metric("missing", "changes not delivered 2 s later", 0)],
              baseline=HandRolled.name, reach="more than hand-rolled, p99 ≤ 25 ms, no growing backlog")
    row.note(ABSENT)
    seconds = max(context.seconds(60, 9), 4)
    for attempt in range(context.runs):
        context.say(f"row 5, run {attempt + 1} of {context.runs}")
        for kind, template, options in SUBJECTS:
            with context.cluster.database(template) as dsn, kind(dsn) as server, crowd_on(server, options) as crowd:
                crowd.open(USERS * SOCKETS_EACH)
                with writer.PGBench(dsn, SCRIPT, 8, seconds) as bench:
                    thirds = [crowd.measure(seconds / 3 - 0.1) for _ in range(3)]
                    committed = bench.commits()
                delivered = crowd.measure(2)["received"]
                total = sum(third["deliveries"] for third in thirds)
                row.add(kind.name, commits=total / SOCKETS_EACH / sum(third["seconds"] for third in thirds),
                        p50=thirds[1]["p50_us"] / 1e3, p99=max(third["p99_us"] for third in thirds) / 1e3,
                        early=thirds[0]["p50_us"] / 1e3, late=thirds[2]["p50_us"] / 1e3,
                        cpu=sum(third["cpu_s"] for third in thirds) / total * 1e6,
                        missing=committed - delivered / SOCKETS_EACH)
    return row
