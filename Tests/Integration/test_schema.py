"""The schema jobfeed: installer, capture, attach and detach, row security, privileges, and the read built on them."""

import contextlib
import re
from datetime import timedelta

import psycopg
import pytest
from conftest import SQL_FILES, install, install_script
from psycopg.types.json import Jsonb

# What the tests ask


def rows(connection, query, parameters=None):
    return connection.execute(query, parameters).fetchall()


def value(connection, query, parameters=None):
    return connection.execute(query, parameters).fetchone()[0]


def log(connection, feed="jobs"):
    """The log of a feed as (op, key, hop, row, before)."""
    return rows(
        connection,
        "select op::text, key, hop, row, before from jobfeed.change where feed = %s order by seq",
        [feed],
    )


def operations(connection, feed="jobs"):
    return [(op, key) for op, key, *_ in log(connection, feed)]


def forget(connection):
    connection.execute("truncate jobfeed.change")


@contextlib.contextmanager
def reading_as(connection, role, user=None, access=None):
    """A transaction as one of the roles, with the settings that the policies read."""
    with connection.transaction(force_rollback=True):
        connection.execute(f"set local role {role}")
        if user is not None:
            connection.execute("select set_config('jobfeed.user', %s, true)", [user])
        if access is not None:
            connection.execute("select set_config('jobfeed.access', %s, true)", [access])
        yield connection


def visible(connection, table, key, role, user=None, access=None):
    with reading_as(connection, role, user, access):
        return sorted(row[0] for row in rows(connection, f"select {key} from {table}"))


def catalog(connection):
    """Everything that attach may touch outside its own tables."""
    queries = {
        "triggers": """
            select tgrelid::regclass::text, tgname, tgenabled, pg_get_triggerdef(oid)
            from pg_trigger where not tgisinternal""",
        "policies": "select * from pg_policies",
        "row security": """
            select oid::regclass::text, relrowsecurity, relforcerowsecurity
            from pg_class where relkind in ('r', 'p') and relnamespace::regnamespace::text !~ '^(pg_|information)'""",
        "table privileges": """
            select oid::regclass::text, grantee::regrole::text, privilege_type, is_grantable
            from pg_class, aclexplode(coalesce(relacl, acldefault('r', relowner)))
            where relkind in ('r', 'p', 'v') and relnamespace::regnamespace::text !~ '^(pg_|information)'""",
        "column privileges": """
            select attrelid::regclass::text, attname, grantee::regrole::text, privilege_type
            from pg_attribute, aclexplode(attacl) where attrelid >= 16384""",
        "schema privileges": """
            select nspname, grantee::regrole::text, privilege_type
            from pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner)))""",
        "functions": "select oid::regprocedure::text, proacl::text from pg_proc where oid >= 16384",
        "feeds": "select name from jobfeed.feed union all select schema_name from jobfeed.schema_usage",
    }
    return {name: sorted(map(str, rows(connection, query))) for name, query in queries.items()}


@pytest.fixture
def db(installed):
    """A superuser's connection to a database with the reference tables."""
    return installed.connect()


@pytest.fixture
def bare(database):
    """A superuser's connection to a database with the schema and no tables."""
    install(database.dsn(), reference_tables=False)
    return database.connect()


@pytest.fixture
def two_threads(db):
    """alice wrote thread 1 with jobs 11 and 12, bob thread 2 with job 21; job 30 belongs to no thread."""
    db.execute("""
        insert into thread (id, title, author) values (1, 'one', 'alice'), (2, 'two', 'bob');
        insert into job (id, assigned_to, path) values (11, 1, '/a'), (12, 1, '/b'), (21, 2, '/c'), (30, null, '/d');
    """)
    forget(db)
    return db


# Installer


def test_installing_twice_changes_nothing(installed):
    connection = installed.connect()

    def state():
        return catalog(connection), rows(connection, "select * from jobfeed.installation"), rows(
            connection, "select * from jobfeed.feed"), rows(connection, "select * from jobfeed.migration")

    before = state()
    install(installed.dsn())
    assert state() == before


def test_a_new_installation_has_a_new_nonce(postgres, installed, database):
    install(database.dsn(), reference_tables=False)
    nonces = {value(d.connect(), "select nonce from jobfeed.installation") for d in (installed, database)}
    assert len(nonces) == 2


def test_the_version_is_the_same_in_swift_and_sql():
    swift = re.search(r"version = (\d+)", (SQL_FILES.parent / "Installer.swift").read_text())[1]
    guard = re.search(r"script_version = '(\d+)'", (SQL_FILES / "s00_guard.sql").read_text())[1]
    assert swift == guard == str(len(list(SQL_FILES.glob("s1?_migration_*.sql"))))


def test_swift_installs_every_file_in_order():
    swift = (SQL_FILES.parent / "Installer.swift").read_text()
    names = re.findall(r"PackageResources\.(\w+)_sql", swift)
    assert names == sorted(file.stem for file in SQL_FILES.glob("*.sql"))


def test_an_older_script_is_refused(db):
    db.execute("update jobfeed.installation set version = 99")
    with pytest.raises(psycopg.Error, match="schema version 99, which is newer than version 4 of this program"):
        db.execute(install_script(False))


def test_a_role_that_may_not_create_the_schema_is_told_what_a_dba_has_to_run(database):
    with pytest.raises(psycopg.errors.InsufficientPrivilege,
                       match=f'GRANT CREATE ON DATABASE {database.name} TO installer;'):
        database.connect("installer").execute(install_script(True))


def test_a_role_that_may_not_create_tables_is_told_what_a_dba_has_to_run(installed_template, database):
    database.connect().execute(f"grant create on database {database.name} to installer")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="GRANT CREATE ON SCHEMA public TO installer;"):
        database.connect("installer").execute(install_script(True))


def test_a_stranger_cannot_install_over_an_installation(installed):
    installed.connect().execute(f"grant create on database {installed.name} to installer")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="GRANT postgres TO installer;"):
        installed.connect("installer").execute(install_script(False))


def test_an_ordinary_owner_can_install_and_is_served(database):
    admin = database.connect()
    admin.execute(f"grant create on database {database.name} to installer; grant create on schema public to installer")
    owner = database.connect("installer")
    owner.execute(install_script(True))
    owner.execute(install_script(True))
    owner.execute("insert into thread (id, title, author) values (1, 'one', 'alice')")
    owner.execute("insert into job (id, assigned_to, path) values (11, 1, '/a')")
    assert operations(owner) == [("I", "11")]
    assert visible(admin, "job", "id", "jobfeed_account", "alice", "account") == [11]
    assert visible(admin, "job", "id", "jobfeed_account", "bob", "account") == []


