"""Presets: each system's table is attached, its life is led, and owners, operators and strangers are asked what they saw.

A life is a list of (statement, what the owner is told, what operators are told; default: the same). What is told is a
list of changes: ("enter", reason, values), ("update", values) or ("leave", reason); values of an update are all columns
that it sets.
"""

import datetime

import psycopg
import pytest
import systems
import wire
from conftest import Gateway, install, install_script

ANY = object()
ALICE, BOB = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"
JOB = "00000000-0000-4000-8000-0000000000{:02}"


def time(text):
    return datetime.datetime.fromisoformat(text)


class SAME_TIME:
    """The value is the same moment as another column's, some seconds later."""

    def __init__(self, column, seconds=0):
        self.column, self.later = column, datetime.timedelta(seconds=seconds)

    def __call__(self, value, row):
        zone = datetime.timezone.utc
        there, here = time(row[self.column]), time(value)
        return here.utcoffset() == datetime.timedelta(0) and here == (there.replace(tzinfo=there.tzinfo or zone) + self.later)


class World:
    """One database with the four systems attached, and one gateway for each kind of token."""

    KINDS = {
        "native": {},
        "fluxbase": {
            "jwt_access_claim": "role", "jwt_account_values": "authenticated,admin",
            "jwt_operator_values": "dashboard_admin,service_role"},
        "spooled": {"jwt_access_claim": "token_type", "jwt_account_values": "access"},
    }

    def __init__(self, database, directory):
        self.writer = database.connect()
        self.database, self.directory = database, directory
        self.gateways = {}

    def client(self, user, access="account", kind="native", **claims):
        if kind not in self.gateways:
            options = {"heartbeat_seconds": 1, **self.KINDS[kind]}
            self.gateways[kind] = Gateway(self.database.dsn(), self.directory, options).start().wait_ready()
        bearer = wire.token(user, None if kind != "native" else access, **claims)
        return self.gateways[kind].client(user, access, bearer=bearer)

    def run(self, statement):
        return self.writer.execute(statement)

    def one(self, statement):
        return self.run(statement).fetchone()[0]


@pytest.fixture(scope="module")
def world(postgres, tmp_path_factory):
    with postgres.fresh_database() as database:
        install(database.dsn(), reference_tables=False)
        world = World(database, tmp_path_factory.mktemp("presets"))
        for ddl in (systems.SPOOKY, systems.FLUXBASE, systems.SPOOLED, systems.BETTER_QUERY):
            world.run(ddl)
        world.run(f"insert into auth.users values ('{ALICE}'), ('{BOB}')")
        world.run("""
            select jobfeed.attach_preset('sp00ky', 'sp00ky.job');
            select jobfeed.attach_preset('sp00ky', 'sp00ky.job_agent');
            select jobfeed.attach_preset('sp00ky', 'sp00ky.old_job');
            select jobfeed.attach_preset('fluxbase', 'jobs.queue');
            select jobfeed.attach_preset('spooled', 'spooled.jobs', feed => 'spooled');
            select jobfeed.attach_preset('better-query', 'better.jobs', feed => 'better');
            select jobfeed.attach_preset('better-query', 'better."Jobs"', feed => 'owned', owner => '"userId"')""")
        yield world
        codes = [gateway.process.poll() for gateway in world.gateways.values()]
        for gateway in world.gateways.values():
            gateway.kill()
        database.close()
        assert not any(codes), [gateway.stderr[-2000:] for gateway in world.gateways.values()]


def is_as_told(change, told, row):
    op, key, reason, values = change
    wanted = told[-1] if isinstance(told[-1], dict) else {}
    if op != told[0] or (op != "update" and reason != told[1]):
        return False
    if op == "update" and set(values) != set(wanted):
        return False
    return all(
        name in values and (value is ANY or (value(values[name], row) if callable(value) else values[name] == value))
        for name, value in wanted.items())


