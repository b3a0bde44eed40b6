"""The protocol of Supabase Realtime, frame by frame; docs/supabase.md says what is promised."""

import contextlib
import datetime
import json
import re
import threading

import pytest
import websockets.exceptions
import wire
from phoenix import Phoenix

VERSIONS = ["1.0.0", "2.0.0"]
JOBS = {"event": "*", "schema": "public", "table": "job"}

TYPES = {
    "id": "int8", "assigned_to": "int8", "path": "text", "payload": "jsonb", "retries": "int4", "max_retries": "int4",
    "retry_strategy": "text", "delay": "int4", "timeout": "int4", "assignee": "text", "status": "text",
    "progress": "jsonb", "created_at": "timestamptz", "updated_at": "timestamptz",
}

# A second feed, with a column of each kind, and one that only operators see.
TABLES = """
    create type public.mood as enum ('good', 'bad');
    create table public.print (
        id uuid primary key default gen_random_uuid(), owner text, status text not null default 'new', name varchar(40),
        code char(3), small smallint, amount numeric(30, 10), ratio double precision, tags text[], raw bytea,
        data jsonb, due date, at timestamptz, clock timestamp, flag boolean, mood public.mood);
    select jobfeed.attach('prints', 'public.print', status => 'status', owner => 'owner');
    create table public.machine (id int primary key, status text not null);
    select jobfeed.attach('machines', 'public.machine', status => 'status');
    create table public.plain (id int primary key);
"""
PRINTS = {"event": "*", "schema": "public", "table": "print"}
PRINT_TYPES = {
    "id": "uuid", "owner": "text", "status": "text", "name": "varchar", "code": "bpchar", "small": "int2",
    "amount": "numeric", "ratio": "float8", "tags": "_text", "raw": "bytea", "data": "jsonb", "due": "date",
    "at": "timestamptz", "clock": "timestamp", "flag": "bool", "mood": "mood",
}


@pytest.fixture(scope="module")
def shop(house):
    house.run(TABLES)
    user = house.user()
    with Phoenix(house.gateway.url) as client:
        # The gateway has heard of the tables once a join of theirs succeeds.
        while (client.ask_to_join("realtime:x", [PRINTS], wire.token(user)),
               client.next()["payload"]["status"])[1] == "error":
            pass
    return house


def connect(house, version="2.0.0", **options):
    return Phoenix(house.gateway.url, version, **options)


def timestamp(text):
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


# Joining, and the three kinds of change


@pytest.mark.parametrize("version, path", [
    ("1.0.0", "/realtime/v1/websocket"), ("2.0.0", "/realtime/v1/websocket"), (None, "/socket/websocket"),
    ("2.0.0", "/socket/websocket")])
def test_a_life(house, version, path):
    user = house.user()
    thread = house.thread(user)
    with connect(house, version, path=path) as client:
        bindings = [JOBS, {"event": "UPDATE", "schema": "public", "table": "job", "filter": f"assigned_to=eq.{thread}"}]
        before = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=1)
        assert client.join("realtime:jobs", bindings, wire.token(user)) == [
            {**bindings[0], "id": 1}, {**bindings[1], "id": 2}]
        job = house.job(thread, payload='{"a": [1, 2.50]}')
        ids, insert = client.change()
        assert ids == [1]
        assert list(insert) == [
            "schema", "table", "errors", "columns", "commit_timestamp", "type", "record"]
        assert (insert["schema"], insert["table"], insert["type"], insert["errors"]) == ("public", "job", "INSERT", None)
        assert timestamp(insert["commit_timestamp"]) >= before.replace(microsecond=0)
        assert {column["name"]: column["type"] for column in insert["columns"]} == TYPES
        assert insert["record"] == house.one("select to_jsonb(job) - 'errors' from job where id = %s", job)
        # Hidden columns are not in the row, nor among the columns, nor do they make an event.
        house.run("update job set errors = '[\"x\"]' where id = %s", job)
        house.run("update job set status = 'processing', retries = 1 where id = %s", job)
        frames = [client.change(), client.change()]
        assert sorted(ids for ids, _ in frames) == [[1], [2]]
        for _, update in frames:
            assert update["type"] == "UPDATE" and update["columns"] == insert["columns"]
            assert update["record"] == house.one("select to_jsonb(job) - 'errors' from job where id = %s", job)
            assert update["old_record"].pop("updated_at")
            assert update["old_record"] == {"id": job, "status": "pending", "retries": 0}
        house.run("delete from job where id = %s", job)
        ids, delete = client.change()
        assert ids == [1]
        assert (delete["type"], delete["old_record"]) == ("DELETE", {"id": job})
        assert "record" not in delete and delete["columns"] == insert["columns"] and delete["errors"] is None
        assert client.is_alive()


