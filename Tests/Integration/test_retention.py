"""Retention: the slots of the log, their rotation, and what a reader can trust meanwhile."""

import contextlib
import threading
import time

import psycopg
import pytest
from conftest import SQL_FILES, install_script
from test_schema import READ, rows, value

PATIENCE = 30


@pytest.fixture
def db(installed):
    """alice's thread 1 with job 11, and an empty log."""
    connection = installed.connect()
    connection.execute("insert into thread (id, title, author) values (1, 'one', 'alice')")
    connection.execute("insert into job (id, assigned_to, path) values (11, 1, '/a')")
    connection.execute("truncate jobfeed.change")
    return connection


def write(connection, times=1):
    for _ in range(times):
        connection.execute("update job set retries = retries + 1 where id = 11")


def rotate(connection, retain_bytes=1, grace="0", lock_timeout="100 ms"):
    """Any change makes a slot of a log of one byte full."""
    return value(connection, "select outcome from jobfeed.rotate('1 day', %s, %s, %s)",
                 [retain_bytes, lock_timeout, grace])


def slots(connection):
    """How many changes lie in which slot."""
    return dict(rows(connection, "select slot, count(*) from jobfeed.change group by slot"))


def fill(connection):
    """A change in each slot; slot 4 is written, slot 1 is the next to be emptied."""
    for _ in range(3):
        write(connection)
        assert rotate(connection) == "switched"
    write(connection)
    assert slots(connection) == {1: 1, 2: 1, 3: 1, 4: 1}


def snapshot(connection):
    return value(connection, "select pg_current_snapshot()::text")


def sees(snapshot, xid):
    xmin, xmax, running = snapshot.split(":")
    return xid < int(xmin) or xid < int(xmax) and str(xid) not in running.split(",")


def includes(one, other):
    """Whether everything that the other snapshot sees is seen by this one."""
    return all(sees(one, xid) for xid in range(1, int(other.split(":")[1])) if sees(other, xid))


def wait_until_waiting_for_a_lock(connection, pid):
    deadline = time.monotonic() + PATIENCE
    while not value(connection, "select exists (select from pg_locks where pid = %s and not granted)", [pid]):
        assert time.monotonic() < deadline, "nothing waits"
        time.sleep(0.01)


@contextlib.contextmanager
def meanwhile(function, *arguments):
    """Runs a function in another thread; `result()` waits for what it returns."""
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(function(*arguments)))
    thread.start()

    def result():
        thread.join(PATIENCE)
        assert outcome, "it did not return"
        return outcome[0]

    yield result
    thread.join(PATIENCE)


# Migration


def test_the_log_of_version_1_becomes_the_first_slot(database):
    connection = database.connect()
    version_1 = sorted(SQL_FILES.glob("s0*.sql")) + [SQL_FILES / "s10_migration_001.sql"]
    connection.execute("begin;" + "".join(file.read_text() for file in version_1) + "commit")
    for key in range(3):
        connection.execute("insert into jobfeed.change (feed, op, key) values ('jobs', 'D', %s)", [key])
    connection.execute("delete from jobfeed.change where key = '2'")
    before = rows(connection, "select seq, xid::text, key, at from jobfeed.change order by seq")
    connection.execute(install_script(True))
    assert rows(connection, "select seq, xid::text, key, at from jobfeed.change_1 order by seq") == before
    assert value(connection, "select version from jobfeed.installation") == 4
    connection.execute("insert into job (id, path) values (1, '/a')")
    assert rows(connection, "select seq, slot, op::text from jobfeed.change where seq > 2") == [(4, 1, "I")]
    with pytest.raises(psycopg.errors.GeneratedAlways):
        connection.execute("insert into jobfeed.change (seq, feed, op) values (1, 'jobs', 'T')")


def test_every_slot_has_the_index_and_the_columns_of_the_log(db):
    assert rows(db, "select inhrelid::regclass::text from pg_inherits"
                    " where inhparent = 'jobfeed.change_xid'::regclass order by 1") == [
        (f"jobfeed.change_{slot}_xid_idx",) for slot in (1, 2, 3, 4)]
    columns = """
        select attnum, attname, format_type(atttypid, atttypmod), attnotnull from pg_attribute
        where attrelid = %s::regclass and attnum > 0 order by attnum"""
    for slot in (1, 2, 3, 4):
        assert rows(db, columns, [f"jobfeed.change_{slot}"]) == rows(db, columns, ["jobfeed.change"])


# Rotation