class Watcher:
    """One viewer: everything, and the same through channels and filters, which must agree with it at the end."""

    def __init__(self, client, feed, place=0, words=(), filters=()):
        self.client, self.feed, self.place = client, feed, place
        self.all = client.subscribe(feed)
        self.words = {word: client.subscribe(f"{feed}:{word}") for word in words}
        self.filters = {text: client.subscribe(feed, filter=text) for text in filters}

    def check(self, life):
        """Compares what came with what was to come, in order."""
        told = [(" ".join(step[0].split())[:90], change) for step in life for change in expected(step, self.place)]
        seen = [entry for entry in self.all.log if entry[1] not in LAST]
        rows = {}
        for number, (step, change) in enumerate(told):
            assert number < len(seen), f"{step}: nothing came instead of {change}"
            op, key, _, values = seen[number]
            rows[key] = dict(values) if op == "enter" else rows.get(key, {}) | values
            assert is_as_told(seen[number], change, rows[key]), f"{step}: {seen[number]} instead of {change}"
        assert len(seen) == len(told), f"came besides: {seen[len(told):]}"
        for word, part in self.words.items():
            wanted = {
                key for key, row in self.all.rows.items() if word in (row["status"], row["state"], row["class"])}
            # Each subscription has frames of its own.
            self.client.wait(lambda: set(part.rows) == wanted, f"{word} to be {wanted}")
        # Snapshots have what the log has led to, and filters in SQL select what those in memory do.
        unfollowed = {"updated_at", "updatedat", "updatedAt", "lease_expires_at"}
        fresh = self.client.subscribe(self.feed)
        assert followed(fresh.rows, unfollowed) == followed(self.all.rows, unfollowed)
        for text, part in self.filters.items():
            again = self.client.subscribe(self.feed, filter=text)
            self.client.wait(lambda: set(again.rows) == set(part.rows), f"{text} to select {set(again.rows)}")

    def columns(self):
        return {name for *_, values in self.all.log for name in values}


def followed(rows, unfollowed):
    return {key: {name: value for name, value in row.items() if name not in unfollowed} for key, row in rows.items()}


def expected(step, place):
    """What a step tells a watcher: the last list serves those behind it, too."""
    return step[min(place + 1, len(step) - 1)]


def caught_up(watchers, told):
    for watcher, count in zip(watchers, told):
        watcher.client.wait(lambda: len(watcher.all.log) >= count, f"{count} changes")


# A row that everybody is told of comes last: until then, whoever is told nothing was told nothing.
LAST = ("last", JOB.format(99))


def live(world, life, watchers, last):
    told = [0] * len(watchers)
    for step in life:
        if ".thread" in step[0]:
            # What is read in one go with a change of the owner path is folded.
            caught_up(watchers, told)
        world.run(step[0])
        told = [so_far + len(expected(step, watcher.place)) for so_far, watcher in zip(told, watchers)]
        if ".thread" in step[0]:
            caught_up(watchers, told)
    world.run(last)
    for watcher in watchers:
        watcher.client.wait(lambda: any(key in LAST for key in watcher.all.rows), "the last row")
    for watcher in watchers:
        watcher.check(life)


# Sp00ky