@pytest.mark.parametrize("version", VERSIONS)
def test_heartbeat_without_a_ref(house, version):
    with connect(house, version) as client:
        client.push("phoenix", "heartbeat", {}, ref=None, join_ref=None)
        assert client.next()["payload"] == {"status": "ok", "response": {}}


def test_each_event_by_itself(house):
    user = house.user()
    thread = house.thread(user)
    with connect(house) as client:
        events = ["INSERT", "UPDATE", "delete", "*"]
        bindings = [{**JOBS, "event": event} for event in events]
        echo = client.join("realtime:a", bindings, wire.token(user))
        assert [(binding["event"], binding["id"]) for binding in echo] == list(zip(events, range(1, 5)))
        client.join("realtime:b", [{**JOBS, "event": "DELETE"}], wire.token(user))
        job = house.job(thread)
        assert client.change()[0] == [1, 4]
        house.run("update job set path = '/y' where id = %s", job)
        assert client.change()[0] == [2, 4]
        house.run("delete from job where id = %s", job)
        frames = sorted((frame["topic"], frame["payload"]["ids"]) for frame in (client.next(), client.next()))
        assert frames == [("realtime:a", [3, 4]), ("realtime:b", [1])]


def test_nobody_elses_rows(house):
    user, other = house.user(), house.user()
    mine, theirs = house.thread(user), house.thread(other)
    with connect(house) as client:
        client.join("realtime:a", [JOBS], wire.token(user))
        job = house.job(theirs)
        house.run("update job set status = 'failed' where id = %s", job)
        house.run("update job set assigned_to = %s where id = %s", mine, job)
        _, entered = client.change()
        assert (entered["type"], entered["record"]["id"], entered["record"]["status"]) == ("INSERT", job, "failed")
        assert "old_record" not in entered
        house.run("update job set assigned_to = %s, path = '/secret' where id = %s", theirs, job)
        _, left = client.change()
        assert (left["type"], left["old_record"]) == ("DELETE", {"id": job})
        assert "record" not in left and "/secret" not in json.dumps(left)
        house.run("delete from job where id = %s", job)
        assert client.is_alive()


def test_values(shop):
    user = shop.user()
    with connect(shop) as client:
        client.join("realtime:p", [PRINTS], wire.token(user))
        key = shop.one(
            """insert into print (owner, name, code, small, amount, ratio, tags, raw, data, due, at, clock, flag, mood)
               values (%s, 'n', 'abc', 7, 12345678901234567890.5, 0.25, '{a,"b c"}', '\\x0102ff', '{"k": null}',
                       '2026-01-02', '2026-01-02 03:04:05+02', '2026-01-02 03:04:05', true, 'bad') returning id""", user)
        _, data = client.change()
        assert {column["name"]: column["type"] for column in data["columns"]} == PRINT_TYPES
        expected = shop.one("select to_jsonb(print) from print where id = %s", key)
        assert data["record"] == {**expected, "raw": "0102ff"}
        shop.run("delete from print where id = %s", key)
        assert client.change()[1]["old_record"] == {"id": str(key)}