def test_nothing_is_due_while_the_slot_is_small_and_young(db):
    assert rotate(db, 10**9) == "idle"
    write(db)
    assert rotate(db, 10**9) == "idle"
    assert slots(db) == {1: 1}


def test_an_empty_log_is_left_alone(db):
    assert rotate(db) == "idle"
    db.execute("update jobfeed.log_slot set opened_at = '2000-01-01'")
    assert rotate(db) == "idle"


def test_a_slot_is_emptied_in_one_call_and_written_after_the_next(db):
    fill(db)
    assert rotate(db) == "emptied"
    write(db)
    assert slots(db) == {2: 1, 3: 1, 4: 2}
    assert rotate(db) == "switched"
    write(db)
    assert slots(db) == {1: 1, 2: 1, 3: 1, 4: 2}


def test_each_slot_has_its_turn(db):
    for turn in range(12):
        write(db)
        while (outcome := rotate(db)) == "emptied":
            pass
        assert outcome == "switched"
        assert value(db, "select last_value from jobfeed.current_slot") == (turn + 1) % 4 + 1
        assert len(slots(db)) <= 3


def test_age_makes_a_slot_full(db):
    write(db)
    db.execute("update jobfeed.log_slot set opened_at = clock_timestamp() - interval '7 hours 59 minutes'")
    assert rotate(db, 10**9) == "idle"
    db.execute("update jobfeed.log_slot set opened_at = clock_timestamp() - interval '8 hours'")
    assert rotate(db, 10**9) == "switched"
    write(db)
    db.execute("update jobfeed.log_slot set opened_at = '2000-01-01' where number <> 2")
    assert rotate(db, 10**9) == "idle"


def test_a_repeatable_read_writer_writes_into_the_slot_of_the_moment(installed, db):
    writer = installed.connect(autocommit=False)
    writer.execute("set transaction isolation level repeatable read")
    writer.execute("select 1")
    write(db)
    assert rotate(db) == "switched"
    writer.execute("insert into job (id, assigned_to, path) values (12, 1, '/b')")
    writer.commit()
    assert rows(db, "select slot, key from jobfeed.change order by seq") == [(1, "11"), (2, "12")]


def test_changes_that_were_rolled_back_are_dropped_as_well(installed, db):
    fill(db)
    db.execute("truncate jobfeed.change_1")
    db.execute("begin; insert into jobfeed.change (feed, op, slot) values ('jobs', 'T', 1); rollback")
    assert rotate(db) == "emptied"
    assert value(db, "select pg_relation_size('jobfeed.change_1')") == 0
    assert rows(db, "select xid::text, snapshot::text from jobfeed.horizon") == [("0", None)]
    assert rotate(db) == "switched"


def test_what_it_returns(db):
    assert rows(db, "select * from jobfeed.rotate('1 day', 10000000)") == [("idle", 1, 0, None, None)]
    fill(db)
    first = value(db, "select at from jobfeed.change where slot = 1")
    [(outcome, slot, size, oldest, overdue)] = rows(db, "select * from jobfeed.rotate('1 day', 10000000)")
    assert (outcome, slot, oldest, overdue) == ("idle", 4, first, None)
    assert size == sum(value(db, f"select pg_total_relation_size('jobfeed.change_{n}')") for n in (1, 2, 3, 4))


def test_the_log_stays_within_its_bound_under_load(db):
    bound = 4_000_000
    largest = 0
    db.execute("create procedure load() language sql as 'update job set payload = to_jsonb(repeat(md5(random()::text), 30))"
               " where id = 11'")
    for _ in range(30):
        db.execute("do $$ begin for i in 1 .. 200 loop call load(); end loop; end $$")
        while rotate(db, bound) == "emptied":
            pass
        largest = max(largest, value(db, "select sum(pg_total_relation_size('jobfeed.change_' || n))"
                                         " from generate_series(1, 4) n"))
    written = value(db, "select last_value from jobfeed.change_seq_seq")
    kept = value(db, "select count(*) from jobfeed.change")
    assert kept < written / 2, "the test wrote too little to prove anything"
    assert bound / 2 < largest < bound * 1.25