WAITING = {"state": "pending", "class": "waiting"}
SPOOKY_LIFE = [
    ("insert into sp00ky.job (id, assigned_to, path, delay) values ('a', 'thread:1', '/x', 30000)",
     [("enter", "created", {
         "status": "pending", **WAITING, "max_attempts": 3, "will_retry": True, "stalled_at": None,
         "next_attempt_at": SAME_TIME("created_at", 30)})]),
    ("update sp00ky.job set updated_at = now() where id = 'a'", []),
    (systems.spooky_claim("job", "a"),
     [("update", {
         "status": "processing", "state": "running", "class": "active", "assignee": "ssp-1", "lease_epoch": 1,
         "lease_until": ANY, "updated_at": ANY, "next_attempt_at": None, "stalled_at": SAME_TIME("lease_until")})]),
    # The older runner fails a job in three statements. The first is none of the owner's business.
    ("""update sp00ky.job set errors = errors || '{"code": 500, "reason": "no"}', updated_at = now() where id = 'a'""",
     [], [("update", {"errors": ANY, "updated_at": ANY})]),
    ("update sp00ky.job set retries = 1, updated_at = now() where id = 'a'",
     [("update", {"retries": 1, "updated_at": ANY})]),
    ("update sp00ky.job set status = 'pending', assignee = null, lease_until = null, updated_at = now() where id = 'a'",
     [("update", {
         "status": "pending", **WAITING, "assignee": None, "lease_until": None, "updated_at": ANY,
         "next_attempt_at": SAME_TIME("created_at", 30), "stalled_at": None})]),
    (systems.spooky_claim("job", "a"), [("update", {
        "status": "processing", "state": "running", "class": "active", "assignee": "ssp-1", "lease_epoch": 2,
        "lease_until": ANY, "updated_at": ANY, "next_attempt_at": None, "stalled_at": ANY})]),
    # The newer one does it in one; then there is one attempt left.
    ("""update sp00ky.job set status = 'pending', retries = 2, errors = errors || '{"code": "timeout"}', assignee = null,
        lease_until = null where id = 'a' and lease_epoch = 2""",
     [("update", {
         "status": "pending", **WAITING, "retries": 2, "will_retry": False, "assignee": None, "lease_until": None,
         "next_attempt_at": ANY, "stalled_at": None})],
     [("update", {
         "status": "pending", **WAITING, "retries": 2, "will_retry": False, "assignee": None, "lease_until": None,
         "next_attempt_at": ANY, "stalled_at": None, "errors": ANY})]),
    # Killed while it waits: failed, without another retry; retries is not raised by the last failure.
    ("""update sp00ky.job set status = 'failed', errors = errors || '{"code": "killed"}' where id = 'a'""",
     [("update", {"status": "failed", "state": "failed", "class": "terminal", "next_attempt_at": None})],
     [("update", {"status": "failed", "state": "failed", "class": "terminal", "next_attempt_at": None, "errors": ANY})]),
    # An operator's retry starts anew.
    ("update sp00ky.job set status = 'pending', retries = 0, errors = '[]' where id = 'a'",
     [("update", {"status": "pending", **WAITING, "retries": 0, "will_retry": True, "next_attempt_at": ANY})],
     [("update", {
         "status": "pending", **WAITING, "retries": 0, "will_retry": True, "next_attempt_at": ANY, "errors": []})]),
    # The lease ends; the job is given to another.
    (systems.spooky_claim("job", "a", "-1 second"), [("update", {
        "status": "processing", "state": "running", "class": "active", "assignee": "ssp-1", "lease_epoch": 3,
        "lease_until": ANY, "updated_at": ANY, "next_attempt_at": None, "stalled_at": SAME_TIME("lease_until")})]),
    ("""update sp00ky.job set status = 'pending', assignee = null, lease_until = null, lease_epoch = lease_epoch + 1
        where status = 'processing' and lease_until < now()""",
     [("update", {
         "status": "pending", **WAITING, "assignee": None, "lease_until": None, "lease_epoch": 4,
         "next_attempt_at": ANY, "stalled_at": None})]),
    ("update sp00ky.job set status = 'success', result = '{\"ok\": true}' where id = 'a'",
     [("update", {
         "status": "success", "state": "succeeded", "class": "terminal", "will_retry": False, "next_attempt_at": None,
         "result": {"ok": True}})]),
    # A scheduled job is assigned to nothing.
    ("insert into sp00ky.job (id, path, max_retries) values ('sch_1', '/cron', 0)",
     [], [("enter", "created", {"assigned_to": None, "max_attempts": 1, "will_retry": False})]),
    # The thread gets another author: a job changes hands without being written.
    ("update sp00ky.thread set author = 'user:bob' where id = 'thread:1'", [("leave", "permission")], []),
    ("update sp00ky.thread set author = 'user:alice' where id = 'thread:1'", [("enter", "permission", {"id": "a"})], []),
    ("insert into sp00ky.job (id, assigned_to, path) select 'n' || n, 'thread:2', '/x' from generate_series(1, 200) n",
     [], [("enter", "created", {})] * 200),
    ("update sp00ky.job set status = 'failed' where id ~ '^n'",
     [], [("update", {
         "status": "failed", "state": "failed", "class": "terminal", "will_retry": False, "next_attempt_at": None})] * 200),
    # Bulk retention.
    ("delete from sp00ky.job where status in ('success', 'failed')",
     [("leave", "deleted")], [("leave", "deleted")] * 201),
]


def test_sp00ky(world):
    words = ["pending", "processing", "running", "success", "succeeded", "failed", "waiting", "active", "terminal"]
    filters = ["state=in.(running,failed)", "class=neq.terminal", "will_retry=is.true", "state=not.in.(pending)",
               "next_attempt_at=is.null", "next_attempt_at=gt.2020-01-01", "max_attempts=gte.2&class=eq.waiting"]
    with world.client("user:alice") as alice, world.client("root", "operator") as root, \
            world.client("user:carol") as carol:
        watchers = [Watcher(alice, "job", 0, words, filters), Watcher(root, "job", 1, words, filters)]
        stranger = carol.subscribe("job")
        live(world, SPOOKY_LIFE, watchers, "insert into sp00ky.job (id, assigned_to, path) values ('last', 'thread:1', '/')")
        assert "errors" not in watchers[0].columns()
        # What comes last is hers, and the first that she is told of.
        world.run("""
            insert into sp00ky.thread values ('thread:3', 'carols', 'user:carol');
            insert into sp00ky.job (id, assigned_to, path) values ('c', 'thread:3', '/')""")
        carol.wait(lambda: stranger.rows)
        assert [entry[:3] for entry in stranger.log] == [("enter", "c", "created")]