# Filters, wildcards, select


FILTERS = {
    "status=eq.done": "bd", "status=neq.done": "ac", "small=lt.2": "a", "small=lte.2": "ab", "small=gt.2": "c",
    "small=gte.2": "bc", "status=in.(done,new)": "abd", "name=like.%pl%": "ab", "name=ilike.APP%": "a",
    "name=like.a*": "", "small=is.null": "d", "small=not.is.null": "abc", "flag=is.true": "a", "name=match.^[a-p]+$": "ab",
    "name=imatch.^A.*E$": "a", "name=not.match.l": "c", "small=isdistinct.2": "acd", "small=not.isdistinct.2": "b",
    "small=gt.1,status=eq.done": "b", 'name=eq."x, (y) & \\"z\\""': "c", 'name=in.("x, (y) & \\"z\\"",apple)': "ac",
    "small=neq.1": "bc", "mood=eq.good": "a", "": "abcd", "  ": "abcd", "small=not.in.(1,2)": "c",
}


def test_filters(shop):
    user = shop.user()
    with connect(shop) as client:
        token = wire.token(user)
        for number, text in enumerate(FILTERS):
            binding = {**PRINTS, "event": "INSERT", "filter": text}
            assert client.join(f"realtime:{number}", [binding], token) == [{**binding, "id": 1}]
        client.join("realtime:all", [PRINTS], token)
        rows = [
            ("a", "new", "apple", 1, True, "good"), ("b", "done", "plop", 2, False, "bad"),
            ("c", "late", 'x, (y) & "z"', 3, None, None), ("d", "done", None, None, None, None)]
        for code, *columns in rows:
            shop.run("insert into print (owner, code, status, name, small, flag, mood) values (%s, %s, %s, %s, %s, %s, %s)",
                     user, code, *columns)
        # When the second is here, all that came with the first is.
        seen = {number: "" for number in range(len(FILTERS))}
        for code in ("y", "z"):
            shop.run("insert into print (owner, code, small, name, status) values (%s, %s, 99, '-', '-')", user, code)
            record = {"code": None}
            while record["code"].__str__().strip() != code:
                frame = client.next()
                record = frame["payload"]["data"]["record"]
                topic = frame["topic"].removeprefix("realtime:")
                if topic != "all":
                    seen[int(topic)] += record["code"].strip()
                    record = {"code": None}
        found = {text: "".join(sorted(set(seen[number]) & set("abcd"))) for number, text in enumerate(FILTERS)}
        assert found == FILTERS


def test_filters_look_at_the_new_row(house):
    user = house.user()
    thread = house.thread(user)
    job = house.job(thread)
    with connect(house) as client:
        filtered = {**JOBS, "filter": "status=eq.processing"}
        client.join("realtime:a", [filtered], wire.token(user))
        client.join("realtime:b", [filtered], wire.token(user), broadcast={"jobfeed": {"leave": True}})
        house.run("update job set status = 'processing' where id = %s", job)
        for _ in "ab":
            _, data = client.change()
            assert (data["type"], data["old_record"]["status"]) == ("UPDATE", "pending")
            assert data["record"]["path"] == "/x"
        # Leaving the filter is told only to whom asked for it.
        house.run("update job set status = 'success' where id = %s", job)
        frame = client.next()
        assert (frame["topic"], frame["payload"]["data"]["type"]) == ("realtime:b", "DELETE")
        assert frame["payload"]["data"]["old_record"] == {"id": job}
        assert client.is_alive()


@pytest.mark.parametrize("binding", [
    {"event": "*", "schema": "public"}, {"event": "*", "schema": "public", "table": "*"}, {"event": "*", "schema": "*"},
    {"event": "*", "schema": "*", "table": "*"}])
