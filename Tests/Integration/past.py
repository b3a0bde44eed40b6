"""The tables as they were at any snapshot, and what row-level security lets a user select of them.

AUDIT is a log of its own in the database under test: full rows, by triggers that share nothing with jobfeed's. `Past`
replays it into the same tables of another database, where the policies are the generated ones, up to a snapshot that
Postgres itself compares with (pg_visible_in_snapshot).
"""

import psycopg.sql
import wire

AUDIT = """
create schema audit;
-- witness: the version of the thread that was in force and could not change before this transaction ended.
create table audit.history (
    seq bigint generated always as identity primary key, xid xid8 not null default pg_current_xact_id(),
    relation text not null, op text not null, id bigint not null, witness bigint, row jsonb not null);
create table audit.thread (id bigint primary key, seq bigint not null);

create function audit.note() returns trigger language plpgsql
set timezone = 'UTC' set datestyle = 'ISO, YMD' set extra_float_digits = 1 as $$
declare
    version record;
    noted bigint;
    seen bigint;
begin
    if tg_op = 'UPDATE' then
        if old *= new then
            return null;
        end if;
        if old.id <> new.id then
            insert into audit.history (relation, op, id, row) values (tg_table_name, 'DELETE', old.id, to_jsonb(old));
        end if;
    end if;
    version := case when tg_op = 'DELETE' then old else new end;
    if tg_table_name = 'job' and current_setting('audit.witness', true) = 'on' then
        perform from public.thread t where t.id = version.assigned_to for share skip locked;
        if found then
            select t.seq into seen from audit.thread t where t.id = version.assigned_to;
        end if;
    end if;
    insert into audit.history (relation, op, id, witness, row)
    values (tg_table_name, case when tg_op = 'UPDATE' and old.id <> new.id then 'INSERT' else tg_op end, version.id,
        seen, to_jsonb(version))
    returning seq into noted;
    if tg_table_name = 'thread' then
        insert into audit.thread values (version.id, noted) on conflict (id) do update set seq = excluded.seq;
    end if;
    return null;
end $$;
create trigger audit after insert or update or delete on public.thread for each row execute function audit.note();
create trigger audit after insert or update or delete on public.job for each row execute function audit.note();
"""

# Nothing of the test's own tables is to be done by triggers or to be refused by references.
SETUP = """
do $$ declare t record; begin
    for t in select tgrelid::regclass as relation, tgname from pg_trigger
             where tgrelid in ('job'::regclass, 'thread'::regclass) and not tgisinternal loop
        execute format('drop trigger %I on %s', t.tgname, t.relation);
    end loop;
end $$;
alter table job drop constraint job_assigned_to_fkey;
set jit = off; set timezone = 'UTC'; set synchronous_commit = off;
"""


def read_history(connection, since, until):
    """What `until` sees and `since` does not, in the order of each row's changes."""
    return connection.execute(
        "select seq, xid::text::bigint, relation, op, id, witness, row::text, row ->> 'assigned_to', row ->> 'author',"
        " row ->> 'status', array[row -> 'payload' ->> 'token', row ->> 'assignee', row -> 'progress' ->> 'message']"
        " from audit.history where pg_visible_in_snapshot(xid, %s::pg_snapshot)"
        " and not pg_visible_in_snapshot(xid, %s::pg_snapshot) order by seq", [until.text, since.text]).fetchall()


def forget_history(connection, until):
    connection.execute("delete from audit.history where pg_visible_in_snapshot(xid, %s::pg_snapshot)", [until.text])


class Past:
    """One moment of the tables, moved forwards."""

    def __init__(self, connection, people, conditions):
        """people: [(user, access)]; conditions: SQL that each visible row is tested with."""
        self.connection = connection
        connection.execute(SETUP)
        self.people = people
        tests = ", ".join(f"coalesce(({condition}), false)" for condition in conditions) or "true"
        statements = ["begin"]
        for user, access in people:
            role = "jobfeed_operator" if access == "operator" else "jobfeed_account"
            # An account may not say *: hidden columns are not granted to it.
            columns = connection.execute(
                "select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute where attrelid = 'job'::regclass"
                " and attnum > 0 and not attisdropped and has_column_privilege(%s, attrelid, attnum, 'select')",
                [role]).fetchone()[0]
            name = psycopg.sql.Literal(user).as_string(connection)
            statements += [
                f"set local role {role}",
                f"select set_config('jobfeed.user', {name}, true), set_config('jobfeed.access', '{access}', true)",
                f"select id::text, to_jsonb(x)::text, array[{tests}] from (select {columns} from job) x"
                " order by x.created_at desc nulls last, x.id desc",
                "reset role"]
        self.question = "; ".join(statements + ["rollback"])
        self.parsed = {}

    def move(self, versions):
        """Takes in versions in their order; the last one of a row counts."""
        last = {(version.relation, version.id): version for version in versions}
        for relation in ("thread", "job"):
            mine = [version for (name, _), version in last.items() if name == relation]
            if not mine:
                continue
            rows = "[" + ",".join(version.row for version in mine if version.op != "DELETE") + "]"
            self.connection.execute(f"delete from {relation} where id = any(%s)", [[version.id for version in mine]])
            self.connection.execute(
                f"insert into {relation} select * from jsonb_populate_recordset(null::{relation}, %s)", [rows])

    def visible(self):
        """By person: {key: (row without quiet columns, [which conditions hold])}, newest first."""
        found = {}
        with self.connection.cursor() as cursor:
            cursor.execute(self.question)
            fresh = {}
            for person in self.people:
                for _ in range(3):
                    cursor.nextset()
                rows = cursor.fetchall()
                found[person] = {}
                for key, text, tests in rows:
                    row = self.parsed.get(text)
                    if row is None:
                        row = wire.exact(text)
                        row.pop("updated_at")
                    fresh[text] = row
                    found[person][key] = (row, tests)
                cursor.nextset()
            self.parsed = fresh
        return found
