"""What a subscriber holds is what row-level security lets that user select, whatever happens to the tables."""

import json

import pytest
from oracle import difference, settles, visible


def run(connection, sql, parameters=None):
    return connection.execute(sql, parameters)


def new_thread(connection, author="alice"):
    return run(connection, "insert into thread (title, author) values ('t', %s) returning id", [author]).fetchone()[0]


def new_job(connection, thread, status="pending", path="/x", payload=None):
    return run(
        connection,
        "insert into job (assigned_to, status, path, payload) values (%s, %s, %s, %s) returning id",
        [thread, status, path, None if payload is None else json.dumps(payload)],
    ).fetchone()[0]


def sync(gateway, connection):
    """Returns when the gateway has read everything that is committed now."""
    with gateway.client("sync", "operator") as client:
        client.subscribe("jobs", snapshot=False, filter="path=eq./sync")
        for _ in range(2):
            seen = len(client.subscriptions["s0"].log)
            new_job(connection, None, path="/sync")
            client.wait(lambda: len(client.subscriptions["s0"].log) > seen, "the marker")
    run(connection, "delete from job where path = '/sync'")


# Every kind of change, from every state to every state


CHANGES = {
    # name: statement, then the deltas of alice and of bob; the job is alice's, pending and at /x
    "insert": ("insert into job (assigned_to, path) values ({alice}, '/x')", [("enter", "created")], []),
    "insert for another": ("insert into job (assigned_to, path) values ({bob}, '/x')", [], [("enter", "created")]),
    "insert for nobody": ("insert into job (assigned_to, path) values (null, '/x')", [], []),
    "insert outside the filter": ("insert into job (assigned_to, path) values ({alice}, '/y')", [], []),
    "update": ("update job set retries = 1 where id = {job}", [("update", None)], []),
    "update of a hidden column": ("update job set errors = '[1]' where id = {job}", [], []),
    "update of nothing": ("update job set path = path where id = {job}", [], []),
    "leave by filter": ("update job set path = '/y' where id = {job}", [("leave", "filter")], []),
    "delete": ("delete from job where id = {job}", [("leave", "deleted")], []),
    "cascade": ("delete from thread where id = {alice}", [("leave", "deleted")], []),
    "re-link": ("update job set assigned_to = {bob} where id = {job}", [("leave", "permission")],
                [("enter", "permission")]),
    "re-link to nobody": ("update job set assigned_to = null where id = {job}", [("leave", "permission")], []),
    "re-link and leave the filter": ("update job set assigned_to = {bob}, path = '/y' where id = {job}",
                                     [("leave", "permission")], []),
    "re-link within a user": ("update job set assigned_to = {other} where id = {job}", [("update", None)], []),
    "author": ("update thread set author = 'bob' where id = {alice}", [("leave", "permission")],
               [("enter", "permission")]),
    "author and back": ("begin; update thread set author = 'bob' where id = {alice};"
                        " update thread set author = 'alice' where id = {alice}; commit", [], []),
    "author and update": ("begin; update thread set author = 'bob' where id = {alice};"
                          " update job set retries = 7 where id = {job}; commit",
                          [("leave", "permission")], [("enter", "permission")]),
    "author to nobody": ("update thread set author = 'nobody' where id = {alice}", [("leave", "permission")], []),
    "born and gone": ("begin; insert into job (assigned_to, path) values ({alice}, '/x');"
                      " delete from job where id <> {job}; commit", [], []),
    "gone and born": ("begin; delete from job where id = {job};"
                      " insert into job (id, assigned_to, path) values ({job}, {alice}, '/x'); commit",
                      [("leave", "deleted"), ("enter", "created")], []),
    "other key": ("update job set id = 1000 where id = {job}", [("leave", "deleted"), ("enter", "created")], []),
    "three transitions in one transaction": (
        "begin; update job set status = 'processing' where id = {job};"
        " update job set status = 'success' where id = {job}; commit", [("update", None)] * 2, []),
    "three transitions": (
        "update job set status = 'processing' where id = {job}; update job set status = 'success' where id = {job};"
        " update job set status = 'pending' where id = {job}", [("update", None)] * 3, []),
    "rolled back": ("begin; update job set retries = 5 where id = {job}; rollback", [], []),
    "savepoint": ("begin; update job set retries = 5 where id = {job}; savepoint s; delete from job;"
                  " rollback to s; update job set retries = 6 where id = {job}; commit", [("update", None)] * 2, []),
}