@pytest.mark.parametrize("arguments, message", [
    ("null, 1000", "retain_age must be longer than nothing, such as 1 day; it is null"),
    ("'0', 1000", "it is 00:00:00"),
    ("'-1 day', 1000", "it is -1 days"),
    ("'1 day', null", "retain_bytes must be positive, such as 1000000000; it is null"),
    ("'1 day', 0", "it is 0"),
    ("'1 day', -5", "it is -5"),
    ("'1 day', 1000, '0'", "lock_timeout must be 1 ms or longer; it is 00:00:00"),
    ("'1 day', 1000, null", "lock_timeout must be 1 ms or longer; it is null"),
    ("'1 day', 1000, '1 s', '-1 s'", "grace must not be negative; it is -00:00:01"),
    ("'1 day', 1000, '1 s', null", "grace must not be negative; it is null"),
])
def test_values_that_mean_nothing_are_refused(db, arguments, message):
    with pytest.raises(psycopg.errors.InvalidParameterValue) as refusal:
        db.execute(f"select jobfeed.rotate({arguments})")
    assert message in refusal.value.diag.message_primary


@pytest.mark.parametrize("before", [
    "set transaction isolation level repeatable read",
    "set transaction isolation level serializable",
    "update job set retries = retries + 1",
])
def test_a_transaction_that_could_drop_what_it_does_not_see_is_refused(db, before):
    fill(db)
    with pytest.raises(psycopg.errors.ActiveSqlTransaction, match="a READ COMMITTED transaction of its own"):
        with db.transaction():
            db.execute(before)
            rotate(db)


def test_one_at_a_time(installed, db):
    other = installed.connect(autocommit=False)
    assert rotate(other) == "idle"
    assert rows(db, "select * from jobfeed.rotate('1 day', 1)") == [("busy", None, None, None, None)]
    other.commit()
    assert rotate(db) == "idle"


# What keeps a slot from being emptied


def test_an_open_transaction_of_a_writer_blocks_and_is_not_lost(installed, db):
    writer = installed.connect(autocommit=False)
    writer.execute("insert into job (id, assigned_to, path) values (12, 1, '/late')")
    fill(db)
    assert rotate(db, lock_timeout="1 ms") == "blocked"
    overdue = value(db, "select overdue_since from jobfeed.log_slot where number = 1")
    assert overdue is not None
    write(db)
    assert rows(db, "select outcome, overdue_since from jobfeed.rotate('1 day', 1, '1 ms', '0')") == [
        ("blocked", overdue)]
    # Readers and writers go on.
    assert slots(db) == {1: 1, 2: 1, 3: 1, 4: 2}
    writer.commit()
    assert rotate(db, grace="1 hour") == "waiting"
    assert "12" in [key for (key,) in rows(db, "select key from jobfeed.change where slot = 1")]
    assert rotate(db) == "emptied"
    assert rows(db, "select * from jobfeed.log_slot where overdue_since is not null") == []


def test_a_reader_of_the_log_blocks(installed, db):
    fill(db)
    reader = installed.connect("gateway_login", autocommit=False)
    reader.execute("lock table jobfeed.change in access share mode")
    assert rotate(db, lock_timeout="1 ms") == "blocked"
    reader.commit()
    assert rotate(db) == "emptied"


def test_changes_are_kept_until_every_node_has_had_time_to_read_them(db):
    fill(db)
    assert rotate(db, grace="1 hour") == "waiting"
    db.execute("update jobfeed.log_slot set sealed_at = sealed_at - interval '59 minutes'")
    assert rotate(db, grace="1 hour") == "waiting"
    db.execute("update jobfeed.log_slot set sealed_at = sealed_at - interval '1 minute'")
    assert rotate(db, grace="1 hour") == "emptied"


def test_a_change_that_is_committed_late_starts_the_grace_anew(installed, db):
    writer = installed.connect(autocommit=False)
    writer.execute("insert into job (id, assigned_to, path) values (12, 1, '/late')")
    fill(db)
    db.execute("update jobfeed.log_slot set sealed_at = sealed_at - interval '1 hour'")
    writer.commit()
    assert rotate(db, grace="1 hour") == "waiting"
    db.execute("update jobfeed.log_slot set sealed_at = sealed_at - interval '1 hour'")
    assert rotate(db, grace="1 hour") == "emptied"


def test_a_change_that_is_committed_while_rotation_waits_for_the_slot_is_kept(installed, db):
    writer, rotator = installed.connect(autocommit=False), installed.connect()
    writer.execute("insert into job (id, assigned_to, path) values (12, 1, '/late')")
    fill(db)
    with meanwhile(rotate, rotator, 1, "0", "1 minute") as outcome:
        wait_until_waiting_for_a_lock(db, rotator.info.backend_pid)
        writer.commit()
        assert outcome() == "waiting"
    assert ("12",) in rows(db, "select key from jobfeed.change")
    assert rotate(db) == "emptied"