def test_wildcards(shop, binding):
    user = shop.user()
    thread = shop.thread(user)
    with connect(shop) as client:
        # Also a feed that this user may not see is there.
        assert client.join("realtime:all", [binding], wire.token(user)) == [{**binding, "id": 1}]
        shop.job(thread)
        assert client.change()[1]["table"] == "job"
        shop.run("insert into machine values (%s, 'x') on conflict (id) do update set status = 'x'", 1)
        shop.run("insert into print (owner) values (%s)", user)
        ids, data = client.change()
        assert (ids, data["table"]) == ([1], "print")
    with connect(shop) as client:
        client.join("realtime:all", [binding], wire.token(user, "operator"))
        shop.run("update machine set status = status || 'x'")
        assert client.change()[1]["table"] == "machine"


def test_a_table_alone_is_public(house):
    user = house.user()
    with connect(house) as client:
        binding = {"event": "INSERT", "table": "job"}
        assert client.join("realtime:a", [binding], wire.token(user)) == [{**binding, "id": 1}]
        house.job(house.thread(user))
        assert client.change()[1]["schema"] == "public"


def test_select(house):
    user = house.user()
    job = house.job(house.thread(user))
    with connect(house) as client:
        binding = {**JOBS, "select": ["path"]}
        assert client.join("realtime:a", [binding], wire.token(user)) == [{**binding, "id": 1}]
        house.run("update job set retries = 3 where id = %s", job)
        house.run("update job set path = '/new' where id = %s", job)
        _, data = client.change()
        assert data["record"] == {"id": job, "path": "/new", "status": "pending"}
        assert data["old_record"] == {"id": job, "path": "/x"}
        assert [column["name"] for column in data["columns"]] == ["id", "path", "status"]


# Refusals


@pytest.mark.parametrize("bindings, code, words", [
    ([{**JOBS, "table": "plain"}], "RealtimeDisabledForConfiguration", "jobfeed.attach"),
    ([{**JOBS, "table": "jobs"}], "RealtimeDisabledForConfiguration", 'did you mean "public.job"'),
    ([{**JOBS, "schema": "nope", "table": "*"}], "RealtimeDisabledForConfiguration", "jobfeed.attach"),
    ([{**JOBS, "table": "machine"}], "Unauthorized", "only operators"),
    ([{**JOBS, "filter": "stat=eq.x"}], "RealtimeDisabledForConfiguration", 'did you mean "status"'),
    ([{**JOBS, "filter": "status=is.what"}], "RealtimeDisabledForConfiguration", "is.null"),
    ([{**JOBS, "filter": "status=nope.x"}], "RealtimeDisabledForConfiguration", "isdistinct"),
    ([{**JOBS, "filter": "path=match.(("}], "RealtimeDisabledForConfiguration", "does not end"),
    ([{**JOBS, "filter": "errors=is.null"}], "RealtimeDisabledForConfiguration", "no column"),
    ([JOBS, {**JOBS, "filter": "status=in.x"}], "RealtimeDisabledForConfiguration", "parentheses"),
    ([{**JOBS, "filter": "status=eq.x,"}], "RealtimeDisabledForConfiguration", "empty condition"),
    ([{**JOBS, "select": ["errors"]}], "RealtimeDisabledForConfiguration", "no column"),
    ([{"event": "*"}], "InvalidJoinPayload", "No subscription params provided"),
    ([{"event": "*", "schema": "public", "filter": "id=eq.1"}], "InvalidJoinPayload", "wildcards"),
    (["x"], "InvalidJoinPayload", "no object"),
    ([{**JOBS, "schema": 3}], "InvalidJoinPayload", "a text"),
    ([JOBS] * 129, "ChannelRateLimitReached", "at most 128"),
])
def test_refused_bindings(shop, bindings, code, words):
    user = shop.user()
    with connect(shop) as client:
        reason = client.refused("realtime:a", bindings, wire.token(user))
        assert reason.startswith(code + ": ") and words in reason
        # Nothing of it is left, and the socket is as good as before.
        client.join("realtime:a", [{**JOBS, "filter": f"status=eq.{number}"} for number in range(128)], wire.token(user))