def test_sp00kys_tables_are_feeds_of_their_own(world):
    with world.client("user:alice") as alice:
        feeds = [alice.subscribe(feed) for feed in ("job", "job_agent", "old_job")]
        for table in ("job_agent", "old_job"):
            world.run(f"insert into sp00ky.{table} (id, assigned_to, path) values ('x', 'thread:1', '/')")
        alice.wait(lambda: all("x" in feed.rows for feed in feeds[1:]))
        assert "x" not in feeds[0].rows
        # The older version has no lease and no delay; created_at is set again at every write.
        world.run("update sp00ky.old_job set retries = 1 where id = 'x'")
        alice.wait(lambda: feeds[2].rows["x"]["retries"] == 1)
        row = feeds[2].rows["x"]
        assert row["next_attempt_at"] == row["created_at"] and "stalled_at" not in row and row["will_retry"]


# Fluxbase


def test_fluxbase(world):
    def queue(n, **values):
        values = {"id": JOB.format(n), "namespace": "default", "job_name": "process", "status": "pending",
                  "max_retries": 3, "progress_timeout_seconds": 60, "created_by": ALICE, **values}
        texts = ", ".join("null" if value is None else f"'{value}'" for value in values.values())
        return f"insert into jobs.queue ({', '.join(values)}) values ({texts})"

    claim = f"""
        update jobs.queue set status = 'running', worker_id = '{JOB.format(70)}', started_at = now(),
            last_progress_at = now() where id = '{JOB.format(1)}'"""
    claimed = ("update", {
        "status": "running", "state": "running", "class": "active", "worker_id": JOB.format(70), "started_at": ANY,
        "last_progress_at": ANY, "next_attempt_at": None, "stalled_at": SAME_TIME("last_progress_at", 60)})

    def progress(percent):
        return (f"""update jobs.queue set progress = '{{"percent": {percent}}}', last_progress_at = now()
                    where id = '{JOB.format(1)}' and status = 'running'""",
                [("update", {"progress": {"percent": percent}, "last_progress_at": ANY,
                             "stalled_at": SAME_TIME("last_progress_at", 60)})])

    requeued = {"status": "pending", **WAITING, "next_attempt_at": SAME_TIME("created_at"), "stalled_at": None,
                "started_at": None, "last_progress_at": None}
    life = [
        (queue(1), [("enter", "created", {
            "status": "pending", **WAITING, "max_attempts": 4, "will_retry": False, "stalled_at": None,
            "next_attempt_at": SAME_TIME("created_at")})]),
        (f"insert into jobs.workers (id, name, status) values ('{JOB.format(70)}', 'w', 'active')", []),
        (claim, [claimed]),
        progress(10), progress(50),
        # A worker that is gone: the foreign key sets it free, then the orphan is queued again; progress stays.
        ("delete from jobs.workers", [("update", {"worker_id": None})]),
        ("""update jobs.queue set status = 'pending', started_at = null, last_progress_at = null
            where status = 'running' and worker_id is null""", [("update", requeued)]),
        (f"insert into jobs.workers (id, name, status) values ('{JOB.format(70)}', 'w', 'active')", []),
        (claim, [claimed]),
        (f"""update jobs.queue set status = 'failed', error_message = 'boom', completed_at = now()
             where id = '{JOB.format(1)}'""",
         [("update", {"status": "failed", "state": "failed", "class": "terminal", "error_message": "boom",
                      "completed_at": ANY, "stalled_at": None})]),
        # By hand.
        (f"""update jobs.queue set status = 'pending', retry_count = retry_count + 1, error_message = null,
                worker_id = null, started_at = null, last_progress_at = null, completed_at = null, progress = null
             where id = '{JOB.format(1)}' and status = 'failed' and retry_count < max_retries""",
         [("update", {
             "status": "pending", **WAITING, "next_attempt_at": SAME_TIME("created_at"), "started_at": None,
             "last_progress_at": None, "retry_count": 1, "error_message": None, "worker_id": None, "completed_at": None,
             "progress": None})]),
        (claim, [claimed]),
        (f"""update jobs.queue set status = 'completed', result = '{{"ok": true}}', completed_at = now()
             where id = '{JOB.format(1)}'""",
         [("update", {"status": "completed", "state": "succeeded", "class": "terminal", "result": {"ok": True},
                      "completed_at": ANY, "stalled_at": None})]),
        (queue(2, scheduled_at="2040-01-01 00:00+02"),
         [("enter", "created", {**WAITING, "next_attempt_at": "2039-12-31T22:00:00+00:00"})]),
        (f"update jobs.queue set status = 'cancelled', completed_at = now() where id = '{JOB.format(2)}'",
         [("update", {"status": "cancelled", "state": "cancelled", "class": "terminal", "completed_at": ANY,
                      "next_attempt_at": None})]),
        # Scheduled by the system: nobody's.
        (queue(3, created_by=None), [], [("enter", "created", {"created_by": None})]),
        (f"update jobs.queue set created_by = '{BOB}' where id = '{JOB.format(1)}'",
         [("leave", "permission")], [("update", {"created_by": BOB})]),
        (f"delete from jobs.queue where id = '{JOB.format(2)}'", [("leave", "deleted")]),
    ]
    words = ["pending", "running", "completed", "succeeded", "failed", "cancelled", "terminal"]
    with world.client(ALICE, kind="fluxbase", role="authenticated") as alice, \
            world.client(BOB, kind="fluxbase", role="admin") as bob, \
            world.client("dashboard", kind="fluxbase", role="dashboard_admin") as dashboard:
        watchers = [Watcher(alice, "jobs", 0, words, ["status=eq.running", "state=eq.running"]),
                    Watcher(dashboard, "jobs", 1, words)]
        # The role admin sees its own rows, as in Fluxbase.
        other = bob.subscribe("jobs")
        live(world, life, watchers, queue(99))
        world.run(queue(98, created_by=BOB))
        bob.wait(lambda: JOB.format(98) in other.rows)
        assert [entry[:3] for entry in other.log] == [
            ("enter", JOB.format(1), "permission"), ("enter", JOB.format(98), "created")]
        assert other.rows[JOB.format(1)]["result"] == {"ok": True}