# The horizon


def test_the_horizon_is_raised_with_what_is_dropped(db):
    cursors = [snapshot(db)]
    fill(db)
    cursors.append(snapshot(db))
    dropped = value(db, "select max(xid::text::bigint) from jobfeed.change where slot = 1")
    assert rows(db, "select xid::text, snapshot from jobfeed.horizon") == [("0", None)]
    assert rotate(db) == "emptied"
    [(xid, horizon)] = rows(db, "select xid::text::bigint, snapshot::text from jobfeed.horizon")
    assert xid == dropped and sees(horizon, dropped)
    assert [includes(cursor, horizon) for cursor in cursors] == [False, True]


def test_a_long_transaction_elsewhere_does_not_cost_cursors_their_proof(installed, db):
    long = installed.connect(autocommit=False)
    long.execute("insert into thread (id, title, author) values (2, 'long', 'bob')")
    running = value(long, "select pg_current_xact_id()::text::bigint")
    fill(db)
    cursor = snapshot(db)
    assert rotate(db) == "emptied"
    [(xid, horizon)] = rows(db, "select xid::text::bigint, snapshot::text from jobfeed.horizon")
    assert running < xid and int(cursor.split(":")[0]) <= xid, "the cursor's xmin alone would not prove it"
    assert includes(cursor, horizon)
    long.commit()
    assert includes(snapshot(db), horizon)


def test_the_horizon_never_goes_back(installed, db):
    """Slot 1 is sealed after slot 2, because of a transaction that was open for long."""
    writer = installed.connect(autocommit=False)
    writer.execute("insert into job (id, assigned_to, path) values (12, 1, '/late')")
    fill(db)
    writer.commit()
    assert rotate(db) == "emptied"
    first = value(db, "select snapshot::text from jobfeed.horizon")
    seals = [seal for (seal,) in rows(db, "select sealed::text from jobfeed.log_slot where number = 2")]
    assert not includes(seals[0], first), "slot 2 was to be sealed before"
    assert rotate(db) == "switched"
    write(db)
    assert rotate(db) == "emptied"
    assert slots(db).keys() == {1, 3, 4}
    assert value(db, "select snapshot::text from jobfeed.horizon") == first


@pytest.mark.parametrize("one, other, later", [
    (None, None, None),
    ("10:20:10", None, "10:20:10"),
    (None, "10:20:10", "10:20:10"),
    ("10:20:10,12", "10:20:10", "10:20:10"),
    ("10:20:10", "10:20:10,12", "10:20:10"),
    ("10:20:10", "10:21:10,20", "10:21:10,20"),
    ("30:30:", "10:21:10,20", "30:30:"),
])
def test_the_later_of_two_snapshots(db, one, other, later):
    assert value(db, "select jobfeed.later_of(%s, %s)::text", [one, other]) == later


# Readers

BEGIN = "begin isolation level repeatable read read only"
LOCK = "lock table jobfeed.change in access share mode"


def what_is_there(reader):
    """How many changes, and whether the horizon was raised."""
    return rows(reader, "select (select count(*) from jobfeed.change), (select snapshot is not null from jobfeed.horizon)")


def test_a_reader_that_locks_first_sees_what_is_there_until_it_ends(installed, db):
    fill(db)
    reader = installed.connect("gateway_login")
    reader.execute(f"{BEGIN}; {LOCK}")
    assert rotate(db, lock_timeout="1 ms") == "blocked"
    assert what_is_there(reader) == [(4, False)]
    reader.execute("commit")


def test_a_reader_that_locks_during_a_rotation_sees_its_horizon(installed, db):
    fill(db)
    rotator, reader = installed.connect(autocommit=False), installed.connect("gateway_login")
    assert rotate(rotator) == "emptied"
    reader.execute(BEGIN)
    with meanwhile(reader.execute, LOCK) as locked:
        wait_until_waiting_for_a_lock(db, reader.info.backend_pid)
        rotator.commit()
        locked()
    assert what_is_there(reader) == [(3, True)]


def test_a_reader_that_does_not_lock_sees_changes_vanish(installed, db):
    """Why readers lock: were this to fail, they need not."""
    fill(db)
    reader = installed.connect("gateway_login")
    reader.execute(BEGIN)
    reader.execute("select 1")
    assert rotate(db) == "emptied"
    assert what_is_there(reader) == [(3, False)]


