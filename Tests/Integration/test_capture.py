"""What an UPDATE logs when it is logged by the statement, and what stands in for that where it cannot be."""

import pytest
from conftest import install_script
from test_schema import bare, catalog, db, forget, log, operations, rows, two_threads, value  # noqa: F401

TRIGGERS = "select tgname, tgenabled::text from pg_trigger where tgrelid = 'job'::regclass and tgname like 'jobfeed%'"
BY_STATEMENT = {
    ("jobfeed_capture", "O"), ("jobfeed_replica", "R"), ("jobfeed_rows", "A"), ("jobfeed_truncate", "A")}
BY_ROW = {("jobfeed_capture", "A"), ("jobfeed_truncate", "A")}

# Writes the same row again, as triggers do that keep a column up to date.
AGAIN = """
    create function again() returns trigger language plpgsql as $$ begin
        if pg_trigger_depth() = 1 then update job set retries = retries + 1 where id = new.id; end if;
        return null;
    end $$;
    create trigger zz_again after update on job for each row execute function again();
"""


def replayed(connection, initial):
    """The rows of job that the log leads to, or None after a reset."""
    state = dict(initial)
    for op, key, _, row, _ in log(connection):
        if op == "T":
            return None
        if op == "D":
            state.pop(key)
        elif op in "IU":
            state[key] = row
    return state


def jobs(connection):
    connection.execute("set timezone = 'UTC'")
    return dict(rows(connection, "select id::text, to_jsonb(job) from job"))


def test_a_plain_table_is_captured_by_the_statement(db):  # noqa: F811
    assert set(rows(db, TRIGGERS)) == BY_STATEMENT


def test_columns_that_changed_are_noticed(db):  # noqa: F811
    source = value(db, "select prosrc from pg_proc where oid = 'jobfeed.capture_of_jobs'::regproc")
    shape = "select jobfeed.shape_of('job'::regclass)"
    assert value(db, shape) in source
    for change in ("add extra int", "alter column extra type text", "rename column extra to other", "drop column other"):
        before = value(db, shape)
        db.execute(f"alter table job {change}")
        assert value(db, shape) != before


@pytest.mark.parametrize("statement", [
    "update job set id = id + 100",
    "update job set id = id + 100 where id = 11",
    "update job set id = case id when 11 then 40 when 12 then 11 else id end where id = 11;"
    "update job set id = 11 where id = 12",
    "update job set status = 'failed', id = case when id = 11 then 99 else id end",
    "update job set status = 'failed' where id in (11, 12); update job set status = 'success' where id in (12, 21)",
    "update job set status = 'failed' from thread where assigned_to = thread.id",
    "merge into job using (values (11, 'failed'), (50, 'new')) as v (id, path) on job.id = v.id"
    " when matched then update set status = v.path when not matched then insert (id, path) values (v.id, v.path)",
    "insert into job (id, path) values (11, '/u'), (60, '/v') on conflict (id) do update set path = excluded.path",
    "with gone as (delete from job where id = 11 returning *)"
    " insert into job (id, path) select id, '/again' from gone",
])
@pytest.mark.parametrize("way", ["by statement", "by statement, by names", "by row"])
def test_the_log_leads_from_the_rows_before_to_the_rows_after(two_threads, statement, way):  # noqa: F811
    if way == "by statement, by names":
        two_threads.execute("alter table job add extra int")
    if way == "by row":
        two_threads.execute("""
            create function nothing() returns trigger language plpgsql as 'begin return null; end';
            create trigger zz after update on job for each row execute function nothing();""")
        two_threads.execute(install_script(True))
    assert set(rows(two_threads, TRIGGERS)) == (BY_ROW if way == "by row" else BY_STATEMENT)
    before = jobs(two_threads)
    two_threads.execute(statement)
    assert replayed(two_threads, before) == jobs(two_threads)
    assert operations(two_threads)


def test_a_trigger_that_writes_the_row_again_resets_until_it_is_known(two_threads):  # noqa: F811
    two_threads.execute(AGAIN)
    two_threads.execute("update job set status = 'failed' where id in (11, 12)")
    assert operations(two_threads)[-1] == ("T", None)
    two_threads.execute(install_script(True))
    assert set(rows(two_threads, TRIGGERS)) == BY_ROW
    forget(two_threads)
    before = jobs(two_threads)
    two_threads.execute("update job set status = 'success' where id in (11, 12)")
    assert replayed(two_threads, before) == jobs(two_threads)
    two_threads.execute("drop trigger zz_again on job")
    two_threads.execute(install_script(True))
    assert set(rows(two_threads, TRIGGERS)) == BY_STATEMENT