# Spooled


def test_spooled(world):
    def job(key, status="pending", queue="emails", organization="acme", **values):
        values = {"id": key, "organization_id": organization, "queue_name": queue, "status": status, "payload": "{}",
                  "completion_webhook_secret": "whsec", **values}
        texts = ", ".join(f"'{value}'" for value in values.values())
        return f"insert into spooled.jobs ({', '.join(values)}) values ({texts})"

    claimed = ("update", {
        "status": "processing", "state": "running", "class": "active", "assigned_worker_id": ANY, "started_at": ANY,
        "lease_expires_at": ANY, "updated_at": ANY, "next_attempt_at": None})
    heartbeat = """update spooled.jobs set lease_expires_at = now() + interval '30 seconds'
                   where id = 'a' and status = 'processing'"""
    retried = {"status": "pending", **WAITING, "assigned_worker_id": None, "updated_at": ANY, "last_error": ANY}
    life = [
        (job("a", "scheduled", scheduled_at="2020-01-01 00:00+00", idempotency_key="k", max_retries=1),
         [("enter", "created", {
             "status": "scheduled", "state": "scheduled", "class": "waiting", "max_attempts": 2, "will_retry": True,
             "next_attempt_at": "2020-01-01T00:00:00+00:00"})]),
        # The same again: nothing but updated_at is written.
        ("""insert into spooled.jobs (organization_id, queue_name, payload, idempotency_key)
            values ('acme', 'emails', '{}', 'k') on conflict (organization_id, idempotency_key)
            where idempotency_key is not null do update set updated_at = now()""", []),
        ("update spooled.jobs set status = 'pending' where status = 'scheduled' and scheduled_at <= now()",
         [("update", {"status": "pending", "state": "pending", "updated_at": ANY})]),
        (systems.spooled_claim("a"), [claimed]),
        (heartbeat, []), (heartbeat, []), (heartbeat, []),
        # 2^retry_count seconds later: waiting, but not due.
        ("""update spooled.jobs set status = 'pending', retry_count = retry_count + 1, last_error = 'boom',
                scheduled_at = '2039-01-01 00:00:02+00', assigned_worker_id = null, lease_id = null,
                lease_expires_at = null where id = 'a' and retry_count < max_retries""",
         [("update", {**retried, "retry_count": 1, "will_retry": False, "lease_expires_at": None, "scheduled_at": ANY,
                      "next_attempt_at": "2039-01-01T00:00:02+00:00"})]),
        ("update spooled.jobs set scheduled_at = now() where id = 'a'",
         [("update", {"scheduled_at": ANY, "updated_at": ANY, "next_attempt_at": SAME_TIME("scheduled_at")})]),
        (systems.spooled_claim("a"), [claimed]),
        # The last attempt: its lease stays, completed_at stays empty.
        ("""update spooled.jobs set status = 'deadletter', last_error = 'dead', assigned_worker_id = null,
                lease_id = null where id = 'a'""",
         [("update", {"status": "deadletter", "state": "dead", "class": "terminal", "last_error": "dead",
                      "assigned_worker_id": None, "updated_at": ANY})]),
        # Replayed; times of the attempts before go stale, so that nothing but the status says what it is.
        ("update spooled.jobs set status = 'pending', retry_count = 0, last_error = null where id = 'a'",
         [("update", {"status": "pending", **WAITING, "retry_count": 0, "will_retry": True, "last_error": None,
                      "updated_at": ANY, "next_attempt_at": ANY})]),
        (systems.spooled_claim("a", "w2"), [claimed]),
        # The lease ends: pending at once, or dead.
        ("""update spooled.jobs set status = 'pending', retry_count = retry_count + 1,
                last_error = 'Lease expired (worker timeout)', assigned_worker_id = null, lease_id = null,
                lease_expires_at = null where id = 'a'""",
         [("update", {**retried, "retry_count": 1, "will_retry": False, "lease_expires_at": None,
                      "next_attempt_at": ANY})]),
        (systems.spooled_claim("a"), [claimed]),
        ("""update spooled.jobs set status = 'completed', result = '{"ok": 1}', completed_at = now(), lease_id = null
            where id = 'a'""",
         [("update", {"status": "completed", "state": "succeeded", "class": "terminal", "result": {"ok": 1},
                      "completed_at": ANY, "updated_at": ANY})]),
        # By hand once more, with the old completed_at.
        ("update spooled.jobs set status = 'pending', retry_count = 0 where id = 'a'",
         [("update", {"status": "pending", **WAITING, "retry_count": 0, "will_retry": True, "updated_at": ANY,
                      "next_attempt_at": ANY})]),
        ("update spooled.jobs set status = 'cancelled' where id = 'a' and status in ('pending', 'scheduled')",
         [("update", {"status": "cancelled", "state": "cancelled", "class": "terminal", "will_retry": False,
                      "updated_at": ANY, "next_attempt_at": None})]),
        (job("b", queue="reports"), [("enter", "created", {"queue_name": "reports"})], []),
        # Another queue: the token that is good for emails alone gets it, and loses it again.
        ("update spooled.jobs set queue_name = 'emails' where id = 'b'",
         [("update", {"queue_name": "emails", "updated_at": ANY})], [("enter", "permission", {"id": "b"})]),
        ("update spooled.jobs set queue_name = 'reports' where id = 'b'",
         [("update", {"queue_name": "reports", "updated_at": ANY})], [("leave", "permission")]),
        ("update spooled.jobs set priority = 5 where id = 'b'", [("update", {"priority": 5, "updated_at": ANY})], []),
        (job("u", organization="umbrella"), []),
        ("""insert into spooled.jobs (id, organization_id, queue_name, payload, status)
            select 'n' || n, 'acme', 'emails', '{}', 'completed' from generate_series(1, 300) n""",
         [("enter", "created", {})] * 300),
        # Retention.
        ("delete from spooled.jobs where status in ('completed', 'cancelled')", [("leave", "deleted")] * 301),
    ]
    words = ["pending", "scheduled", "processing", "running", "deadletter", "dead", "cancelled", "waiting", "active"]

    def member(**claims):
        return world.client("acme", kind="spooled", **{"token_type": "access", "org_id": "acme", "queues": [], **claims})

    with member() as everything, member(queues=["emails", "sms"]) as emails, member(queues=["*"]) as star, \
            member(org_id="umbrella", sub="umbrella") as umbrella, world.client("root", "operator") as root:
        watchers = [Watcher(everything, "spooled", 0, words, ["state=eq.dead", "queue_name=eq.emails"]),
                    Watcher(emails, "spooled", 1, words), Watcher(star, "spooled", 0)]
        theirs = umbrella.subscribe("spooled")
        operator = root.subscribe("spooled")
        live(world, life, watchers, job("last"))
        world.run(job("v", organization="umbrella"))
        umbrella.wait(lambda: "v" in theirs.rows)
        assert [entry[:3] for entry in theirs.log] == [("enter", "u", "created"), ("enter", "v", "created")]
        root.wait(lambda: set(operator.rows) == {"b", "u", "v", "last"})
        for subscription in [operator, *(watcher.all for watcher in watchers)]:
            assert not {"lease_id", "completion_webhook_secret"} & {name for *_, values in subscription.log for name in values}
        for text in ("completion_webhook_secret=eq.whsec", "lease_id=is.null"):
            refused = root.subscribe("spooled", filter=text)
            assert refused.error["code"] == "invalid_filter"
        counts = emails.subscribe("spooled#counts")
        assert counts.counts == {"pending": 1}