@pytest.mark.parametrize("version", VERSIONS)
def test_refused_tokens(house, version):
    user = house.user()
    with connect(house, version) as client:
        assert client.refused("realtime:a", [JOBS]).startswith("InvalidJWTToken: ")
        assert client.refused("realtime:a", [JOBS], "sb_publishable_x").startswith("InvalidJWTToken: ")
        assert client.refused("realtime:a", [JOBS], wire.token(user, ttl=-5)) == "InvalidJWTToken: the token has expired"
        assert client.refused("realtime:a", [JOBS], wire.token(user, secret="x" * 64)).startswith("InvalidJWTToken: ")
        client.join("realtime:a", [JOBS], wire.token(user))
        # The socket knows its user now.
        client.join("realtime:b", [], None)
    with connect(house, version, apikey=None) as client:
        assert client.refused("realtime:a", [JOBS]).startswith("Unauthorized: ")


def test_a_users_token_as_key(house):
    user = house.user()
    for options in ({"apikey": wire.token(user)}, {"headers": {"x-api-key": wire.token(user)}}):
        with connect(house, **options) as client:
            client.join("realtime:a", [JOBS], None)
            house.job(house.thread(user))
            assert client.change()[1]["type"] == "INSERT"


def test_refused_topics(house):
    user = house.user()
    with connect(house) as client:
        assert client.refused("jobs", [JOBS], wire.token(user)) == "unmatched topic"
        assert client.refused("realtime:", [JOBS], wire.token(user)).startswith("TopicNameRequired: ")
        client.push("realtime:nobody", "access_token", {})
        assert client.next()["payload"]["response"] == {"reason": "unmatched topic"}
        client.push("realtime:nobody", "phx_leave", {})
        assert client.next()["payload"] == {"status": "ok", "response": {}}
        client.push("realtime:old:public:job", "phx_join", {}, ref="9", join_ref="9")
        assert "`config`" in client.next()["payload"]["response"]["reason"]


@pytest.mark.parametrize("query, status", [("vsn=3.0.0", 400), ("vsn=1", 400), ("vsn=", 400)])
def test_refused_versions(house, query, status):
    with pytest.raises(websockets.exceptions.InvalidStatus) as refusal:
        connect(house, query.removeprefix("vsn="))
    assert refusal.value.response.status_code == status


def test_origins(house):
    with pytest.raises(websockets.exceptions.InvalidStatus) as refusal:
        connect(house, headers={"Origin": "https://elsewhere.example"})
    assert refusal.value.response.status_code == 403


def test_a_hundred_channels(house):
    user = house.user()
    thread = house.thread(user)
    with connect(house) as client:
        for number in range(100):
            client.join(f"realtime:{number}", [JOBS], wire.token(user))
        job = house.job(thread)
        frames = [client.next() for _ in range(100)]
        assert {frame["topic"] for frame in frames} == {f"realtime:{number}" for number in range(100)}
        assert all(frame["payload"]["data"]["record"]["id"] == job for frame in frames)
        for number in range(28):
            client.join(f"realtime:none{number}", [], wire.token(user))
        assert client.refused("realtime:more", [], wire.token(user)).startswith("ChannelRateLimitReached: ")


# Tokens, leaving, joining again