def test_changes(gateway, installed):
    writer = installed.connect()
    # In flight during everything, as a forgotten psql is.
    forgotten = installed.connect(autocommit=False)
    new_job(forgotten, new_thread(forgotten))
    failures = []
    viewers = [gateway.client(user) for user in ("alice", "bob")] + [gateway.client("root", "operator")]
    filtered = [viewer.subscribe("jobs", filter="path=eq./x") for viewer in viewers]
    everything = [viewer.subscribe("jobs") for viewer in viewers]
    counts = [viewer.subscribe("jobs#counts") for viewer in viewers]
    for name, (statements, *wanted) in CHANGES.items():
        names = {user: new_thread(writer, user) for user in ("alice", "bob")}
        names |= {"other": new_thread(writer), "job": 0}
        names["job"] = new_job(writer, names["alice"])
        sync(gateway, writer)
        marks = [len(subscription.log) for subscription in filtered]
        for statement in statements.split(";"):
            run(writer, statement.format(**names))
        sync(gateway, writer)
        try:
            for viewer, subscription in zip(viewers, filtered):
                settles(viewer, subscription, lambda: visible(writer, viewer.user, viewer.access, where="path = '/x'"), timeout=3)
            for viewer, subscription, tally in zip(viewers, everything, counts):
                rows = visible(writer, viewer.user, viewer.access)
                settles(viewer, subscription, lambda: rows, timeout=3)
                per_status = {}
                for row in rows.values():
                    per_status[row["status"]] = per_status.get(row["status"], 0) + 1
                assert {s: n for s, n in tally.counts.items() if n} == per_status, f"counts of {viewer.user}"
            for subscription, mark, deltas in zip(filtered, marks, wanted):
                assert [(op, reason) for op, _, reason, _ in subscription.log[mark:]] == deltas
        except AssertionError as failure:
            failures.append(f"{name}: {failure}")
        run(writer, "delete from job where true")
        run(writer, "delete from thread where true")
    forgotten.commit()
    for viewer, subscription in zip(viewers, everything):
        settles(viewer, subscription, lambda: visible(writer, viewer.user, viewer.access))
        viewer.close()
    assert not failures, "\n".join(failures)


def test_truncate(gateway, installed):
    writer = installed.connect()
    for user in ("alice", "bob"):
        new_job(writer, new_thread(writer, user))
    viewers = [gateway.client("alice"), gateway.client("root", "operator")]
    held = [viewer.subscribe() for viewer in viewers]
    counts = [viewer.subscribe("jobs#counts") for viewer in viewers]
    assert [len(subscription.rows) for subscription in held] == [1, 2]
    run(writer, "truncate thread cascade")
    for viewer, subscription, tally in zip(viewers, held, counts):
        settles(viewer, subscription, lambda: {})
        assert subscription.resets == ["truncate"]
        viewer.wait(lambda: tally.state == "live" and tally.resets == ["truncate"], "the counts")
        assert not any(tally.counts.values())
    thread = new_thread(writer)
    new_job(writer, thread)
    for viewer, subscription in zip(viewers, held):
        settles(viewer, subscription, lambda: visible(writer, viewer.user, viewer.access))
        viewer.close()


SHAPES = {
    "no hop": ("create table w (id int primary key, state text not null, owner text, secret text)",
               "select jobfeed.attach('w', 'w', status => 'state', owner => 'owner', hidden => '{secret}')",
               "insert into w values (1, 'a', 'alice', 's'), (2, 'a', 'bob', 's'), (3, 'a', null, 's')", ("id",)),
    "no owner": ("create table w (id int primary key, state text not null)",
                 "select jobfeed.attach('w', 'w', status => 'state')", "insert into w values (1, 'a')", ("id",)),
    "two hops, uuid": (
        "create table u (id uuid primary key default gen_random_uuid(), name text);"
        "create table p (id uuid primary key default gen_random_uuid(), member uuid references u);"
        "create table w (id uuid primary key default gen_random_uuid(), project uuid references p, state text not null)",
        "select jobfeed.attach('w', 'w', status => 'state', owner => 'project.member.name')",
        "with a as (insert into u (name) values ('alice'), ('bob') returning id),"
        " b as (insert into p (member) select id from a returning id)"
        " insert into w (project, state) select id, 'a' from b", ("id",)),
}