def test_attaching_the_table_of_another_role_names_the_missing_grant(database):
    admin = database.connect()
    admin.execute(f"grant create on database {database.name} to installer")
    owner = database.connect("installer")
    owner.execute(install_script(False))
    admin.execute("create table job (id int primary key, status text)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="GRANT postgres TO installer;"):
        owner.execute("select jobfeed.attach('jobs', 'job', status => 'status')")


def test_epoch_is_stable_and_readable_by_a_gateway(installed):
    gateway, owner = installed.connect("gateway_login"), installed.connect()
    gateway.execute("select jobfeed.begin_incarnation()")
    epoch = value(gateway, "select jobfeed.epoch()")
    assert re.fullmatch(r"\d+-[0-9A-F]{8}-\d+-[0-9a-f-]{36}-[0-9a-f-]{36}", epoch)
    gateway.execute("select jobfeed.begin_incarnation()")
    assert value(owner, "select jobfeed.epoch()") == epoch
    # As a crash does with an unlogged table.
    owner.execute("truncate jobfeed.incarnation")
    gateway.execute("select jobfeed.begin_incarnation()")
    assert value(owner, "select jobfeed.epoch()") != epoch


# Capture


def test_insert_logs_the_new_row(two_threads):
    two_threads.execute("insert into job (id, assigned_to, path, payload) values (13, 1, '/x', '{\"a\": 1}')")
    [(op, key, hop, row, before)] = log(two_threads)
    assert (op, key, hop, before) == ("I", "13", None, None)
    two_threads.execute("set timezone = 'UTC'")
    assert row == value(two_threads, "select to_jsonb(job) from job where id = 13")


def test_update_logs_the_new_row_and_the_old_values_of_what_changed(two_threads):
    two_threads.execute("update job set status = 'processing', assignee = 'w1' where id = 11")
    [(op, key, hop, row, before)] = log(two_threads)
    assert (op, key, hop) == ("U", "11", None)
    assert row["status"] == "processing" and row["path"] == "/a"
    assert before.keys() == {"status", "assignee", "updated_at"}
    assert before["status"] == "pending" and before["assignee"] is None


def test_delete_logs_the_old_row(two_threads):
    two_threads.execute("delete from job where id = 21")
    [(op, key, hop, row, before)] = log(two_threads)
    assert (op, key, hop, before) == ("D", "21", None, None)
    assert row["path"] == "/c"


def test_truncate_logs_one_row(two_threads):
    two_threads.execute("truncate job")
    assert log(two_threads) == [("T", None, None, None, None)]


@pytest.mark.parametrize("statement", [
    "update job set status = status",
    "update job set updated_at = now() - interval '1 day' where id = 11",
    "update job set payload = payload where id = 11",
    "update job set status = 'failed' where id = 4711",
    "update thread set title = 'new title'",
    "update thread set author = author",
    "insert into thread (id, title, author) values (3, 'three', 'carol')",
])
def test_what_changes_nothing_worth_a_message_is_not_logged(two_threads, statement):
    two_threads.execute(statement)
    assert log(two_threads) == []


def test_json_that_means_the_same_is_no_change(two_threads):
    two_threads.execute("alter table job add note json; update job set note = '{\"a\":1,\"b\":2}' where id = 11")
    forget(two_threads)
    two_threads.execute("update job set note = '{ \"b\": 2, \"a\": 1 }' where id = 11")
    assert log(two_threads) == []


@pytest.mark.parametrize("length, left_out", [(100, False), (1998, False), (1999, True), (500_000, True)])
def test_a_large_column_is_left_out_of_an_update_that_did_not_change_it(two_threads, length, left_out):
    # The quotes of a JSON string count.
    two_threads.execute("update job set payload = to_jsonb(repeat('x', %s)) where id = 11", [length])
    forget(two_threads)
    two_threads.execute("update job set status = 'processing' where id = 11")
    [(_, _, _, row, before)] = log(two_threads)
    assert ("payload" not in row) == left_out
    assert "payload" not in before


def test_a_large_column_that_changed_is_logged_before_and_after(two_threads):
    two_threads.execute("update job set payload = to_jsonb(repeat('x', 5000)) where id = 11")
    forget(two_threads)
    two_threads.execute("update job set payload = to_jsonb(repeat('y', 5000)) where id = 11")
    [(_, _, _, row, before)] = log(two_threads)
    assert row["payload"] == "y" * 5000 and before["payload"] == "x" * 5000


def test_a_large_column_of_control_characters_is_measured_as_text(two_threads):
    two_threads.execute("update job set path = repeat(E'\\x01', 400) where id = 11")
    forget(two_threads)
    two_threads.execute("update job set status = 'processing' where id = 11")
    assert "path" not in log(two_threads)[0][3]


def test_a_changed_key_is_a_delete_and_an_insert(two_threads):
    two_threads.execute("update job set id = 99 where id = 11")
    deleted, inserted = log(two_threads)
    assert (deleted[0], deleted[1], deleted[3]["id"], deleted[4]) == ("D", "11", 11, None)
    assert (inserted[0], inserted[1], inserted[3]["id"], inserted[4]) == ("I", "99", 99, None)


def test_rollback_to_a_savepoint_leaves_nothing(two_threads):
    with two_threads.transaction():
        two_threads.execute("update job set status = 'processing' where id = 11")
        with two_threads.transaction(force_rollback=True):
            two_threads.execute("update job set status = 'failed' where id = 11")
        two_threads.execute("update job set status = 'success' where id = 11")
    assert [row["status"] for _, _, _, row, _ in log(two_threads)] == ["processing", "success"]


def test_a_transaction_has_one_xid_whatever_its_savepoints(two_threads):
    with two_threads.transaction():
        two_threads.execute("update job set status = 'processing' where id = 11")
        with two_threads.transaction():
            two_threads.execute("update job set status = 'success' where id = 11")
        xid = value(two_threads, "select pg_current_xact_id()::text")
    assert rows(two_threads, "select distinct xid::text from jobfeed.change") == [(xid,)]


def test_deleting_a_thread_logs_the_thread_and_its_jobs(two_threads):
    two_threads.execute("delete from thread where id = 1")
    assert sorted(operations(two_threads)) == [("D", "11"), ("D", "12"), ("S", "1")]
    [moved] = [entry for entry in log(two_threads) if entry[0] == "S"]
    assert moved == ("S", "1", 1, None, {"id": 1, "author": "alice"})


def test_a_new_author_is_logged_with_the_one_before(two_threads):
    two_threads.execute("update thread set author = 'bob', title = 'x' where id = 1")
    assert log(two_threads) == [
        ("S", "1", 1, {"id": 1, "author": "bob"}, {"id": 1, "author": "alice"}),
    ]


def test_a_new_key_of_a_thread_is_logged_under_the_old_one(two_threads):
    two_threads.execute("insert into thread (id, title, author) values (5, 'five', 'eve')")
    two_threads.execute("update thread set id = 6 where id = 5")
    assert log(two_threads) == [("S", "5", 1, {"id": 6, "author": "eve"}, {"id": 5, "author": "eve"})]


def test_upsert_logs_what_it_did(two_threads):
    upsert = """
        insert into job (id, path, status) values (%s, '/z', 'pending')
        on conflict (id) do update set status = 'failed'"""
    two_threads.execute(upsert, [50])
    two_threads.execute(upsert, [50])
    two_threads.execute("insert into job (id, path) values (50, '/z') on conflict do nothing")
    assert operations(two_threads) == [("I", "50"), ("U", "50")]


def test_a_bulk_statement_logs_each_row_in_the_order_of_a_key(two_threads):
    two_threads.execute("insert into job (id, path) select i, '/bulk' from generate_series(1000, 1999) i")
    two_threads.execute("update job set status = 'success' where path = '/bulk'")
    changes = operations(two_threads)
    assert len(changes) == 2000
    assert all([op for op, k in changes if k == str(key)] == ["I", "U"] for key in (1000, 1500, 1999))


def test_copy_is_captured(two_threads):
    with two_threads.cursor().copy("copy job (id, path) from stdin") as copy:
        copy.write("70\t/copied\n71\t/copied\n")
    assert operations(two_threads) == [("I", "70"), ("I", "71")]


def test_replicated_changes_are_captured(two_threads):
    two_threads.execute("set session_replication_role = replica; update job set status = 'success' where id = 11")
    assert operations(two_threads) == [("U", "11")]


def test_a_writer_without_privileges_on_jobfeed_is_captured(installed, two_threads):
    two_threads.execute("grant select, insert, update, delete on job, thread to app")
    app = installed.connect("app")
    app.execute("insert into job (id, path) values (80, '/app')")
    app.execute("update thread set author = 'app' where id = 1")
    assert operations(two_threads) == [("I", "80"), ("S", "1")]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute("select * from jobfeed.change")


def test_the_settings_of_a_writer_do_not_show(two_threads):
    two_threads.execute("""
        alter table job add moment timestamptz, add pause interval, add bytes bytea, add ratio float8,
            add span tstzrange;
    """)
    insert = """
        insert into job (id, path, moment, pause, bytes, ratio, span, created_at, updated_at)
        values (%s, '/', '2026-01-02 03:04:05+00', '1 day 02:03:04', '\\x00ff', 0.1::float8 + 0.2,
            '[2026-01-02 03:04:05+00, 2026-02-03 03:04:05+00)', '2026-01-01 00:00+00', '2026-01-01 00:00+00')"""
    two_threads.execute(insert, [90])
    two_threads.execute("""
        set timezone = 'Asia/Kathmandu'; set datestyle = 'German'; set intervalstyle = 'iso_8601';
        set bytea_output = 'escape'; set extra_float_digits = -15; set search_path = pg_temp, public;
    """)
    two_threads.execute(insert, [91])
    first, second = (row for _, _, _, row, _ in log(two_threads))
    assert {**first, "id": 91} == second
    assert first["moment"] == "2026-01-02T03:04:05+00:00"
    assert value(two_threads, "show timezone") == "Asia/Kathmandu"


@pytest.mark.parametrize("change", [
    "alter table job add extra text default 'x'",
    "alter table job rename column payload to load",
    "alter table job drop column payload",
    "alter table job rename column id to number",
    "alter table job rename to task; create view job as select * from task",
    "alter table thread rename column author to writer",
    "alter table job rename column updated_at to touched_at; drop trigger job_touch on job",
])
def test_a_later_change_of_columns_never_makes_a_writer_fail(two_threads, change):
    two_threads.execute("insert into job (assigned_to, path) values (1, '/before')")
    two_threads.execute("update job set status = 'processing'")
    two_threads.execute(change)
    forget(two_threads)
    two_threads.execute("update job set status = 'success', retries = retries + 1")
    two_threads.execute("update thread set title = 'x'")
    two_threads.execute("delete from job where path = '/before'")
    two_threads.execute("insert into job (assigned_to, path) values (2, '/after')")
    two_threads.execute("delete from thread where id = 2")
    assert [op for op, _ in operations(two_threads)].count("U") == 5


# The doorbell


def heard(listener, connection):
    """What was rung, by the time that everything before this is committed."""
    connection.execute("notify jobfeed, 'end'")
    payloads = []
    for notification in listener.notifies(timeout=30):
        if notification.payload == "end":
            return payloads
        payloads.append(notification.payload)
    raise AssertionError("no notification")


@pytest.fixture
def listener(installed):
    connection = installed.connect()
    connection.execute("listen jobfeed")
    return connection


@pytest.fixture
def doorbell(two_threads, listener):
    """Runs statements in one transaction each and says what was rung."""
    def ring(*statements):
        for statement in statements:
            two_threads.execute(statement)
        return heard(listener, two_threads)

    return ring


def node(connection, *asleep):
    connection.execute("delete from jobfeed.node")
    for number, is_asleep in enumerate(asleep):
        connection.execute("insert into jobfeed.node (node, pid, asleep) values (%s, 1, %s)", [f"gw-{number}", is_asleep])


LOGGED = {
    "insert": "insert into job (path) values ('/')",
    "update": "update job set status = 'processing' where id = 11",
    "new key": "update job set id = 99 where id = 11",
    "delete": "delete from job where id = 11",
    "truncate": "truncate job",
    "owner path": "update thread set author = 'carol' where id = 1",
}


@pytest.mark.parametrize("statement", LOGGED)
@pytest.mark.parametrize("asleep, rings", [((), 0), ((False,), 0), ((True,), 1), ((False, True), 1)])
def test_a_writer_rings_while_a_gateway_sleeps(two_threads, doorbell, asleep, rings, statement):
    node(two_threads, *asleep)
    assert doorbell(LOGGED[statement]) == [""] * rings


@pytest.mark.parametrize("asleep", [(), (False,), (True,)])
@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
@pytest.mark.parametrize("statement", LOGGED)
def test_a_writer_that_cannot_see_the_flag_always_rings(two_threads, doorbell, asleep, level, statement):
    node(two_threads, *asleep)
    assert doorbell(f"begin isolation level {level}; {LOGGED[statement]}; commit") == [""]


def test_what_is_not_logged_does_not_ring(two_threads, doorbell):
    node(two_threads, True)
    assert doorbell("update job set updated_at = now()", "update thread set title = 'x'") == []


def test_each_commit_rings_once(two_threads, doorbell):
    node(two_threads, True)
    assert doorbell("update job set status = 'processing'; update job set status = 'success'") == [""]


@pytest.mark.parametrize("statements_before, rings", [(1, 1), (2, 1), (3, 0)])
def test_a_gateway_that_falls_asleep_while_a_writer_writes(installed, two_threads, listener, statements_before, rings):
    """READ COMMITTED: the flag is read when the change is logged."""
    writer = installed.connect(autocommit=False)
    node(two_threads, False)
    for place, statement in enumerate(["select count(*) from job", "select 1", LOGGED["update"], "select 1"]):
        if place == statements_before:
            node(two_threads, True)
            armed = value(two_threads, "select pg_snapshot_xmax(pg_current_snapshot())::text")
        writer.execute(statement)
    if not rings:
        # The barrier of the gateway waits for this writer, and so reads what it logged without being told.
        assert value(two_threads, "select pg_snapshot_xmin(pg_current_snapshot()) < %s::xid8", [armed])
    writer.commit()
    assert heard(listener, two_threads) == [""] * rings


@pytest.mark.parametrize("statement", [
    "select jobfeed.detach('jobs')",
    "select jobfeed.attach('jobs', 'job', status => 'status')",
    "select jobfeed.ring_always()",
])
@pytest.mark.parametrize("asleep", [(), (False,)])
def test_what_happens_rarely_rings_everybody(two_threads, doorbell, asleep, statement):
    node(two_threads, *asleep)
    assert doorbell(statement) == [""]


# Reading

READ = """
    select seq from jobfeed.change
    where xid >= pg_snapshot_xmax(%(since)s::pg_snapshot)
       or xid = any (array(select pg_snapshot_xip(%(since)s::pg_snapshot)))
    order by seq"""


def read(connection, since):
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read")
        return [seq for (seq,) in rows(connection, READ, {"since": since})], value(
            connection, "select pg_current_snapshot()::text")


def test_the_difference_of_snapshots_returns_each_row_once_where_a_sequence_loses_some(installed, two_threads):
    slow, fast, reader = installed.connect(autocommit=False), installed.connect(), installed.connect()
    cursor = value(reader, "select pg_current_snapshot()::text")
    last = 0

    def read_by_sequence():
        nonlocal last
        found = [seq for (seq,) in rows(reader, "select seq from jobfeed.change where seq > %s order by seq", [last])]
        last = max(found, default=last)
        return found

    by_snapshot, by_sequence = [], []
    slow.execute("update job set status = 'processing' where id = 11")
    for step in range(4):
        fast.execute("update job set retries = retries + 1 where id = 21")
        if step == 2:
            slow.commit()
        batch, cursor = read(reader, cursor)
        by_snapshot += batch
        by_sequence += read_by_sequence()

    everything = [seq for (seq,) in rows(reader, "select seq from jobfeed.change order by seq")]
    assert sorted(by_snapshot) == everything and len(everything) == 5
    assert set(everything) - set(by_sequence), "the naive read is expected to lose the slow transaction"
    assert read(reader, cursor)[0] == []


# Attach: what it refuses

REFUSALS = [
    ("'Jobs', 'job', status => 'status'", 'feed name "Jobs" is not valid'),
    ("null, 'job', status => 'status'", "feed name null is not valid"),
    ("'j', 'job'", 'feed "j" needs a status column (status => ...); did you mean "status"?'),
    ("'j', 'job', status => 'stat'", 'job has no column "stat"; did you mean "status"?'),
    ("'j', 'job', status => 'Status'", 'job has no column "Status"; did you mean "status"?'),
    ("'j', 'job', status => 'zzzzzzzzz'", 'job has no column "zzzzzzzzz"; the columns are: id, assigned_to, path'),
    ("'j', 'job', '{idd}', 'status'", 'job has no column "idd"; did you mean "id"?'),
    ("'j', 'job', '{assigned_to}', 'status'",
     'key column "assigned_to" of job may be null; run: ALTER TABLE public.job ALTER COLUMN assigned_to SET NOT NULL'),
    ("'j', 'job', '{path}', 'status'",
     "the key (path) of job is not unique; run: CREATE UNIQUE INDEX ON public.job (path)"),
    ("'j', 'job', '{id,id}', 'status'", "the key (id, id) of job names a column twice"),
    ("'j', 'keyless', status => 'status'", "keyless has no primary key; name the columns of a unique index as key"),
    ("'j', 'job', status => 'status', hidden => '{error}'", 'job has no column "error"; did you mean "errors"?'),
    ("'j', 'job', status => 'status', quiet => '{update_at}'",
     'job has no column "update_at"; did you mean "updated_at"?'),
    ("'j', 'job', status => 'status', gauges => '{progres}'", 'job has no column "progres"; did you mean "progress"?'),
    ("'j', 'job', status => 'status', hidden => '{status}'",
     'column "status" of job cannot be hidden, because it is the status'),
    ("'j', 'job', status => 'status', hidden => '{id}'",
     'column "id" of job cannot be hidden, because it is part of the key'),
    ("'j', 'job', status => 'status', quiet => '{status}'", "cannot be quiet, because it is the status"),
    ("'j', 'job', status => 'status', quiet => '{assigned_to}', owner => 'assigned_to.author'",
     'column "assigned_to" of job cannot be quiet, because it is on the owner path'),
    ("'j', 'job', status => 'status', gauges => '{status}'", "cannot be a gauge, because it is the status"),
    ("'j', 'job', status => 'status', gauges => '{progress}', quiet => '{progress}'",
     "cannot be a gauge, because it is quiet"),
    ("'j', 'job', status => 'status', owner => 'assigned.author'",
     'job has no column "assigned"; did you mean "assigned_to"?'),
    ("'j', 'job', status => 'status', owner => 'assigned_to.autor'",
     'thread has no column "autor"; did you mean "author"?'),
    ("'j', 'job', status => 'status', owner => 'path.author'",
     '"path" of job is not part of a foreign key; the foreign keys of job are: (assigned_to) references thread (id)'),
    ("'j', 'job', status => 'status', owner => 'assigned_to.author.name'",
     '"author" of thread is not part of a foreign key; thread has no foreign keys'),
    ("'j', 'job', status => 'status', owner => ''", "owner path '' is not a list of columns joined by dots"),
    ("'j', 'job', status => 'status', owner => 'assigned_to..author'", "is not a list of columns joined by dots"),
    ("'j', 'twice', status => 'status', owner => 'link.author'",
     '"link" of twice is ambiguous, it is part of several foreign keys; the foreign keys of twice are: '
     "(link) references other (id), (link) references thread (id)"),
    ("'j', 'job_view', status => 'status'", "job_view is a view; only tables can be attached"),
    ("'j', 'job_list', status => 'status'", "job_list is a materialized view; only tables can be attached"),
    ("'j', 'job_id_seq', status => 'status'", "job_id_seq is a sequence; only tables can be attached"),
    ("'j', 'scratch', status => 'status'", "scratch is a temporary table; other sessions cannot read it"),
    ("'j', 'pg_class', status => 'relname'", "pg_catalog.pg_class is a system table; attach a table of your own"),
    ("'j', 'jobfeed.change', status => 'op'", "jobfeed.change is a system table; attach a table of your own"),
    ("'j', 'part_1', status => 'status'", "part_1 is a partition; attach parts"),
    ("'j', 'parent', status => 'status'", "parent has child tables by inheritance"),
    ("'j', null, status => 'status'", 'feed "j" needs a table; there is none with oid null'),
    ("'j', 'thread', status => 'title', owner => 'author', quiet => '{author}'", "because it is on the owner path"),
]


@pytest.mark.parametrize("arguments, message", REFUSALS)
def test_attach_refuses_and_says_why(db, arguments, message):
    db.execute("""
        select jobfeed.detach('jobs');
        create table keyless (id int, status text);
        create table other (id bigint primary key, author text);
        create table twice (id int primary key, status text, link bigint references thread references other);
        create view job_view as select * from job;
        create materialized view job_list as select * from job;
        create temporary table scratch (id int primary key, status text);
        create table parts (id int primary key, status text) partition by range (id);
        create table part_1 partition of parts for values from (1) to (10);
        create table parent (id int primary key, status text);
        create table child () inherits (parent);
    """)
    before = catalog(db)
    with pytest.raises(psycopg.Error) as refusal:
        db.execute(f"select jobfeed.attach({arguments})")
    assert message in refusal.value.diag.message_primary
    assert catalog(db) == before


def test_a_table_is_one_feed_only(db):
    with pytest.raises(psycopg.errors.DuplicateObject, match='job is already attached as feed "jobs"; run: '):
        db.execute("select jobfeed.attach('tasks', 'job', status => 'status')")


def test_an_unknown_feed_cannot_be_detached(db):
    with pytest.raises(psycopg.errors.UndefinedObject, match='there is no feed "job"; did you mean "jobs"?'):
        db.execute("select jobfeed.detach('job')")
    db.execute("select jobfeed.detach('jobs')")
    with pytest.raises(psycopg.errors.UndefinedObject, match='there is no feed "jobs"; there are no feeds'):
        db.execute("select jobfeed.detach('jobs')")


def test_a_hidden_column_that_everybody_may_read_is_warned_about(db):
    warnings = []
    db.add_notice_handler(lambda diagnostic: warnings.append(diagnostic.message_primary))
    db.execute("grant select on job to public")
    db.execute("select jobfeed.attach('jobs', 'job', status => 'status', hidden => '{errors}')")
    assert any('accounts can read the hidden column "errors" of job' in warning for warning in warnings)


def test_a_role_that_loses_copy_is_warned_about(installed, db):
    warnings = []
    db.add_notice_handler(lambda diagnostic: warnings.append(diagnostic.message_primary))
    db.execute("grant select, insert on job to app")
    db.execute("select jobfeed.attach('jobs', 'job', status => 'status')")
    assert [w for w in warnings if 'Postgres refuses COPY ... FROM to "app"; they have to INSERT' in w]
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        installed.connect("app").execute("copy job (path) from stdin")


def test_a_json_column_is_warned_about(db):
    warnings = []
    db.add_notice_handler(lambda diagnostic: warnings.append(diagnostic.message_primary))
    db.execute("alter table job add note json")
    db.execute("select jobfeed.attach('jobs', 'job', status => 'status')")
    assert [w for w in warnings if w.startswith('column "note" of job is of type json')]


# Attach: what it does


def test_the_definition_is_returned_and_stored(db):
    definition = value(db, """
        select to_jsonb(a) from jobfeed.attach('jobs', 'job', status => 'status', owner => 'assigned_to.author',
            hidden => '{errors}', quiet => '{updated_at}', gauges => '{progress}') a""")
    assert definition == value(db, "select to_jsonb(f) from jobfeed.feed f")
    assert definition | {"since": 0, "attached_at": 0} == {
        "name": "jobs", "relation": "job", "schema_name": "public", "table_name": "job", "key": ["id"],
        "status": "status", "owner": "assigned_to.author", "owner_column": "author",
        "hops": [{"schema": "public", "table": "thread", "from": ["assigned_to"], "to": ["id"]}],
        "hidden": ["errors"], "quiet": ["updated_at"], "gauges": ["progress"], "order_column": "created_at",
        "since": 0, "attached_at": 0, "row_security_was_off": True, "secret": [], "owner_claim": None, "scope": {},
        "lifecycle": None,
    }


@pytest.mark.parametrize("arguments, keeps_since", [
    ("'job', status => 'status', owner => 'assigned_to.author'", True),
    ("'job', status => 'assignee', owner => 'assigned_to.author', hidden => '{payload}'", True),
    ("'job', status => 'status', owner => 'assigned_to.title'", False),
    ("'job', status => 'status', owner => 'reviewed_by.author'", False),
    ("'job', status => 'status'", False),
    ("'job', '{id,path}', 'status', 'assigned_to.author'", False),
    ("'thread', status => 'title', owner => 'author'", False),
])
def test_attaching_again_keeps_the_log_valid_when_it_speaks_of_the_same_rows_and_owners(db, arguments, keeps_since):
    since = "select since::text from jobfeed.feed where name = 'jobs'"
    before = value(db, since)
    db.execute("create unique index on job (id, path)")
    db.execute("alter table job add reviewed_by bigint references thread")
    db.execute(f"select jobfeed.attach('jobs', {arguments})")
    assert (value(db, since) == before) == keeps_since


def test_attaching_again_after_a_different_definition_restores_the_first(two_threads):
    before = catalog(two_threads)
    two_threads.execute("select jobfeed.attach('jobs', 'thread', status => 'title', owner => 'author')")
    assert catalog(two_threads) != before
    two_threads.execute("""
        select jobfeed.attach('jobs', 'job', status => 'status', owner => 'assigned_to.author',
            hidden => '{errors}', quiet => '{updated_at}', gauges => '{progress}')""")
    assert catalog(two_threads) == before


SHAPES = {
    "plain": "",
    "row security was on": "alter table job enable row level security; create policy mine on job using (true)",
    "row security was forced": "alter table job enable row level security; alter table job force row level security",
    "row security on the path": "alter table thread enable row level security; create policy p on thread using (true)",
    "grants to others": "grant select, update (status) on job to app; grant select (title) on thread to app",
    "a second feed on the path":
        "create table note (id int primary key, status text, thread bigint references thread);"
        "select jobfeed.attach('notes', 'note', status => 'status', owner => 'thread.author')",
    "the path is a feed too": "select jobfeed.attach('threads', 'thread', status => 'title', owner => 'author')",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_detach_leaves_everything_as_it_was(db, shape):
    db.execute("select jobfeed.detach('jobs')")
    db.execute(SHAPES[shape] or "select")
    before = catalog(db)
    db.execute("""
        select jobfeed.attach('jobs', 'job', status => 'status', owner => 'assigned_to.author',
            hidden => '{errors}', quiet => '{updated_at}', gauges => '{progress}')""")
    assert catalog(db) != before
    db.execute("select jobfeed.detach('jobs')")
    assert catalog(db) == before


def test_detach_takes_back_the_use_of_a_schema(bare):
    bare.execute("create schema app; create table app.job (id int primary key, status text)")
    before = catalog(bare)
    bare.execute("select jobfeed.attach('jobs', 'app.job', status => 'status')")
    bare.execute("select jobfeed.detach('jobs')")
    assert catalog(bare) == before


def test_detach_works_after_the_tables_were_renamed_or_dropped(two_threads):
    two_threads.execute("alter table thread rename to topic; drop table job")
    two_threads.execute("select jobfeed.detach('jobs')")
    two_threads.execute("update topic set author = 'x'")
    assert log(two_threads) == []
    assert catalog(two_threads)["triggers"] == []


# Row security


@pytest.mark.parametrize("role, user, access, expected", [
    ("jobfeed_account", "alice", "account", [11, 12]),
    ("jobfeed_account", "bob", "account", [21]),
    ("jobfeed_account", "nobody", "account", []),
    ("jobfeed_account", "", "account", []),
    ("jobfeed_account", None, "account", []),
    ("jobfeed_account", "alice", None, []),
    ("jobfeed_account", "alice", "", []),
    ("jobfeed_account", "alice", "operator", []),
    ("jobfeed_account", None, None, []),
    ("jobfeed_operator", None, None, [11, 12, 21, 30]),
    ("jobfeed_gateway", None, None, [11, 12, 21, 30]),
])
def test_who_sees_which_rows(two_threads, role, user, access, expected):
    assert visible(two_threads, "job", "id", role, user, access) == expected


def test_an_author_with_an_empty_name_is_nobody(two_threads):
    two_threads.execute("update thread set author = '' where id = 1")
    assert visible(two_threads, "job", "id", "jobfeed_account", "", "account") == []


def test_the_hidden_column_is_not_readable(two_threads):
    with reading_as(two_threads, "jobfeed_account", "alice", "account"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            two_threads.execute("select errors from job")
    for role in ("jobfeed_operator", "jobfeed_gateway"):
        with reading_as(two_threads, role):
            assert rows(two_threads, "select errors from job where id = 11") == [([],)]


@pytest.mark.parametrize("statement", [
    "select * from thread",
    "update job set status = 'success'",
    "delete from job",
    "insert into job (path) values ('/')",
    "select * from jobfeed.change",
    "select jobfeed.detach('jobs')",
    "select jobfeed.attach('jobs', 'job', status => 'status')",
])
@pytest.mark.parametrize("role", ["jobfeed_account", "jobfeed_operator"])
def test_readers_can_do_nothing_else(two_threads, role, statement):
    with reading_as(two_threads, role, "alice", "account"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            two_threads.execute(statement)


def test_policies_of_others_do_not_widen_what_an_account_sees(two_threads):
    two_threads.execute("create policy everybody on job using (true)")
    assert visible(two_threads, "job", "id", "jobfeed_account", "alice", "account") == [11, 12]


def test_row_security_on_the_path_does_not_interfere(two_threads):
    two_threads.execute("alter table thread enable row level security")
    two_threads.execute("""
        select jobfeed.attach('jobs', 'job', status => 'status', owner => 'assigned_to.author')""")
    assert visible(two_threads, "job", "id", "jobfeed_account", "alice", "account") == [11, 12]
    assert visible(two_threads, "thread", "id", "jobfeed_gateway") == [1, 2]


def test_forced_row_security_on_the_path_does_not_interfere(database):
    admin = database.connect()
    admin.execute(f"grant create on database {database.name} to installer; grant create on schema public to installer")
    owner = database.connect("installer")
    owner.execute(install_script(True))
    owner.execute("insert into thread (id, title, author) values (1, 'one', 'alice')")
    owner.execute("insert into job (id, assigned_to, path) values (11, 1, '/a')")
    owner.execute("alter table thread enable row level security; alter table thread force row level security")
    assert visible(admin, "job", "id", "jobfeed_account", "alice", "account") == []
    owner.execute("select jobfeed.attach('jobs', 'job', status => 'status', owner => 'assigned_to.author')")
    assert visible(admin, "job", "id", "jobfeed_account", "alice", "account") == [11]


def test_without_an_owner_path_only_operators_see_rows(two_threads):
    two_threads.execute("select jobfeed.attach('jobs', 'job', status => 'status')")
    assert visible(two_threads, "job", "id", "jobfeed_account", "alice", "account") == []
    assert visible(two_threads, "job", "id", "jobfeed_operator") == [11, 12, 21, 30]


@pytest.mark.parametrize("attached_again", [False, True])
def test_the_application_goes_on_as_if_row_security_were_off(installed, two_threads, attached_again):
    two_threads.execute("grant select, insert, update, delete on job to app")
    if attached_again:
        two_threads.execute("select jobfeed.attach('jobs', 'job', status => 'status', owner => 'assigned_to.author')")
    app = installed.connect("app")
    assert value(app, "select count(*) from job") == 4
    app.execute("insert into job (id, path) values (100, '/app')")
    assert app.execute("update job set status = 'success'").rowcount == 5
    assert app.execute("delete from job where id = 30").rowcount == 1
    two_threads.execute("set role app")
    assert value(two_threads, "select count(*) from job") == 4


def test_the_application_keeps_its_indexes(installed, db):
    db.execute("""
        create type state as enum ('new', 'done');
        create table task (id int primary key, state state);
        insert into task select i, case when i % 1000 = 0 then 'new'::state else 'done' end
        from generate_series(1, 20000) i;
        create index task_state on task (state);
        analyze task;
        grant select on task to app;
        select jobfeed.attach('tasks', 'task', status => 'state');
    """)
    plan = rows(installed.connect("app"), "explain (costs off) select * from task where state = 'new'")
    assert "task_state" in str(plan) and "is_reader" not in str(plan) and "InitPlan" not in str(plan)


def test_a_known_application_that_is_also_an_account_sees_what_an_account_sees(installed, two_threads):
    two_threads.execute("create role mixed login in role jobfeed_account; grant select on job to mixed")
    two_threads.execute("select jobfeed.attach('jobs', 'job', status => 'status', owner => 'assigned_to.author')")
    try:
        assert value(installed.connect("mixed"), "select count(*) from job") == 0
    finally:
        two_threads.execute("drop owned by mixed; drop role mixed")


def test_a_gateway_that_is_also_an_account_sees_all_rows(installed, two_threads):
    two_threads.execute("create role everything login in role jobfeed_gateway, jobfeed_account")
    try:
        assert value(installed.connect("everything"), "select count(*) from job") == 4
    finally:
        two_threads.execute("drop role everything")


def test_an_application_that_may_become_an_account_is_not_one(installed, two_threads):
    two_threads.execute("create role authenticator login noinherit in role jobfeed_account")
    two_threads.execute("grant select on job to authenticator")
    try:
        assert value(installed.connect("authenticator"), "select count(*) from job") == 4
        assert visible(installed.connect("authenticator"), "job", "id", "jobfeed_account", "bob", "account") == [21]
    finally:
        two_threads.execute("drop owned by authenticator; drop role authenticator")


# Least privilege of the gateway


@pytest.mark.parametrize("statement", [
    "select * from job",
    "select id, author from thread",
    "select * from jobfeed.feed",
    "select * from jobfeed.change",
    "select * from jobfeed.installation",
    "select * from jobfeed.horizon",
    "select * from jobfeed.revocation",
    "select jobfeed.epoch()",
    "select jobfeed.key_text('{\"id\": 1}', '{id}')",
    "insert into jobfeed.node (node, pid) values ('gw', 1) on conflict (node) do update set asleep = true",
    "delete from jobfeed.node where pid = 1",
])
def test_what_a_gateway_may_do(installed, statement):
    installed.connect("gateway_login").execute(statement)


@pytest.mark.parametrize("statement", [
    "update job set status = 'success'",
    "insert into job (path) values ('/')",
    "delete from job",
    "truncate job",
    "select title from thread",
    "update thread set author = 'x'",
    "select * from secret",
    "insert into jobfeed.change (feed, op) values ('jobs', 'T')",
    "delete from jobfeed.change",
    "update jobfeed.change set feed = 'x'",
    "truncate jobfeed.change",
    "select * from thread",
    "select count(title) from thread",
    "select t from thread t",
    "update jobfeed.feed set hidden = '{}'",
    "update jobfeed.installation set version = 2",
    "update jobfeed.horizon set xid = '5'",
    "select * from jobfeed.migration",
    "truncate jobfeed.node",
    "select jobfeed.ring()",
    "select jobfeed.ring_always()",
    "select jobfeed.kick('alice')",
    "insert into jobfeed.revocation (user_name, expires_at) values ('alice', 'infinity')",
    "delete from jobfeed.revocation",
    "select jobfeed.attach('j', 'secret', status => 'status')",
    "select jobfeed.detach('jobs')",
    "create table jobfeed.mine ()",
])
def test_what_a_gateway_may_not_do(installed, statement):
    installed.connect().execute("create table secret (id int primary key, status text)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        installed.connect("gateway_login").execute(statement)


def test_no_function_is_for_everybody_but_the_two_that_policies_ask(db):
    public = rows(db, """
        select proname from pg_proc
        where pronamespace = 'jobfeed'::regnamespace and has_function_privilege('app', oid, 'EXECUTE')
        order by 1""")
    assert public == [("is_reader",), ("reads_all",)]


def test_every_function_and_table_is_described(db):
    assert rows(db, """
        select oid::regprocedure::text from pg_proc
        where pronamespace = 'jobfeed'::regnamespace and obj_description(oid, 'pg_proc') is null
        union all
        select oid::regclass::text from pg_class
        where not exists (select from pg_depend where objid = pg_class.oid and deptype = 'i' and relkind = 'S')
          and relnamespace = 'jobfeed'::regnamespace and relkind in ('r', 'p', 'S') and obj_description(oid, 'pg_class') is null
    """) == []


def test_functions_with_the_rights_of_the_owner_pin_their_search_path(db):
    assert rows(db, """
        select oid::regprocedure::text from pg_proc
        where pronamespace = 'jobfeed'::regnamespace
          and not coalesce('search_path=pg_catalog, pg_temp' = any (proconfig), false)
    """) == []


@pytest.mark.parametrize("role", ["app", "jobfeed_account", "jobfeed_operator", "jobfeed_gateway"])
def test_nobody_calls_what_runs_with_the_rights_of_the_owner_but_for_his_own_purpose(db, role):
    may = {
        "jobfeed_gateway": ["begin_incarnation", "epoch", "owner_of_jobs", "rotate"],
        "jobfeed_account": ["owner_of_jobs"],
    }
    assert [name for (name,) in rows(db, """
        select proname::text from pg_proc
        where pronamespace = 'jobfeed'::regnamespace and prosecdef and has_function_privilege(%s, oid, 'EXECUTE')
        order by 1""", [role])] == may.get(role, [])


HOSTILE = "x'); drop table bystander; select ('\"; drop table bystander; --$$%s%%\\"


def test_hostile_names_and_values_are_names_and_values(bare):
    """In every argument of attach, in what the triggers log, and in what the policies compare."""
    def name(text):
        return '"' + text.replace('"', '""') + '"'

    def literal(text):
        return "'" + text.replace("'", "''") + "'"

    bad = HOSTILE[:60]
    table, column, path = name(bad), name(bad + "1"), name(bad + "2")
    bare.execute(f"""
        create table bystander ();
        create schema {name(bad)};
        create table {name(bad)}.{name(bad + "t")} ({column} text primary key, {path} text);
        create table {name(bad)}.{table} ({column} text primary key, {name(bad + "s")} text, {name(bad + "h")} text,
            {name(bad + "q")} text, {name(bad + "g")} text, {path} text references {name(bad)}.{name(bad + "t")});
    """)
    bare.execute(f"""
        select jobfeed.attach('hostile', {literal(name(bad) + "." + table)}, status => {literal(bad + "s")},
            owner => {literal(path + "." + path)}, hidden => array[{literal(bad + "h")}],
            quiet => array[{literal(bad + "q")}], gauges => array[{literal(bad + "g")}])""")
    bare.execute(f"insert into {name(bad)}.{name(bad + 't')} values ({literal(HOSTILE)}, {literal(HOSTILE)})")
    bare.execute(f"insert into {name(bad)}.{table} values ({', '.join([literal(HOSTILE)] * 6)})")
    bare.execute(f"update {name(bad)}.{table} set {name(bad + 's')} = 'new'")
    bare.execute(f"update {name(bad)}.{name(bad + 't')} set {path} = {literal(HOSTILE + '!')}")
    assert operations(bare, "hostile") == [("I", HOSTILE), ("U", HOSTILE), ("S", HOSTILE)]
    for user, sees in [(HOSTILE + "!", 1), (HOSTILE, 0), ("' or true --", 0)]:
        with reading_as(bare, "jobfeed_account", user, "account"):
            [(count,)] = bare.execute(f"select count({column}) from {name(bad)}.{table}").fetchall()
            assert count == sees
    bare.execute(install_script(False))
    bare.execute("select jobfeed.detach('hostile')")
    assert catalog(bare)["triggers"] == [] and catalog(bare)["policies"] == []
    assert value(bare, "select to_regclass('bystander') is not null")


@pytest.mark.parametrize("argument", ["feed", "key", "status", "owner", "hidden", "quiet", "gauges"])
def test_a_hostile_argument_that_names_nothing_is_refused(db, argument):
    db.execute("create table bystander (); create table task (id int primary key, status text)")
    arguments = {"feed": "tasks", "relation": "task", "status": "status"}
    hostile = [HOSTILE] if argument in ("key", "hidden", "quiet", "gauges") else HOSTILE
    arguments[argument] = hostile
    places = ", ".join(f"{name} => %s" + ("::regclass" if name == "relation" else "") for name in arguments)
    before = catalog(db)
    with pytest.raises((psycopg.errors.UndefinedColumn, psycopg.errors.InvalidName, psycopg.errors.InvalidParameterValue)):
        db.execute(f"select jobfeed.attach({places})", list(arguments.values()))
    with pytest.raises(psycopg.errors.UndefinedObject):
        db.execute("select jobfeed.detach(%s)", [HOSTILE])
    assert catalog(db) == before
    assert value(db, "select to_regclass('bystander') is not null")


# Kick


def test_a_kick_is_recorded_and_rings(two_threads, doorbell):
    node(two_threads, False)
    assert doorbell("select jobfeed.kick('alice')", "select jobfeed.kick(token_id => 't-1', lasts => '1 hour')") == ["", ""]
    assert rows(two_threads, "select user_name, token_id, expires_at - revoked_at, revoked_at <= clock_timestamp()"
                             " from jobfeed.revocation order by id") == [
        ("alice", None, timedelta(days=1), True), (None, "t-1", timedelta(hours=1), True)]


def test_a_kick_that_has_expired_is_removed_by_the_next(db):
    first = value(db, "select jobfeed.kick('alice')")
    db.execute("update jobfeed.revocation set revoked_at = '2000-01-01', expires_at = now()")
    second = value(db, "select jobfeed.kick('bob')")
    assert second > first
    assert rows(db, "select id, user_name from jobfeed.revocation") == [(second, "bob")]


@pytest.mark.parametrize("arguments, message", [
    ("", "needs either a user or a token"),
    ("'alice', 't-1'", "needs either a user or a token"),
    ("''", "needs either a user or a token"),
    ("'', 't-1'", "needs either a user or a token"),
    ("token_id => ''", "needs either a user or a token"),
    ("'alice', lasts => '0'", "must last longer than nothing, such as 1 day; lasts is 00:00:00"),
    ("'alice', lasts => '-1 day'", "lasts is -1 days"),
    ("'alice', lasts => null", "lasts is null"),
])
def test_a_kick_of_nobody_is_refused(db, arguments, message):
    with pytest.raises(psycopg.errors.InvalidParameterValue) as refusal:
        db.execute(f"select jobfeed.kick({arguments})")
    assert message in refusal.value.diag.message_primary


# Shapes of tables


def test_weird_names(bare):
    bare.execute("""
        create schema "Weird Name";
        create table "Weird Name"."user's" ("the ""id" uuid primary key, "Na.me" text);
        create table "Weird Name"."job's" (
            "Key, one" text, "key%two" int, "St'atus" text, "se\\cret" text, "when" timestamptz,
            "own.er" uuid references "Weird Name"."user's",
            primary key ("Key, one", "key%two"));
        select jobfeed.attach('weird', '"Weird Name"."job''s"', status => 'St''atus', owner => '"own.er"."Na.me"',
            hidden => array['se\\cret'], quiet => array['when']);
        insert into "Weird Name"."user's" values ('00000000-0000-0000-0000-00000000000a', 'alice');
        insert into "Weird Name"."job's" values
            ('50%, off', 7, 'new', 'psst', now(), '00000000-0000-0000-0000-00000000000a'),
            ('b', 8, 'new', 'psst', now(), null);
        update "Weird Name"."user's" set "Na.me" = 'bob';
        update "Weird Name"."job's" set "when" = now();
    """)
    assert operations(bare, "weird") == [
        ("I", "50%25%2C off,7"), ("I", "b,8"), ("S", "00000000-0000-0000-0000-00000000000a")]
    table = '"Weird Name"."job\'s"'
    assert visible(bare, table, '"key%two"', "jobfeed_account", "bob", "account") == [7]
    assert visible(bare, table, '"key%two"', "jobfeed_account", "alice", "account") == []
    with reading_as(bare, "jobfeed_account", "bob", "account"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            bare.execute(f'select "se\\cret" from {table}')
    before = catalog(bare)
    bare.execute(install_script(False))
    assert catalog(bare) == before
    bare.execute("select jobfeed.detach('weird')")
    assert catalog(bare)["triggers"] == [] and catalog(bare)["policies"] == []


@pytest.mark.parametrize("key_type, literal, text", [
    ("bigint", "9007199254740993", "9007199254740993"),
    ("uuid", "'6F9619FF-8B86-D011-B42D-00C04FC964FF'", "6f9619ff-8b86-d011-b42d-00c04fc964ff"),
    ("text", "'a,b%c \"d\" \\ ü'", 'a,b%c "d" \\ ü'),
    ("numeric", "1.50", "1.50"),
    ("date", "'2026-11-21'", "2026-11-21"),
])
def test_a_single_key_is_logged_as_its_text(bare, key_type, literal, text):
    bare.execute(f"""
        create table job (id {key_type} primary key, status text);
        select jobfeed.attach('jobs', 'job', status => 'status');
        insert into job values ({literal}, 'new');
        update job set status = 'old';
        delete from job;
    """)
    assert operations(bare) == [("I", text), ("U", text), ("D", text)]


def test_the_parts_of_a_composite_key_come_in_key_order(bare):
    bare.execute("""
        create table job (b text, a int, status text, primary key (b, a));
        select jobfeed.attach('jobs', 'job', status => 'status');
        insert into job values ('x,%', 1, 'new');
        update job set a = 2;
    """)
    assert operations(bare) == [("I", "x%2C%25,1"), ("D", "x%2C%25,1"), ("I", "x%2C%25,2")]


def test_enum_status_generated_columns_and_a_unique_key(bare):
    bare.execute("""
        create type state as enum ('new', 'done');
        create table job (code text not null unique, state state, n int, double int generated always as (n * 2) stored);
        select jobfeed.attach('jobs', 'job', '{code}', 'state');
        insert into job values ('c1', 'new', 1);
        update job set state = 'done', n = 2;
    """)
    (_, key, _, row, before) = log(bare)[1]
    assert (key, row["state"], row["double"]) == ("c1", "done", 4)
    assert before == {"state": "new", "n": 1, "double": 2}


HOPS = """
    create table region (id int primary key, boss text);
    create table team (id int primary key, lead text, region int references region);
    create table project (id int primary key, maker text, team int references team);
    create table job (id int primary key, status text, holder text, project int references project);
    insert into region values (1, 'ann'), (2, 'ben');
    insert into team values (1, 'cat', 1), (2, 'dan', 2);
    insert into project values (1, 'eve', 1), (2, 'fay', 2);
    insert into job values (1, 'new', 'gus', 1), (2, 'new', 'hal', 2), (3, 'new', null, null);
"""


@pytest.mark.parametrize("path, mine, other, change, logged", [
    ("holder", "gus", "hal", "update job set holder = 'hal' where id = 1", ("U", "1", None)),
    ("project.maker", "eve", "fay", "update project set maker = 'fay' where id = 1", ("S", "1", 1)),
    ("project.team.lead", "cat", "dan", "update project set team = 2 where id = 1", ("S", "1", 1)),
    ("project.team.lead", "cat", "dan", "update team set lead = 'dan' where id = 1", ("S", "1", 2)),
    ("project.team.region.boss", "ann", "ben", "update team set region = 2 where id = 1", ("S", "1", 2)),
    ("project.team.region.boss", "ann", "ben", "update region set boss = 'ben' where id = 1", ("S", "1", 3)),
    ("project.team.region.boss", "ann", "ben", "update job set project = 2 where id = 1", ("U", "1", None)),
])
def test_the_owner_is_found_over_any_number_of_hops(bare, path, mine, other, change, logged):
    bare.execute(HOPS)
    bare.execute("select jobfeed.attach('jobs', 'job', status => 'status', owner => %s)", [path])
    assert visible(bare, "job", "id", "jobfeed_account", mine, "account") == [1]
    assert visible(bare, "job", "id", "jobfeed_account", other, "account") == [2]
    bare.execute(change)
    assert [entry[:3] for entry in log(bare)] == [logged]
    assert visible(bare, "job", "id", "jobfeed_account", mine, "account") == []
    assert visible(bare, "job", "id", "jobfeed_account", other, "account") == [1, 2]


def test_a_path_may_pass_through_the_table_itself(bare):
    bare.execute("""
        create table job (id int primary key, status text, parent int references job, author text);
        select jobfeed.attach('jobs', 'job', status => 'status', owner => 'parent.author');
        insert into job values (1, 'new', null, 'alice'), (2, 'new', 1, 'bob');
        update job set author = 'carol' where id = 1;
    """)
    assert sorted(operations(bare)) == [("I", "1"), ("I", "2"), ("S", "1"), ("U", "1")]
    assert visible(bare, "job", "id", "jobfeed_account", "carol", "account") == [2]


def test_composite_foreign_keys(bare):
    bare.execute("""
        create table thread (tenant int, id int, author text, primary key (tenant, id));
        create table job (tenant int, id int, thread int, status text, primary key (tenant, id),
            foreign key (tenant, thread) references thread (tenant, id));
        select jobfeed.attach('jobs', 'job', status => 'status', owner => 'thread.author');
        insert into thread values (1, 1, 'alice'), (2, 1, 'bob');
        insert into job values (1, 5, 1, 'new'), (2, 6, 1, 'new'), (2, 7, null, 'new');
        update thread set author = 'carol' where tenant = 2;
    """)
    assert log(bare)[-1] == ("S", "2,1", 1, {"tenant": 2, "id": 1, "author": "carol"},
                             {"tenant": 2, "id": 1, "author": "bob"})
    assert visible(bare, "job", "id", "jobfeed_account", "alice", "account") == [5]
    assert visible(bare, "job", "id", "jobfeed_account", "carol", "account") == [6]


def test_a_single_column_foreign_key_is_preferred(bare):
    bare.execute("""
        create table account (id int primary key, name text);
        create table thread (tenant int, id int, author text, primary key (tenant, id));
        create table job (id int primary key, tenant int references account, thread int, status text,
            foreign key (tenant, thread) references thread (tenant, id));
    """)
    assert value(bare, """
        select hops -> 0 ->> 'table' from jobfeed.attach('jobs', 'job', status => 'status', owner => 'tenant.name')
    """) == "account"
    assert value(bare, """
        select hops -> 0 ->> 'table' from jobfeed.attach('jobs', 'job', status => 'status', owner => 'thread.author')
    """) == "thread"


def test_partitions_are_captured_and_guarded_also_those_added_later(bare):
    bare.execute("""
        create table thread (id int primary key, author text);
        create table job (id int, month int, status text, thread int references thread, primary key (id, month))
            partition by list (month);
        create table job_1 partition of job for values in (1);
        insert into thread values (1, 'alice'), (2, 'bob');
        select jobfeed.attach('jobs', 'job', status => 'status', owner => 'thread.author');
        create table job_2 partition of job for values in (2);
        create table job_3 (status text, thread int, month int not null, id int not null);
        alter table job attach partition job_3 for values in (3);
        insert into job values (10, 1, 'new', 1), (20, 2, 'new', 2), (30, 3, 'new', 1);
    """)
    assert operations(bare) == [("I", "10,1"), ("I", "20,2"), ("I", "30,3")]
    forget(bare)
    bare.execute("set session_replication_role = replica; update job_2 set status = 'old'; delete from job_3;"
                 "reset session_replication_role")
    assert operations(bare) == [("U", "20,2"), ("D", "30,3")]
    forget(bare)
    bare.execute("update job set month = 3 where id = 10")
    assert operations(bare) == [("D", "10,1"), ("I", "10,3")]
    assert visible(bare, "job", "id", "jobfeed_account", "alice", "account") == [10]
    assert visible(bare, "job", "id", "jobfeed_operator") == [10, 20]
    forget(bare)
    bare.execute("truncate job")
    assert operations(bare) == [("T", None)]
    forget(bare)
    bare.execute("truncate job_1")
    assert operations(bare) == [("T", None)]
    forget(bare)
    bare.execute("select jobfeed.attach('jobs', 'job', status => 'status', owner => 'thread.author'); truncate job_3")
    assert operations(bare) == [("T", None)]
    bare.execute("select jobfeed.detach('jobs')")
    assert catalog(bare)["triggers"] == [] and catalog(bare)["policies"] == []


def test_a_path_through_a_partitioned_table(bare):
    bare.execute("""
        create table thread (id int primary key, author text) partition by range (id);
        create table thread_1 partition of thread for values from (0) to (100);
        create table job (id int primary key, status text, thread int references thread);
        select jobfeed.attach('jobs', 'job', status => 'status', owner => 'thread.author');
        insert into thread values (1, 'alice');
        insert into job values (10, 'new', 1);
        update thread set author = 'bob';
    """)
    assert operations(bare) == [("I", "10"), ("S", "1")]
    assert visible(bare, "job", "id", "jobfeed_account", "bob", "account") == [10]


def test_two_feeds_share_a_path(two_threads):
    two_threads.execute("""
        create table note (id int primary key, status text, thread bigint references thread);
        select jobfeed.attach('notes', 'note', status => 'status', owner => 'thread.author');
        insert into note values (1, 'new', 1);
        update thread set author = 'carol' where id = 1;
    """)
    assert operations(two_threads) == [("S", "1")]
    assert operations(two_threads, "notes") == [("I", "1"), ("S", "1")]
    two_threads.execute("select jobfeed.detach('jobs')")
    two_threads.execute("update thread set author = 'dave' where id = 1")
    assert operations(two_threads) == [("S", "1")]
    assert visible(two_threads, "note", "id", "jobfeed_account", "dave", "account") == [1]
    assert visible(two_threads, "thread", "author", "jobfeed_gateway") == ["bob", "dave"]


def test_long_feed_names_stay_apart(bare):
    names = ["f" * 62 + "a", "f" * 62 + "b"]
    bare.execute("create table thread (id int primary key, author text); insert into thread values (1, 'alice')")
    for place, name in enumerate(names):
        bare.execute(f"create table job_{place} (id int primary key, status text, thread int references thread)")
        bare.execute(f"insert into job_{place} values ({place}, 'new', 1)")
        bare.execute(f"select jobfeed.attach('{name}', 'job_{place}', status => 'status', owner => 'thread.author')")
    bare.execute("update thread set author = 'bob'")
    assert [operations(bare, name) for name in names] == [[("S", "1")], [("S", "1")]]
    bare.execute(f"select jobfeed.detach('{names[0]}')")
    assert visible(bare, "job_1", "id", "jobfeed_account", "bob", "account") == [1]


# Reference tables


@pytest.mark.parametrize("progress", [
    {"percent": 101}, {"percent": -1}, {"percent": "40"}, [40], 40, {"message": 7},
])
def test_progress_has_a_shape(two_threads, progress):
    with pytest.raises(psycopg.errors.CheckViolation):
        two_threads.execute("update job set progress = %s where id = 11", [Jsonb(progress)])


@pytest.mark.parametrize("progress", [{}, {"percent": 0}, {"percent": 99.5, "message": "soon", "data": [1, {}]}, None])
def test_progress_of_that_shape_is_taken(two_threads, progress):
    two_threads.execute("update job set progress = %s where id = 11", [None if progress is None else Jsonb(progress)])
    assert value(two_threads, "select progress from job where id = 11") == progress


@pytest.mark.parametrize("assignment", ["status = 'done'", "retry_strategy = 'never'", "errors = '{}'"])
def test_reference_columns_are_checked(two_threads, assignment):
    with pytest.raises(psycopg.errors.CheckViolation):
        two_threads.execute(f"update job set {assignment} where id = 11")


def test_updated_at_is_maintained(two_threads):
    two_threads.execute("update job set updated_at = '2000-01-01', status = 'failed' where id = 11")
    assert value(two_threads, "select now() - updated_at < interval '1 minute' from job where id = 11")


# Text


@pytest.mark.parametrize("one, other, distance", [
    ("", "", 0), ("", "abc", 3), ("abc", "", 3), ("stat", "status", 2), ("kitten", "sitting", 3), ("ab", "ba", 2),
])
def test_edit_distance(db, one, other, distance):
    assert value(db, "select jobfeed.edit_distance(%s, %s)", [one, other]) == distance


@pytest.mark.parametrize("row, key, text", [
    ({"id": 7}, ["id"], "7"),
    ({"id": "a,b%"}, ["id"], "a,b%"),
    ({"a": "x,y", "b": "5%", "c": 1}, ["b", "a"], "5%25,x%2Cy"),
    ({"other": 1}, ["id"], None),
])
def test_key_text(db, row, key, text):
    assert value(db, "select jobfeed.key_text(%s, %s)", [Jsonb(row), key]) == text