def test_a_reader_never_misses_a_change_that_its_horizon_does_not_cover(installed, db):
    """Reads by the difference of snapshots, as gateways do, while another session rotates as fast as it can."""
    reader, rotator, writer = installed.connect("gateway_login"), installed.connect(), installed.connect()
    stop = threading.Event()
    outcomes = []

    def keep_rotating():
        while not stop.is_set():
            outcomes.append(rotate(rotator, grace="5 ms"))

    cursor, read, gaps = snapshot(reader), [], 0
    with meanwhile(keep_rotating):
        try:
            for _ in range(300):
                write(writer)
                with reader.transaction():
                    reader.execute(f"set transaction isolation level repeatable read, read only; {LOCK}")
                    horizon = value(reader, "select snapshot::text from jobfeed.horizon")
                    batch = [seq for (seq,) in rows(reader, READ, {"since": cursor})]
                    if horizon and not includes(cursor, horizon):
                        gaps += 1
                    else:
                        assert len(batch) == 1, "a change is gone, and the horizon does not say so"
                    read += batch
                    cursor = snapshot(reader)
        finally:
            stop.set()
    assert len(read) == len(set(read))
    assert outcomes.count("emptied") > 10


# Privileges


def test_a_gateway_may_rotate_and_lock_the_log_against_rotation_only(installed, db):
    fill(db)
    gateway = installed.connect("gateway_login")
    assert rotate(gateway) == "emptied"
    with gateway.transaction():
        gateway.execute(LOCK)
        held = rows(db, "select relation::regclass::text, mode from pg_locks where pid = %s and relation in"
                        " (select 'jobfeed.change'::regclass union select inhrelid from pg_inherits"
                        "  where inhparent = 'jobfeed.change'::regclass) order by 1", [gateway.info.backend_pid])
        assert held == [(f"jobfeed.change{leaf}", "AccessShareLock") for leaf in ("", "_1", "_2", "_3", "_4")]
    assert len(rows(gateway, "select * from jobfeed.log_slot")) == 4


@pytest.mark.parametrize("statement", [
    "lock table jobfeed.change in row exclusive mode",
    "lock table jobfeed.change_1 in access exclusive mode",
    "truncate jobfeed.change",
    "truncate jobfeed.change_1",
    "delete from jobfeed.change_1",
    "insert into jobfeed.change_1 (seq, feed, op, slot) values (1, 'jobs', 'T', 1)",
    "update jobfeed.log_slot set sealed_at = '2000-01-01'",
    "select setval('jobfeed.current_slot', 2)",
    "select jobfeed.empty_slot(1, '0')",
])
def test_a_gateway_may_do_nothing_else_to_the_log(installed, statement):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        installed.connect("gateway_login", autocommit=False).execute(statement)


@pytest.mark.parametrize("role", ["app", "jobfeed_account", "jobfeed_operator"])
def test_nobody_else_may_rotate(db, role):
    db.execute(f"set role {role}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rotate(db)


def test_an_ordinary_owner_rotates(database):
    admin = database.connect()
    admin.execute(f"grant create on database {database.name} to installer; grant create on schema public to installer")
    owner = database.connect("installer")
    owner.execute(install_script(True))
    owner.execute("insert into job (id, path) values (11, '/a'); truncate jobfeed.change")
    fill(owner)
    assert rotate(owner) == "emptied"


# Capture


def test_a_truncate_is_logged_once_also_when_the_log_is_switched_meanwhile(installed, db):
    db.execute("create table parts (id int primary key, status text) partition by range (id);"
               "create table part_1 partition of parts for values from (1) to (10);"
               "select jobfeed.attach('parts', 'parts', status => 'status')")
    write(db)
    other = installed.connect()
    with db.transaction():
        db.execute("truncate part_1")
        assert rotate(other) == "switched"
        db.execute("truncate parts")
    assert rows(db, "select slot, op::text from jobfeed.change where feed = 'parts'") == [(1, "T")]


def test_a_rotation_rings(installed, db):
    fill(db)
    listener = installed.connect()
    listener.execute("listen jobfeed")
    assert [rotate(db, 10**9), rotate(db), rotate(db), rotate(db, 10**9)] == ["idle", "emptied", "switched", "idle"]
    db.execute("notify jobfeed, 'end'")
    heard = []
    for notification in listener.notifies(timeout=PATIENCE):
        heard.append(notification.payload)
        if notification.payload == "end":
            break
    assert heard == ["", "", "end"]