@pytest.mark.parametrize("claims, message", [
    ({"queues": None}, "the token has no claim queues"),
    ({"org_id": None}, "the token has no claim org_id"),
    ({"queues": [{"name": "emails"}]}, "the token has no claim queues"),
    ({"queues": {"emails": True}}, "the token has no claim queues"),
    ({"org_id": ["acme", "umbrella"]}, "does not name one owner"),
    ({"org_id": ""}, "does not name one owner"),
])
def test_a_token_that_does_not_say_whose_rows_it_shows_shows_none(world, claims, message):
    claims = {"token_type": "access", "org_id": "acme", "queues": [], **claims}
    with world.client("acme", kind="spooled", **claims) as client:
        refused = client.subscribe("spooled")
        assert refused.error["code"] == "forbidden" and message in refused.error["message"]


@pytest.mark.parametrize("claims, is_same", [
    ({}, True), ({"queues": ["emails"]}, False), ({"org_id": "umbrella"}, False), ({"queues": None}, False)])
def test_a_fresh_token_must_show_the_same_rows(world, claims, is_same):
    fine = {"token_type": "access", "org_id": "acme", "queues": []}
    with world.client("acme", kind="spooled", **fine) as client:
        client.subscribe("spooled")
        client.send({"type": "authenticate", "id": "a", "token": wire.token("acme", None, **{**fine, **claims})})
        if is_same:
            client.wait(lambda: any(frame["type"] == "authenticated" for frame in client.unmatched))
        else:
            assert client.closed() == 4503