@pytest.mark.parametrize("shape", ["no hop", "no owner", "two hops, uuid"])
def test_shapes(gateway, installed, shape):
    create, attach, insert, key = SHAPES[shape]
    writer = installed.connect()
    run(writer, create)
    run(writer, attach)
    sync(gateway, writer)
    viewers = [gateway.client("root", "operator")] + [gateway.client(user) for user in ("alice", "bob")]
    if shape == "no owner":
        assert viewers[1].subscribe("w").error["code"] == "forbidden"
        viewers = viewers[:1]
    held = [viewer.subscribe("w", key=key) for viewer in viewers]
    statements = [insert, "update w set state = 'b'", "delete from w where state = 'b'", insert]
    if shape == "two hops, uuid":
        statements += ["update u set name = case name when 'alice' then 'bob' else 'alice' end",
                       "update p set member = (select id from u where name = 'bob' limit 1)", "update w set project = null"]
    elif shape == "no hop":
        statements += ["update w set owner = case owner when 'alice' then 'bob' else 'alice' end", "update w set secret = 'x'"]
    for statement in statements:
        run(writer, statement)
        for viewer, subscription in zip(viewers, held):
            settles(viewer, subscription, lambda: visible(writer, viewer.user, viewer.access, table="w", key=key), timeout=5)


# Suspicions that came from reading


def test_update_of_a_row_whose_large_column_the_filter_looks_at(gateway, installed):
    writer = installed.connect()
    job = new_job(writer, new_thread(writer), payload={"kind": "big", "data": [i * 7919 % 10007 for i in range(3000)]})
    with gateway.client() as alice:
        held = alice.subscribe(filter="payload->>kind=eq.big")
        assert list(held.rows) == [str(job)]
        run(writer, "update job set status = 'processing' where id = %s", [job])
        settles(alice, held, lambda: visible(writer, "alice", where="payload->>'kind' = 'big'"), timeout=5)


def test_users_whose_names_only_look_alike(gateway, installed):
    writer = installed.connect()
    composed, decomposed = "jos\u00e9", "jose\u0301"
    with gateway.client(composed) as one, gateway.client(decomposed) as other:
        subscriptions = [one.subscribe(), other.subscribe()]
        new_job(writer, new_thread(writer, composed))
        settles(one, subscriptions[0], lambda: visible(writer, composed))
        sync(gateway, writer)
        assert subscriptions[1].rows == {}, "a row of another user arrived"


def test_filter_on_a_quiet_column(gateway, installed):
    writer = installed.connect()
    job = new_job(writer, new_thread(writer))
    run(writer, "alter table job disable trigger job_touch")
    run(writer, "update job set updated_at = '2020-01-01'")
    with gateway.client() as alice:
        held = alice.subscribe(filter="updated_at=gt.2025-01-01")
        if held.error:
            assert held.error["code"] == "invalid_filter"
            return
        run(writer, "update job set updated_at = '2026-01-01' where id = %s", [job])
        run(writer, "update job set status = 'processing' where id = %s", [job])
        settles(alice, held, lambda: visible(writer, "alice", where="updated_at > '2025-01-01'"), timeout=5)


@pytest.mark.parametrize("payload", ["null", None])
def test_is_null_on_json(gateway, installed, payload):
    writer = installed.connect()
    thread = new_thread(writer)
    with gateway.client() as alice:
        before = alice.subscribe(filter="payload=is.null")
        run(writer, "insert into job (assigned_to, path, payload) values (%s, '/n', %s)", [thread, payload])
        sync(gateway, writer)
        after = alice.subscribe(filter="payload=is.null")
        assert difference(before.rows, after.rows) == ""
        # Rows travel as JSON, where SQL's null and JSON's are one.
        null = "coalesce(payload, 'null') = 'null'"
        assert difference(before.rows, visible(writer, "alice", where=null)) == ""