@pytest.mark.parametrize("version", VERSIONS)
def test_tokens_in_between(house, version):
    user = house.user()
    thread = house.thread(user)
    with connect(house, version) as client:
        old = wire.token(user)
        client.join("realtime:a", [JOBS], old)
        client.join("realtime:b", [JOBS], old)
        for token in (None, "sb_publishable_x", old, wire.token(user, ttl=1800), 7):
            client.push("realtime:a", "access_token", {"access_token": token})
        assert client.is_alive()
        job = house.job(thread)
        assert [client.change()[1]["record"]["id"] for _ in "ab"] == [job, job]
        # One that is no good ends the channel that brought it, and the client joins again with a better one.
        client.push("realtime:a", "access_token", {"access_token": "anon"})
        error = client.next()
        assert (error["event"], error["topic"], error["ref"]) == ("phx_error", "realtime:a", client.joins["realtime:a"])
        assert error["payload"]["reason"].startswith("InvalidJWTToken: ")
        house.run("delete from job where id = %s", job)
        assert client.next()["topic"] == "realtime:b"
        client.join("realtime:a", [JOBS], old)
        # Another user takes another connection.
        client.push("realtime:a", "access_token", {"access_token": wire.token(house.user())})
        assert client.closed() == 4503


@pytest.mark.parametrize("version", VERSIONS)
def test_leave(house, version):
    user = house.user()
    thread = house.thread(user)
    with connect(house, version) as client:
        client.join("realtime:a", [JOBS], wire.token(user))
        client.join("realtime:b", [{**JOBS, "event": "INSERT"}], wire.token(user))
        first = client.joins["realtime:a"]
        ref = client.push("realtime:a", "phx_leave", {})
        reply, close = client.next(), client.next()
        assert (reply["ref"], reply["payload"]) == (ref, {"status": "ok", "response": {}})
        assert close == {
            "join_ref": client.shown(first), "ref": first, "topic": "realtime:a", "event": "phx_close", "payload": {}}
        house.job(thread)
        assert client.next()["topic"] == "realtime:b"
        # What is said of a join that was left says nothing of the next.
        client.join("realtime:a", [JOBS], wire.token(user))
        client.push("realtime:a", "phx_leave", {}, join_ref=first)
        assert client.next()["payload"]["status"] == "ok"
        house.job(thread)
        assert {client.next()["topic"] for _ in "ab"} == {"realtime:a", "realtime:b"}


@pytest.mark.parametrize("version", VERSIONS)
def test_join_again_without_leaving(house, version):
    user = house.user()
    with connect(house, version) as client:
        client.join("realtime:a", [JOBS], wire.token(user))
        first = client.joins["realtime:a"]
        client.ask_to_join("realtime:a", [{**JOBS, "event": "INSERT"}], wire.token(user))
        if version == "2.0.0":
            close = client.next()
            assert (close["event"], close["join_ref"], close["ref"]) == ("phx_close", first, first)
        assert client.next()["payload"]["status"] == "ok"
        assert client.next()["event"] == "system"
        job = house.job(house.thread(user))
        house.run("update job set status = 'failed' where id = %s", job)
        assert client.change()[1]["type"] == "INSERT"
        assert client.is_alive()


def test_a_join_that_nobody_waits_for(house):
    user = house.user()
    with connect(house) as client:
        for _ in range(3):
            client.ask_to_join("realtime:a", [JOBS], wire.token(user))
        last = client.joins["realtime:a"]
        frames = [client.next() for _ in range(4)]
        assert [frame["event"] for frame in frames] == ["phx_close", "phx_close", "phx_reply", "system"]
        assert frames[2]["ref"] == last and {frame["join_ref"] for frame in frames[2:]} == {last}
        house.job(house.thread(user))
        assert client.change()[0] == [1]
        assert client.is_alive()