def test_row_security_agrees_with_tokens(world):
    """What accounts may select in SQL is what they are sent."""
    def visible(claims):
        with world.writer.transaction(force_rollback=True):
            world.run("set local role jobfeed_account")
            world.run("select set_config('jobfeed.access', 'account', true)")
            world.writer.execute("select set_config('jobfeed.claims', %s, true)", [claims])
            return {row[0] for row in world.run("select id from spooled.jobs where id ~ '^rls'")}

    world.run("""
        insert into spooled.jobs (id, organization_id, queue_name, payload)
        values ('rls-e', 'acme', 'emails', '{}'), ('rls-r', 'acme', 'reports', '{}'), ('rls-u', 'umbrella', 'emails', '{}')""")
    assert visible('{"org_id": "acme", "queues": []}') == {"rls-e", "rls-r"}
    assert visible('{"org_id": "acme", "queues": ["*"]}') == {"rls-e", "rls-r"}
    assert visible('{"org_id": "acme", "queues": ["emails"]}') == {"rls-e"}
    assert visible('{"org_id": "acme", "queues": "reports"}') == {"rls-r"}
    assert visible('{"org_id": "umbrella", "queues": []}') == {"rls-u"}
    for nothing in ('{"org_id": "acme"}', '{"queues": []}', "", "{}", '{"org_id": "acme", "queues": null}'):
        assert visible(nothing) == set()
    for secret in ("lease_id", "completion_webhook_secret"):
        for role in ("jobfeed_account", "jobfeed_operator"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), world.writer.transaction():
                world.run(f"set local role {role}")
                world.run(f"select {secret} from spooled.jobs")
    world.run("delete from spooled.jobs where id ~ '^rls'")


def test_heartbeats_are_followed_on_demand(world):
    try:
        world.run("select jobfeed.attach_preset('spooled', 'spooled.jobs', feed => 'spooled', heartbeats => true)")
        with world.client("root", "operator") as root:
            jobs = root.subscribe("spooled")
            world.run("insert into spooled.jobs (id, organization_id, queue_name, payload) values ('h', 'acme', 'q', '{}')")
            world.run(systems.spooled_claim("h"))
            root.wait(lambda: jobs.rows.get("h", {}).get("stalled_at"))
            row = dict(jobs.rows["h"])
            assert row["stalled_at"] == row["lease_expires_at"]
            world.run("update spooled.jobs set lease_expires_at = now() + interval '1 hour' where id = 'h'")
            root.wait(lambda: jobs.rows["h"]["stalled_at"] != row["stalled_at"])
            assert set(jobs.log[-1][3]) == {"lease_expires_at", "updated_at", "stalled_at"}
    finally:
        world.run("delete from spooled.jobs where id = 'h'")
        world.run("select jobfeed.attach_preset('spooled', 'spooled.jobs', feed => 'spooled')")