@pytest.mark.parametrize(
    "change",
    ["alter table job drop column delay", "alter table job rename column delay to wait", "alter table job add extra int",
     "alter table job alter retries type text"])
def test_table_altered_under_a_running_gateway(gateway, installed, change):
    writer = installed.connect()
    thread = new_thread(writer)
    job = new_job(writer, thread)
    with gateway.client() as alice, gateway.client("bob") as bob:
        mine, his = alice.subscribe(), bob.subscribe()
        run(writer, change)
        run(writer, "update job set status = 'processing' where id = %s", [job])
        run(writer, "update thread set author = 'bob' where id = %s", [thread])
        bob.wait(lambda: str(job) in his.rows, "the row to arrive", timeout=8)
        settles(alice, mine, lambda: visible(writer, "alice"), timeout=8)
        again = bob.subscribe()
        assert list(again.rows) == [str(job)]
        assert gateway.get("/readyz")[0] == 200


def test_bulk_update_does_not_disconnect_a_reader_that_keeps_up(gateway, installed):
    writer = installed.connect()
    thread = new_thread(writer)
    run(writer, "insert into job (assigned_to, path) select %s, '/x' from generate_series(1, 20000)", [thread])
    with gateway.client() as alice:
        held = alice.subscribe(limit=10000)
        counts = alice.subscribe("jobs#counts")
        assert held.truncated and len(held.rows) == 10000 and counts.counts == {"pending": 20000}
        run(writer, "update job set status = 'processing'")
        alice.wait(lambda: counts.counts.get("processing") == 20000, "the counts")
        alice.wait(lambda: len(held.log) == 20000 and not held.in_batch, "20,000 updates")
        assert all(row["status"] == "processing" for row in held.rows.values())
        # The batch is one step: the cursor stands on its last frame only.
        assert sum("cursor" in frame for frame in held.frames if frame["type"] == "changes") == 1


def test_many_large_rows_enter_at_once(gateway, installed):
    writer = installed.connect()
    thread = new_thread(writer, "bob")
    payload = {"data": [i * 7919 % 100003 for i in range(15000)]}
    for _ in range(20):
        new_job(writer, thread, payload=payload)
    with gateway.client() as alice:
        held = alice.subscribe()
        run(writer, "update thread set author = 'alice' where id = %s", [thread])
        settles(alice, held, lambda: visible(writer, "alice"))
        assert len(held.rows) == 20


def test_truncate_of_one_partition(gateway, installed):
    writer = installed.connect()
    run(writer, """
        create table parted (id int, part int, status text not null, thread bigint references thread, primary key (id, part))
            partition by list (part);
        create table parted_1 partition of parted for values in (1);
        create table parted_2 partition of parted for values in (2);
        select jobfeed.attach('parted', 'parted', status => 'status', owner => 'thread.author')""")
    thread = new_thread(writer)
    run(writer, "insert into parted values (1, 1, 'new', %s), (2, 2, 'new', %s)", [thread, thread])
    sync(gateway, writer)
    key = ("id", "part")
    with gateway.client() as alice:
        held = alice.subscribe("parted", key=key)
        assert set(held.rows) == {"1,1", "2,2"}
        run(writer, "truncate parted_1")
        settles(alice, held, lambda: visible(writer, "alice", table="parted", key=key), timeout=6)


def test_a_column_added_later_is_hidden_until_it_is_granted(gateway, installed):
    writer = installed.connect()
    thread = new_thread(writer)
    with gateway.client() as alice:
        held = alice.subscribe()
        run(writer, "alter table job add internal_note text default 'secret'")
        run(writer, "insert into job (assigned_to, path) values (%s, '/n')", [thread])
        settles(alice, held, lambda: visible(writer, "alice"))
        assert all("internal_note" not in row for row in held.rows.values())
        run(writer, "grant select (internal_note) on job to jobfeed_account")
        settles(alice, held, lambda: visible(writer, "alice"))
        assert all(row["internal_note"] == "secret" for row in held.rows.values())
