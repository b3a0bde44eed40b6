"""The feed over plain HTTP: server-sent events, and rows by REST."""

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import threading
import urllib.parse

import psycopg
import pytest
import wire
from conftest import Gateway
from faults import Proxy, Writer, must
from sse import EventSource, Refused, Stream
from test_limits import counter
from test_resume import rotate_away
from test_security import kick

STREAM = {"Accept": "text/event-stream"}
SLOW = 'jobfeed_disconnects_total{code="4000",initiator="server"}'


def stream(house, user, **options):
    return Stream(house.gateway.url, user, **options)


def refusal(gateway, user="alice", **options):
    with pytest.raises(Refused) as refused:
        Stream(gateway.url, user, **options).close()
    return refused.value


def ask(house, url, user=None, access="account", method="GET", headers=None, **parameters):
    """Status, body as JSON, headers."""
    address = urllib.parse.urlsplit(house.gateway.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=wire.PATIENCE)
    headers = dict(headers or {})
    if user:
        headers["Authorization"] = "Bearer " + wire.token(user, access)
    query = "?" + urllib.parse.urlencode(parameters) if parameters else ""
    with contextlib.closing(connection):
        connection.request(method, url + query, headers=headers)
        response = connection.getresponse()
        body = response.read()
        if response.status >= 400 and method != "HEAD":
            assert response.headers["Content-Type"] == "application/problem+json", (response.status, body)
            assert json.loads(body)["status"] == response.status
        return response.status, json.loads(body) if body else None, response.headers


@pytest.fixture(scope="module", autouse=True)
def expiring(house):
    """Opened first and asked about last: a stream may stay for 25 s after its token's time."""
    with stream(house, "late", bearer=wire.token("late", ttl=2)) as events:
        yield events


# Streams


def test_a_stream_tells_what_a_socket_tells(house):
    user = house.user()
    thread = house.thread(user)
    job = house.job(thread)
    with stream(house, user) as events, house.client(user) as client:
        held = client.subscribe()
        events.live()
        assert events.response.headers["Cache-Control"] == "no-store"
        assert events.response.headers["X-Accel-Buffering"] == "no"
        assert 1000 <= events.retry <= 3000
        house.run("update job set status = 'processing', progress = %s where id = %s", '{"message": "a\\nb\\r\\nc"}', job)
        house.run("update job set status = 'failed' where id = %s", job)
        other = house.job(thread, path="/ü\n\n")
        house.run("delete from job where id = %s", job)
        for one in (client, events):
            subscription = one.subscriptions["s0" if one is client else "feed"]
            one.wait(lambda: subscription.log and subscription.log[-1][:2] == ("leave", str(job)), "the end")
        assert events.held.log == held.log and events.held.rows == held.rows
        assert list(events.held.rows) == [str(other)] and events.held.rows[str(other)]["path"] == "/ü\n\n"


def test_filters_columns_and_counts_are_those_of_subscribe(house):
    user = house.user()
    thread = house.thread(user)
    first, second = house.job(thread, retries=1), house.job(thread, retries=5)
    options = {"filter": "retries=gt.2", "columns": "path", "limit": 1}
    with stream(house, user, **options) as some, stream(house, user, channel="jobs#counts") as counts:
        assert some.live().held.rows == {str(second): {"id": second, "status": "pending", "path": "/x"}}
        assert counts.live().held.counts == {"pending": 2}
        house.run("update job set retries = 3, status = 'failed' where id = %s", first)
        some.wait(lambda: str(first) in some.held.rows, "the row")
        counts.wait(lambda: counts.held.counts.get("failed") == 1, "the counts")
    with stream(house, user, snapshot="false") as none:
        assert none.live().held.rows == {} and not [f for f in none.frames if f["type"] == "snapshot"]