def test_a_secret_that_a_later_version_brings_is_one(world):
    world.run("select jobfeed.attach_preset('spooled', 'spooled.old_jobs')")
    try:
        with world.client("root", "operator") as root:
            jobs = root.subscribe("old_jobs")
            world.run("""
                insert into spooled.old_jobs (id, organization_id, queue_name, payload, lease_id)
                values ('a', 'acme', 'q', '{}', 'secret')""")
            root.wait(lambda: "a" in jobs.rows)
            assert jobs.rows["a"]["state"] == "pending" and "lease_id" not in jobs.rows["a"]
            # The system is upgraded, then jobfeed, which grants anew what may be read.
            world.run("alter table spooled.old_jobs add completion_webhook_secret text, add note text")
            world.run("set client_min_messages = error;" + install_script(False))
            world.run("update spooled.old_jobs set completion_webhook_secret = 'whsec', note = 'n'")
            root.wait(lambda: jobs.rows.get("a", {}).get("note") == "n")
            assert not {"lease_id", "completion_webhook_secret"} & set(jobs.rows["a"])
        for role in ("jobfeed_account", "jobfeed_operator"):
            assert not world.one(f"""
                select has_column_privilege('{role}', 'spooled.old_jobs', 'completion_webhook_secret', 'select')""")
    finally:
        world.run("select jobfeed.detach('old_jobs')")


# Better Query


def test_better_query(world):
    life = [
        ("""insert into better.jobs values ('a', 'Nightly', 'report', '{}', '1h', 'pending', 0, 2, null, '2030-01-01 01:00',
            null, now(), now())""",
         [("enter", "created", {
             "status": "pending", **WAITING, "max_attempts": 2, "will_retry": True,
             "next_attempt_at": "2030-01-01T01:00:00+00:00"})]),
        ("update better.jobs set updatedAt = now() where id = 'a'", []),
        ("update better.jobs set status = 'running', lastRunAt = '2030-01-01 01:00' where id = 'a'",
         [("update", {"status": "running", "state": "running", "class": "active", "lastrunat": ANY,
                      "next_attempt_at": None})]),
        # A recurring job that succeeds waits again.
        ("update better.jobs set status = 'pending', attempts = 0, nextRunAt = '2030-01-01 02:00' where id = 'a'",
         [("update", {"status": "pending", **WAITING, "nextrunat": ANY,
                      "next_attempt_at": "2030-01-01T02:00:00+00:00"})]),
        ("update better.jobs set status = 'pending', attempts = 1, lastError = 'boom', nextRunAt = '2030-01-01 03:00' where id = 'a'",
         [("update", {"attempts": 1, "lasterror": "boom", "nextrunat": ANY, "will_retry": False,
                      "next_attempt_at": "2030-01-01T03:00:00+00:00"})]),
        ("update better.jobs set status = 'failed', attempts = 2, nextRunAt = null where id = 'a'",
         [("update", {"status": "failed", "state": "failed", "class": "terminal", "attempts": 2, "nextrunat": None,
                      "next_attempt_at": None})]),
        # One that runs once and fails is to be retried at no time at all.
        ("""insert into better.jobs values ('b', 'Once', 'mail', '{}', null, 'pending', 0, 3, null, '2030-01-01', null,
            now(), now())""", [("enter", "created", {"max_attempts": 3})]),
        ("update better.jobs set attempts = 1, lastError = 'boom', nextRunAt = null where id = 'b'",
         [("update", {"attempts": 1, "lasterror": "boom", "nextrunat": None, "next_attempt_at": None})]),
        # PUT writes any body.
        ("update better.jobs set status = 'whatever' where id = 'b'",
         [("update", {"status": "whatever", "state": None, "class": None, "will_retry": None})]),
        ("update better.jobs set status = 'completed' where id = 'b'",
         [("update", {"status": "completed", "state": "succeeded", "class": "terminal", "will_retry": False})]),
        ("insert into better.job_history values ('h', 'a', 'failed', now())", []),
        ("delete from better.jobs where id = 'a'", [("leave", "deleted")]),
    ]
    words = ["pending", "running", "completed", "succeeded", "failed", "terminal"]
    with world.client("root", "operator") as root, world.client("alice") as alice:
        refused = alice.subscribe("better")
        assert refused.error["code"] == "forbidden" and "only operators" in refused.error["message"]
        live(world, life, [Watcher(root, "better", 0, words, ["state=eq.succeeded", "state=is.null"])],
             "insert into better.jobs values ('last', '', '', null, null, 'pending', 0, 3, null, null, null, now(), now())")
        # The owner is somewhere in the data: a generated column is a column.
        mine = alice.subscribe("owned")
        world.run("""
            insert into better."Jobs" (id, name, handler, data, status, attempts, "maxAttempts", "createdAt", "updatedAt")
            values ('a', 'n', 'h', '{"userId": "bob"}', 'pending', 0, 3, now(), now()),
                   ('last', 'n', 'h', '{"userId": "alice"}', 'running', 0, 3, now(), now())""")
        alice.wait(lambda: mine.rows)
        assert set(mine.rows) == {"last"} and mine.rows["last"]["state"] == "running"