def test_resync(house, gateways):
    """What cannot be told as changes makes the client join again."""
    user = house.user()
    with house.database.postgres.fresh_database("installed_template") as database:
        gateway = gateways(database)
        with Phoenix(gateway.url) as client:
            client.join("realtime:a", [JOBS], wire.token(user))
            database.connect().execute("truncate job")
            error = client.next()
            assert (error["event"], error["join_ref"]) == ("phx_error", client.joins["realtime:a"])
            assert error["payload"]["reason"].startswith("ReconnectSubscribeToPostgres: ")
            client.join("realtime:a", [JOBS], wire.token(user))
            # Who asked for snapshots gets another one, and the channel stays.
            client.join("realtime:b", [JOBS], wire.token(user), broadcast={"jobfeed": {"snapshot": True}})
            for kind in ("subscribed", "snapshot", "live"):
                client.note(kind)
            writer = database.connect()
            writer.execute("with t as (insert into thread (title, author) values ('t', %s) returning id) "
                           "insert into job (assigned_to, path) select id, '/' from t", (user,))
            assert {client.next()["topic"] for _ in "ab"} == {"realtime:a", "realtime:b"}
            writer.execute("truncate job")
            frames = [client.next() for _ in range(4)]
            assert [frame["event"] for frame in frames if frame["topic"] == "realtime:a"] == ["phx_error"]
            notes = [frame["payload"]["payload"] for frame in frames if frame["topic"] == "realtime:b"]
            assert [note["type"] for note in notes] == ["reset", "snapshot", "live"]
            assert (notes[0]["reason"], notes[1]["rows"]) == ("truncate", [])
            writer.execute("select jobfeed.detach('jobs')")
            error = client.next()
            assert (error["event"], error["topic"]) == ("phx_error", "realtime:b")
            assert "is no feed" in client.refused("realtime:b", [JOBS], wire.token(user))
        gateway.kill()
        database.close()


# What clients also do


def test_lenient_joins(house):
    user = house.user()
    with connect(house) as client:
        client.join("realtime:a", [JOBS], wire.token(user), broadcast=None, presence=None, private="true")
        client.join("realtime:b", [JOBS], wire.token(user), postgres_changes_options={"wait": True, "timeout": 15000})
        client.join("realtime:c", [{**JOBS, "event": "insert", "x_mine": [1, {"a": None}], "filter": ""}], wire.token(user))
        client.join("realtime:d", [], wire.token(user), presence={"key": "", "enabled": True})
        client.ask_to_join("realtime:e", None, wire.token(user))
        assert client.next()["payload"] == {"status": "ok", "response": {"postgres_changes": []}}


@pytest.mark.parametrize("version", VERSIONS)
def test_broadcast_and_presence(house, version):
    user = house.user()
    with connect(house, version) as client:
        client.join("realtime:a", [JOBS], wire.token(user))
        for event, code in (("broadcast", "UnableToHandleBroadcast"), ("presence", "UnableToHandlePresence")):
            ref = client.push("realtime:a", event, {"type": event, "event": "x", "payload": {}})
            reply = client.next()
            assert (reply["ref"], reply["payload"]["status"]) == (ref, "error")
            assert reply["payload"]["response"]["reason"].startswith(code + ": ")
        client.push("realtime:a", "what", {})
        assert client.next()["payload"]["response"]["reason"].startswith("UnknownEvent: ")
        assert client.is_alive()


def test_binary_frames(house):
    user = house.user()
    with connect(house) as client:
        client.join("realtime:a", [JOBS], wire.token(user))
        join, ref, topic, event = client.joins["realtime:a"].encode(), b"77", b"realtime:a", b"x"
        head = bytes([3, len(join), len(ref), len(topic), len(event), 0, 1])
        client.socket.send(head + join + ref + topic + event + b"{}")
        reply = client.next()
        assert (reply["ref"], reply["payload"]["status"]) == ("77", "error")
        for junk in (b"", b"\x03", b"\x03\xff\xff\xff\xff\xff\x00abc", b"\x09\x00"):
            client.socket.send(junk)
        assert client.is_alive()