def test_depths_of_two_digits_are_deeper_than_those_of_one(two_threads):  # noqa: F811
    two_threads.execute(AGAIN.replace("pg_trigger_depth() = 1", "pg_trigger_depth() = 9"))
    two_threads.execute("""
        create table relay (number int);
        create function relay() returns trigger language plpgsql as $$ begin
            if new.number < 8 then insert into relay values (new.number + 1);
            else update job set status = 'failed' where id = 11; end if;
            return null;
        end $$;
        create trigger relay after insert on relay for each row execute function relay();""")
    before = jobs(two_threads)
    two_threads.execute("insert into relay values (1)")
    assert replayed(two_threads, before) in (None, jobs(two_threads))


def test_a_row_that_is_moved_away_and_inserted_again_by_one_statement_resets(two_threads):  # noqa: F811
    two_threads.execute("""
        with moved as (update job set id = id + 100 where id = 11 returning *)
        insert into job (id, path) select 11, '/again' from moved""")
    assert operations(two_threads)[-1] == ("T", None)


def test_changes_deep_in_triggers_of_other_tables_reset_nothing(two_threads):  # noqa: F811
    with two_threads.transaction():
        two_threads.execute("delete from thread where id = 1")
        two_threads.execute("update job set status = 'failed'")
        two_threads.execute("insert into job (id, path) values (11, '/again')")
        two_threads.execute("update job set status = 'success'")
    assert "T" not in [op for op, _ in operations(two_threads)]


def test_a_transaction_older_than_a_change_of_columns_does_not_fail(installed, two_threads):  # noqa: F811
    old = installed.connect(autocommit=False)
    old.execute("set transaction isolation level repeatable read")
    old.execute("select count(*) from thread")
    two_threads.execute("alter table job rename column payload to load; alter table job alter column id type int")
    old.execute("update thread set title = title")
    old.rollback()
    session = installed.connect()
    for status in ("processing", "success"):
        session.execute("update job set status = %s, load = '1' where id = 11", [status])
    assert [(key, row["status"]) for _, key, _, row, _ in log(two_threads)] == [
        ("11", "processing"), ("11", "success")]


@pytest.mark.parametrize("type, one, other", [
    ("json", "'{\"a\":1}'", "'{\"b\":1}'"), ("point", "'(1,2)'", "'(1,3)'"), ("char(5)", "'a'", "'b'"),
    ("float8", "0.1", "'NaN'"), ("int[]", "'{1}'", "'{2}'"), ("bytea", "'\\x00'", "'\\x01'"),
])
def test_a_column_of_any_type_is_compared(two_threads, type, one, other):  # noqa: F811
    two_threads.execute(f"alter table job add extra {type} default {one}")
    for refreshed in (False, True):
        if refreshed:
            two_threads.execute(install_script(True))
        forget(two_threads)
        two_threads.execute(f"update job set extra = {other} where id in (11, 12)")
        two_threads.execute(f"update job set extra = {one}, updated_at = now() where id = 11")
        two_threads.execute(f"update job set extra = {one} where id in (11, 12, 21)")
        assert sorted(operations(two_threads)) == [("U", "11"), ("U", "11"), ("U", "12"), ("U", "12")]
        assert all("extra" in before for *_, before in log(two_threads))


NAMES = ["n", "o", "c", "t", "row", "key", "before", "known", "rings", "settings", "tg_relid", "old_rows", "name", "value"]


def test_columns_may_have_any_name(bare):  # noqa: F811
    columns = ", ".join(f'"{name}" int' for name in NAMES)
    bare.execute(f"create table job (id int primary key, status text, {columns})")
    bare.execute("select jobfeed.attach('jobs', 'job', status => 'status')")
    bare.execute("insert into job select generate_series(1, 3), 'new'")
    for change in ("select", "alter table job add op int"):
        bare.execute(change)
        forget(bare)
        assignments = ", ".join(f'"{name}" = coalesce("{name}", 0) + 1' for name in NAMES)
        bare.execute(f"update job set {assignments} where abs(id) = 1; update job set {assignments}; update job set id = -id")
        assert len(log(bare)) == 1 + 3 + 6
        assert all(before.keys() == set(NAMES) for op, _, _, _, before in log(bare) if op == "U")


def test_an_installation_with_row_triggers_is_upgraded(two_threads):  # noqa: F811
    expected = catalog(two_threads)
    two_threads.execute("""
        drop trigger jobfeed_rows on job; drop trigger jobfeed_replica on job; drop trigger jobfeed_capture on job;
        drop function jobfeed.capture_of_jobs();
        create trigger jobfeed_capture after insert or update or delete on job
            for each row execute function jobfeed.capture('jobs', '{id}', '{updated_at}');
        alter table job enable always trigger jobfeed_capture;
        alter table jobfeed.change add constraint change_op_check check (op in ('I', 'U', 'D', 'S', 'T'));
        delete from jobfeed.migration where version = 3;
        update jobfeed.installation set version = 2;
    """)
    two_threads.execute(install_script(True))
    assert catalog(two_threads) == expected
    assert value(two_threads, "select version from jobfeed.installation") == 4
    assert rows(two_threads, "select from pg_constraint where conname = 'change_op_check'") == []