def test_heartbeats_carry_the_id(house):
    with stream(house, house.user()) as events:
        events.live()
        events.wait(lambda: any(frame["type"] == "heartbeat" and "cursor" in frame for frame in events.frames), "a heartbeat")


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl_tails(house):
    user = house.user()
    job = house.job(house.thread(user))
    command = ["curl", "-sN", "-H", "Accept: text/event-stream", "-H", f"Authorization: Bearer {wire.token(user)}",
               f"{house.gateway.url}/v1/feed?channel=jobs:pending"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as curl:
        timer = threading.Timer(wire.PATIENCE, curl.kill)
        timer.start()
        lines = iter(curl.stdout)
        assert "event: live\n" in lines
        house.run("update job set status = 'success' where id = %s", job)
        assert "event: changes\n" in lines
        change = json.loads(next(lines).removeprefix("data: "))["changes"][0]
        assert (change["op"], change["key"], change["set"]["status"]) == ("leave", str(job), "success")
        assert next(lines).startswith("id: ") and next(lines) == "\n"
        timer.cancel()
        curl.kill()


# Resumes


def test_resumes_through_a_proxy_that_cuts(installed, gateways):
    """Nothing is lost and nothing comes twice, wherever the cut is."""
    gateway = gateways(installed)
    with contextlib.closing(Proxy(gateway.port)) as proxy:
        writer = Writer(lambda: psycopg.connect(installed.dsn(), autocommit=True), "alice", pause=0.005)
        watcher = EventSource(f"http://127.0.0.1:{proxy.port}", "alice").start().live()
        # What was written before it held anything, it would never be told.
        writer.start()
        cutting = threading.Event()
        while len(watcher.answers) < 10:
            cutting.wait(0.3)
            proxy.cut()
            watcher.live()
        watcher.has_all(writer.stop())
        watcher.is_unbroken()
        watcher.stop()


def test_the_last_id_is_newer_than_the_address(house):
    user = house.user()
    job = house.job(house.thread(user))
    with stream(house, user) as before:
        old = before.live().held.cursor
        house.run("update job set status = 'processing' where id = %s", job)
        before.wait(lambda: before.held.log, "the change")
        new = before.held.cursor
    house.run("update job set status = 'success' where id = %s", job)

    def statuses(**options):
        with stream(house, user, **options) as events:
            subscription = events.held
            events.wait(lambda: any(frame["type"] == "live" for frame in events.frames), "live")
            told = [change["set"]["status"] for frame in events.frames if frame["type"] == "changes" for change in frame["changes"]]
            return subscription.answer.get("reason"), told

    # What is held is not known here, so no strict client.
    assert raw_statuses(house, user, resume=old) == (True, None, ["processing", "success"])
    assert raw_statuses(house, user, resume=old, last=new) == (True, None, ["success"])
    assert raw_statuses(house, user, resume=new, last="") == (True, None, ["success"])
    assert raw_statuses(house, user, resume=new, last="nonsense") == (False, "malformed_cursor", [])
    assert statuses() == ("no_cursor", [])


def raw_statuses(house, user, last=None, **parameters):
    """What a resume is answered with, up to `live`."""
    address = urllib.parse.urlsplit(house.gateway.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=wire.PATIENCE)
    headers = {**STREAM, "Authorization": "Bearer " + wire.token(user)}
    if last is not None:
        headers["Last-Event-ID"] = last
    with contextlib.closing(connection):
        connection.request("GET", "/v1/feed?" + urllib.parse.urlencode({"channel": "jobs", **parameters}), headers=headers)
        response = connection.getresponse()
        told, answer = [], None
        while line := response.readline().decode():
            if line.startswith("data: "):
                frame = json.loads(line.removeprefix("data: "))
                if frame["type"] == "subscribed":
                    answer = frame
                told += [change.get("set", {}).get("status") for change in frame.get("changes", [])]
                if frame["type"] == "live":
                    return answer["recovered"], answer.get("reason"), told
        raise AssertionError("the stream ended")


def test_a_cursor_goes_from_rest_to_a_socket_and_from_there_to_a_stream(house):
    user = house.user()
    job = house.job(house.thread(user))
    _, page, _ = ask(house, "/v1/jobs", user)
    house.run("update job set status = 'processing' where id = %s", job)
    with house.client(user) as client:
        held = wire.Subscription("s", "jobs")
        held.rows = dict(zip(page["keys"], page["rows"]))
        client.open(held, resume=page["cursor"])
        assert held.answer["recovered"] and held.rows[str(job)]["status"] == "processing"
    house.run("update job set status = 'success' where id = %s", job)
    held.id = "feed"
    with stream(house, user, subscription=held, last_event_id=held.cursor) as events:
        events.live()
        assert held.answer["recovered"] and held.rows[str(job)]["status"] == "success"
    with stream(house, user, subscription=held, resume=ask(house, f"/v1/jobs/{job}", user)[1]["cursor"]) as events:
        assert events.live().held.answer["recovered"]


# Who may see what


def test_nobody_else_hears_of_a_row(house):
    user, stranger, secret = house.user(), house.user(), "do-not-tell"
    thread, others = house.thread(user), house.thread(stranger)
    job = house.job(thread, path=f"/{secret}", errors='["internal-only"]')
    with stream(house, stranger) as theirs, stream(house, user) as mine, stream(house, "op", access="operator") as all_rows:
        for one in (theirs, mine, all_rows):
            one.live()
        house.run("update job set status = 'failed' where id = %s", job)
        mine.wait(lambda: mine.held.log, "the change")
        all_rows.wait(lambda: all_rows.held.log, "the change")
        assert "internal-only" in str(all_rows.frames)
        house.run("update job set assigned_to = %s, path = '/handed-over' where id = %s", others, job)
        mine.wait(lambda: mine.held.log[-1][:3] == ("leave", str(job), "permission"), "the leave")
        theirs.wait(lambda: theirs.held.log[-1:] and theirs.held.log[-1][:3] == ("enter", str(job), "permission"), "the enter")
        assert len(theirs.held.log) == 1 and secret not in str(theirs.frames)
        assert "internal-only" not in str(theirs.frames) + str(mine.frames)
    # The same by REST: what was before it was theirs is not theirs.
    _, told, _ = ask(house, f"/v1/jobs/{job}/history", stranger)
    assert secret not in str(told) and [change["op"] for change in told["changes"]] == ["enter"]
    _, told, _ = ask(house, f"/v1/jobs/{job}/history", user)
    assert secret in str(told) and "/handed-over" not in str(told) and told["changes"][-1]["op"] == "leave"
    assert ask(house, f"/v1/jobs/{job}", user)[0] == 404
    assert "internal-only" not in str(told)


def test_refused_before_the_stream(house):
    gateway = house.gateway
    job = house.job(house.thread("alice"))
    feed = {"channel": "jobs"}
    for options, status, code, detail in [
        ({"channel": ""}, 400, "missing_field", "?channel=jobs"),
        ({"channel": "jobs:"}, 400, "invalid_channel", "empty status"),
        ({"channel": "jobs#other"}, 400, "invalid_channel", "FEED#counts"),
        ({"channel": "job"}, 404, "unknown_feed", 'did you mean "jobs"'),
        ({**feed, "filter": "stats=eq.failed"}, 400, "invalid_filter", 'did you mean "status"'),
        ({**feed, "columns": "errors"}, 400, "invalid_columns", 'no column "errors"'),
        ({**feed, "columns": "path,,id"}, 400, "invalid_field", "joined by commas"),
        ({**feed, "limit": "0"}, 400, "invalid_field", "from 1 to 10000"),
        ({**feed, "limit": "x" * 1000}, 400, "invalid_field", "…"),
        ({**feed, "max_rate": "nan"}, 400, "invalid_field", "greater than 0"),
        ({**feed, "snapshot": "no"}, 400, "invalid_field", "true or false"),
        ({**feed, "filters": "x"}, 400, "unknown_field", 'did you mean "filter"'),
        ({**feed, "by": None}, 401, "unauthenticated", "Bearer"),
        ({**feed, "bearer": "nonsense"}, 401, "invalid_token", "JWT"),
        ({**feed, "bearer": "nonsense", "by": "query"}, 401, "invalid_token", "JWT"),
        ({**feed, "access_token": wire.token()}, 400, "invalid_field", "one token"),
        ({**feed, "headers": {"Origin": "https://elsewhere.example"}}, 403, "forbidden", "--allowed-origins"),
    ]:
        refused = refusal(gateway, **options)
        assert (refused.status, refused.problem["code"]) == (status, code), (options, refused)
        assert detail in refused.problem["detail"], (options, refused)
        assert "nonsense" not in refused.body
    headers = {**STREAM, "Authorization": "Bearer " + wire.token()}
    for query, detail in [("channel=jobs&channel=jobs", "once"), ("channel=%zz", "percent-encoding"),
                          ("channel=%ff", "UTF-8"), ("channel=jobs%00", "percent-encoding"), ("%=1", "percent-encoding"),
                          ("&".join(f"a{n}" for n in range(200)), "more than 128")]:
        status, problem, _ = ask(house, "/v1/feed?" + query, headers=headers)
        assert status == 400 and detail in problem["detail"], (query, problem)
    # As it was without the header, and with one that only looks like it.
    assert ask(house, "/v1/feed?channel=jobs", "alice", headers={"Accept": "text/event"})[0] == 426
    assert ask(house, f"/v1/jobs/{job}", "alice")[0] == 200


def test_head_opens_nothing(house):
    before = counter(house.gateway, "jobfeed_connections")
    status, body, headers = ask(house, "/v1/feed?channel=jobs", "alice", method="HEAD", headers=STREAM)
    assert (status, body, headers["Content-Type"]) == (200, None, "text/event-stream")
    assert ask(house, "/v1/feed?channel=nothing", "alice", method="HEAD", headers=STREAM)[0] == 404
    status, body, headers = ask(house, "/v1/jobs", "alice", method="HEAD")
    assert (status, body, headers["Content-Type"]) == (200, None, "application/json")
    assert counter(house.gateway, "jobfeed_connections") == before


def test_other_methods_are_refused(house):
    for path in ("/v1/feed", "/v1/jobs", "/v1/jobs/1", "/v1/jobs/1/history"):
        status, _, headers = ask(house, path, "alice", method="POST")
        assert status == 405 and headers["Allow"] == "GET, HEAD, OPTIONS"


def test_tokens_in_the_query_are_for_event_source_alone_and_in_no_log(house):
    user = house.user()
    with stream(house, user, by="query") as events:
        events.live()
        assert events.bearer not in house.gateway.stderr
        status, problem, _ = ask(house, "/v1/jobs", access_token=events.bearer)
        assert status == 400 and "EventSource" in problem["detail"] and events.bearer not in str(problem)


def test_pages_of_allowed_origins_may_read(installed, gateways):
    gateway = gateways(installed, allowed_origins="https://app.example")

    class House:
        pass

    house = House()
    house.gateway = gateway
    origin = {"Origin": "https://app.example"}
    with Stream(gateway.url, "alice", headers=origin) as events:
        assert events.response.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert "Origin" in events.response.headers["Vary"]
    for path in ("/v1/jobs", "/v1/jobs/1", "/v1/jobs?nothing=eq.1"):
        _, _, headers = ask(house, path, "alice", headers=origin)
        assert headers["Access-Control-Allow-Origin"] == "https://app.example"
        status, _, headers = ask(house, path, "alice", headers={"Origin": "https://evil.example"})
        assert status == 403 and "Access-Control-Allow-Origin" not in headers
        assert "Access-Control-Allow-Origin" not in ask(house, path, "alice")[2]
    preflight = {**origin, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    status, _, headers = ask(house, "/v1/jobs", method="OPTIONS", headers=preflight)
    assert status == 204 and "authorization" in headers["Access-Control-Allow-Headers"].lower()
    assert ask(house, "/v1/jobs", method="OPTIONS", headers={**preflight, "Origin": "https://evil.example"})[0] == 403
    # Its own pages.
    own = {"Origin": gateway.url}
    assert ask(house, "/v1/jobs", "alice", headers=own)[0] == 200


# Limits and ends


def test_a_stream_counts_as_a_connection(installed, gateways):
    gateway = gateways(installed, max_connections_per_user=2, max_connections=3)
    with Stream(gateway.url, "a") as first, gateway.client("a"):
        first.live()
        refused = refusal(gateway, "a", channel="jobs")
        assert (refused.status, refused.problem["code"]) == (429, "connection_limit")
        assert int(refused.headers["Retry-After"]) == 30
        with Stream(gateway.url, "b") as third:
            third.live()
            refused = refusal(gateway, "c", channel="jobs")
            assert refused.status == 503 and 5 <= int(refused.headers["Retry-After"]) <= 15
            assert "3 connections" in refused.problem["detail"]
            assert counter(gateway, "jobfeed_connections") == 3
            assert counter(gateway, 'jobfeed_connections_refused_total{limit="user"}') == 1
        must(lambda: counter(gateway, "jobfeed_connections") == 2, "the seat to be free")
        with Stream(gateway.url, "c") as late:
            late.live()
    must(lambda: counter(gateway, "jobfeed_connections") == 0, "all seats to be free")


def test_revoked_by_an_operator(house):
    user = house.user()
    with stream(house, user) as events:
        events.live()
        code, _, errors = kick(house.database, "--user", user)
        assert code == 0, errors
        assert events.ended() == 4504
        assert events.frames[-1]["retry"] is False


def test_sigterm_drains(installed, gateways):
    first, second = gateways(installed), gateways(installed)
    job = thread = None
    with installed.connect() as writer:
        thread = writer.execute("insert into thread (title, author) values ('t', 'alice') returning id").fetchone()[0]
        job = writer.execute("insert into job (assigned_to, path) values (%s, '/x') returning id", [thread]).fetchone()[0]
        streams = [Stream(first.url, "alice") for _ in range(5)]
        for events in streams:
            events.live()
        assert first.stop() == 0
        assert {events.ended() for events in streams} == {1001}
        writer.execute("update job set status = 'success' where id = %s", [job])
    assert "error" not in first.stderr.lower()
    held = streams[0].held
    with Stream(second.url, "alice", subscription=held, last_event_id=held.cursor) as events:
        events.live()
        assert held.answer["recovered"] and held.rows[str(job)]["status"] == "success"


def test_a_reader_that_is_too_slow_is_cut_and_resumes(house):
    user = house.user()
    job = house.job(house.thread(user))
    with stream(house, user) as before:
        cursor = before.live().held.cursor
    address = ("127.0.0.1", house.gateway.port)
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with slow, stream(house, user) as quick:
        slow.connect(address)
        request = f"GET /v1/feed?channel=jobs HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nAuthorization: Bearer {wire.token(user)}\r\n\r\n"
        slow.sendall(request.encode())
        quick.live()
        must(lambda: slow.recv(1, socket.MSG_PEEK), "an answer")
        cut = counter(house.gateway, SLOW)
        number = 0

        def is_cut():
            nonlocal number
            number += 1
            house.run("update job set path = %s where id = %s", f"/{number}" + "x" * 100_000, job)
            return counter(house.gateway, SLOW) > cut

        must(is_cut, "the slow reader to be cut")
        quick.wait(lambda: quick.held.rows[str(job)]["path"].startswith(f"/{number}x"), "the last change")
    assert raw_statuses(house, user, resume=cursor)[0]


def test_a_feed_that_is_gone_ends_the_stream(house):
    user = house.user()
    house.run("create table memo (id int primary key, state text not null, who text, secret text)")
    house.run("insert into memo values (1, 'new', %s, 's')", user)
    assert refusal(house.gateway, user, channel="memo").status == 404
    house.run("select jobfeed.attach('memo', 'memo', status => 'state', owner => 'who')")
    with stream(house, user, channel="memo", columns="secret") as events:
        events.live()
        house.run("select jobfeed.attach('memo', 'memo', status => 'state', owner => 'who', hidden => '{secret}')")
        events.ended()
        assert events.held.error["code"] == "invalid_columns"


# REST


def test_rows(house):
    user = house.user()
    thread = house.thread(user)
    jobs = [house.job(thread, retries=number, path=f"/p{number}&=+ ü") for number in range(5)]
    house.job(house.thread(house.user()))
    status, page, headers = ask(house, "/v1/jobs", user)
    assert status == 200 and headers["Cache-Control"] == "no-store" and page["truncated"] is False
    assert sorted(row["id"] for row in page["rows"]) == jobs and page["keys"] == [str(row["id"]) for row in page["rows"]]
    assert "errors" not in page["rows"][0]

    def found(**parameters):
        status, page, _ = ask(house, "/v1/jobs", user, **parameters)
        assert status == 200, page
        return sorted(row["retries"] for row in page["rows"])

    assert found(retries="gt.2") == [3, 4]
    assert found(path="eq./p1&=+ ü") == [1]
    assert found(retries="not.in.(0,1)", status="eq.pending", path="like./p*") == [2, 3, 4]
    assert found(filter="retries=gte.1&retries=lt.3") == [1, 2]
    assert found(filter="retries=gte.1", status="eq.failed") == []
    _, page, _ = ask(house, "/v1/jobs", user, limit=2, columns="path")
    assert page["truncated"] is True and [set(row) for row in page["rows"]] == [{"id", "status", "path"}] * 2
    assert len(ask(house, "/v1/jobs", "op", "operator", limit=10000)[1]["rows"]) >= 6
    for parameters, status, detail in [
        ({"stats": "eq.x"}, 400, 'did you mean "status"'), ({"status": "pending"}, 400, "write status=eq.pending"),
        ({"status": "equals.x"}, 400, "unknown operator"), ({"retries": "eq.x"}, 400, "integer"),
        ({"errors": "is.null"}, 400, "no column"), ({"limit": "10001"}, 400, "10000"), ({"feed": "jbs"}, 404, '"jobs"'),
        ({"feed": "jobs:pending"}, 400, "feed alone"), ({"feed": ""}, 400, "leave it out"),
    ]:
        got, problem, _ = ask(house, "/v1/jobs", user, **parameters)
        assert got == status and detail in problem["detail"], (parameters, problem)
    status, problem, headers = ask(house, "/v1/jobs")
    assert status == 401 and problem["code"] == "unauthenticated" and "Bearer" in headers["WWW-Authenticate"]


def test_one_row(house):
    user = house.user()
    job, foreign = house.job(house.thread(user)), house.job(house.thread(house.user()))
    status, page, _ = ask(house, f"/v1/jobs/{job}", user)
    assert status == 200 and page["key"] == str(job) and page["row"]["path"] == "/x" and page["cursor"]
    assert ask(house, f"/v1/jobs/{job}", user, columns="path")[1]["row"] == {"id": job, "status": "pending", "path": "/x"}
    # What is missing and what belongs to others cannot be told apart.
    answers = [ask(house, f"/v1/jobs/{key}{rest}", user)[:2] for key in (foreign, 10**15, "x", "%20") for rest in ("", "/history")]
    assert answers[0][0] == 404 and answers == [answers[0]] * 8
    for key in ("%zz", "%ff", f"{job}%00", "%"):
        status, problem, _ = ask(house, f"/v1/jobs/{key}", user)
        assert status == 400 and "percent-encoding" in problem["detail"], key
    assert ask(house, f"/v1/jobs/{job}", user, limit=1)[0] == 400


def test_keys_of_any_characters(house):
    user = house.user()
    house.run("create table odd (a text, b text, state text not null, who text, primary key (a, b))")
    house.run("select jobfeed.attach('odd', 'odd', status => 'state', owner => 'who')")
    keys = ["a/b", "history", "..", ".", "ä ö", "a+b", "a%2Fb", "?#", "a,b", "'", "\u202e", "x/history", "a\\b", "日本"]
    for key in keys:
        house.run("insert into odd values (%s, 'x y', 'new', %s)", key, user)
    for key in keys:
        text = ",".join(part.replace("%", "%25").replace(",", "%2C") for part in (key, "x y"))
        path = "/v1/jobs/" + urllib.parse.quote(text, safe="")
        status, page, _ = ask(house, path, user, feed="odd")
        assert status == 200 and page["row"]["a"] == key and page["key"] == text, (key, page)
        status, told, _ = ask(house, path + "/history", user, feed="odd")
        assert status == 200 and told["key"] == text and told["complete"] is True, (key, told)
        assert ask(house, path, house.user(), feed="odd")[0] == 404


def test_history(house):
    user = house.user()
    job = house.job(house.thread(user))
    house.run("update job set status = 'processing' where id = %s", job)
    house.run("""update job set progress = '{"percent": 50}' where id = %s""", job)
    house.run("update job set status = 'failed', errors = '[1]' where id = %s", job)
    house.run("update job set status = 'processing' where id = %s", job)
    status, told, _ = ask(house, f"/v1/jobs/{job}/history", user)
    assert status == 200 and told["complete"] is True and told["truncated"] is False
    assert [state["status"] for state in told["states"]] == ["pending", "processing", "failed", "processing"]
    assert [change["op"] for change in told["changes"]] == ["enter"] + ["update"] * 4
    assert told["since"] == told["states"][0]["since"] == told["changes"][0]["at"]
    for one, next_one in zip(told["states"], told["states"][1:]):
        assert one["until"] == next_one["since"] and one["seconds"] >= 0
    assert told["states"][-1]["until"] is None and set(told["seconds"]) == {"pending", "processing", "failed"}
    assert abs(sum(told["seconds"].values()) - sum(state["seconds"] for state in told["states"])) < 1e-5
    assert "errors" not in str(told)
    assert "errors" in str(ask(house, f"/v1/jobs/{job}/history", "op", "operator")[1])
    _, short, _ = ask(house, f"/v1/jobs/{job}/history", user, limit=2, columns="path")
    assert short["truncated"] is True and [set(change["set"]) for change in short["changes"]] == [{"status"}] * 2
    with stream(house, user, snapshot="false", resume=told["cursor"]) as events:
        events.wait(lambda: events.held.answer and events.held.answer["recovered"], "the resume")
    house.run("delete from job where id = %s", job)
    _, told, _ = ask(house, f"/v1/jobs/{job}/history", user)
    assert told["changes"][-1] == {"at": told["changes"][-1]["at"], "op": "leave", "key": str(job), "reason": "deleted"}
    assert told["states"][-1]["until"] == told["changes"][-1]["at"]
    assert ask(house, f"/v1/jobs/{job}/history", house.user())[0] == 404


def test_history_that_the_log_has_lost_says_so(installed, gateways):
    gateway = gateways(installed)
    with installed.connect() as writer:
        thread = writer.execute("insert into thread (title, author) values ('t', 'alice') returning id").fetchone()[0]
        job = writer.execute("insert into job (assigned_to, path) values (%s, '/x') returning id", [thread]).fetchone()[0]

        class House:
            pass

        house = House()
        house.gateway = gateway
        assert ask(house, f"/v1/jobs/{job}/history", "alice")[1]["complete"] is True

        insert = "insert into job (path) values ('/other') returning id"
        writer.autocommit = True
        rotate_away(writer, writer.execute(insert).fetchone()[0])
        told = ask(house, f"/v1/jobs/{job}/history", "alice")[1]
        assert told["changes"] == [] and told["seconds"] == {}
        assert told["states"] == [{"status": "pending", "since": None, "until": None, "seconds": None}]
        writer.execute("update job set status = 'success' where id = %s", [job])
        after = ask(house, f"/v1/jobs/{job}/history", "alice")[1]
        assert after["complete"] is False and after["since"] >= told["since"]
        assert [(state["status"], state["since"] is None) for state in after["states"]] == [("pending", True), ("success", False)]
        assert list(after["seconds"]) == ["success"]


# Without a database


def test_the_database_is_away(breakable, gateways):
    gateway = gateways(breakable.dsn())

    class House:
        pass

    house = House()
    house.gateway = gateway
    with psycopg.connect(breakable.dsn(), autocommit=True) as writer:
        thread = writer.execute("insert into thread (title, author) values ('t', 'alice') returning id").fetchone()[0]
        job = writer.execute("insert into job (assigned_to, path) values (%s, '/x') returning id", [thread]).fetchone()[0]
    with Stream(gateway.url, "alice") as events:
        events.live()
        breakable.stop("immediate")
        status, problem, headers = ask(house, f"/v1/jobs/{job}", "alice")
        assert status == 503 and problem["code"] == "unavailable" and int(headers["Retry-After"]) >= 1
        breakable.start()
        gateway.wait_ready()
        must(lambda: ask(house, f"/v1/jobs/{job}", "alice")[0] == 200, "the row")
        with psycopg.connect(breakable.dsn(), autocommit=True) as writer:
            writer.execute("update job set status = 'success' where id = %s", [job])
        events.wait(lambda: events.held.rows[str(job)]["status"] == "success", "the change")


def test_a_token_expires(expiring):
    assert expiring.ended() == 4001
    assert expiring.close_reason == "token_expired" and expiring.frames[-1]["retry"] is True