@pytest.mark.parametrize("version", VERSIONS)
def test_malformed_frames(house, version):
    user = house.user()
    with connect(house, version) as client:
        client.join("realtime:a", [JOBS], wire.token(user))
        for text in ("", "x", "null", "[]", "{}", "[1,2,3]", '["1","2",3,"phx_join",{}]', '[null,null,"a","b",[]]',
                     '{"topic":"a","event":"b","payload":3,"ref":null}', '{"topic":"a","event":"b","ref":{}}'):
            client.socket.send(text)
        assert client.is_alive()
        house.job(house.thread(user))
        assert client.change()[0] == [1]
        # Not for ever.
        with contextlib.suppress(websockets.exceptions.ConnectionClosed):
            for _ in range(120):
                client.socket.send("x")
        assert client.closed() == 4500


# Nothing is missed after the answer to a join


def test_subscribed_means_subscribed(house):
    user = house.user()
    thread = house.thread(user)
    stop = threading.Event()

    def write():
        connection = house.database.connect()
        while not stop.is_set():
            connection.execute("insert into job (assigned_to, path) values (%s, 'w')", (thread,))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            with connect(house) as client:
                client.join("realtime:a", [JOBS], wire.token(user))
                marker = house.one("insert into job (assigned_to, path) values (%s, 'm') returning id", thread)
                seen = []
                while marker not in seen:
                    seen.append(client.change()[1]["record"]["id"])
    finally:
        stop.set()
        writer.join()


# What is not in Supabase


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("place", ["config", "broadcast"])
def test_snapshot_and_resume(house, version, place):
    user = house.user()
    thread = house.thread(user)
    jobs = [house.job(thread) for _ in range(3)]

    def options(**chosen):
        return {"jobfeed": chosen} if place == "config" else {"broadcast": {"ack": False, "jobfeed": chosen}}

    with connect(house, version) as client:
        client.join("realtime:a", [JOBS], wire.token(user), **options(snapshot=True, resume=None))
        answer = client.note("subscribed")
        assert (answer["recovered"], answer["reason"]) == (False, "no_cursor")
        snapshot = client.note("snapshot")
        assert (snapshot["stream"], snapshot["ids"], snapshot["truncated"]) == ("1/jobs", [1], False)
        assert (snapshot["schema"], snapshot["table"]) == ("public", "job")
        rows = house.run("select to_jsonb(job) - 'errors' from job where id = any(%s) order by id desc", jobs).fetchall()
        assert snapshot["rows"] == [row[0] for row in rows]
        cursor = client.note("live")["cursor"]
        house.run("update job set status = 'processing' where id = %s", jobs[0])
        assert client.change()[1]["type"] == "UPDATE"
        moved = client.note("cursor")
        assert (moved["stream"], moved["ids"]) == ("1/jobs", [1])
        assert moved["cursor"] != cursor
    house.run("update job set status = 'success' where id = %s", jobs[0])
    new = house.job(thread)
    house.run("delete from job where id = %s", jobs[1])
    for resume in (moved["cursor"], {"1/jobs": moved["cursor"]}):
        with connect(house, version) as client:
            client.join("realtime:a", [JOBS], wire.token(user), **options(snapshot=True, resume=resume))
            assert client.note("subscribed")["recovered"] is True
            changes = [client.change()[1] for _ in range(3)]
            assert [change["type"] for change in changes] == ["UPDATE", "INSERT", "DELETE"]
            assert (changes[0]["record"]["status"], changes[1]["record"]["id"]) == ("success", new)
            assert client.note("cursor")["cursor"] == client.note("live")["cursor"]
    with connect(house, version) as client:
        client.join("realtime:a", [JOBS], wire.token(user), **options(snapshot=True, limit=2))
        client.note("subscribed")
        snapshot = client.note("snapshot")
        assert (len(snapshot["rows"]), snapshot["truncated"]) == (2, True)
        client.note("live")
        house.job(thread)
        client.change()
        assert client.is_alive()  # and no cursor, which was not asked for
        for wrong in ({"snapshot": 1}, {"resume": 1}, {"limit": 0}, {"leave": "yes"}):
            assert client.refused("realtime:b", [JOBS], wire.token(user), **options(**wrong)).startswith("InvalidJoinPayload")
