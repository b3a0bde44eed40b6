"""`jobfeed-server why`: what it says was sent is what a client was sent, and why not is the rule that decided."""

import json
import os
import subprocess

import psycopg.conninfo
import pytest
import wire
from conftest import SERVER
from test_resume import rotate_away
from test_views import new_job, new_thread, run, sync


def why(database, *arguments, user="alice", job=1, code=0, dsn=None):
    """Standard output and standard error of a run that ends with `code`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JOBFEED_")}
    done = subprocess.run(
        [SERVER, "why", "--user", user, "--job", str(job), *arguments], capture_output=True, text=True,
        timeout=wire.PATIENCE, stdin=subprocess.DEVNULL,
        env={**environment, "DATABASE_URL": dsn or database.dsn("gateway_login"), "SWIFT_BACKTRACE": "enable=no"})
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout, done.stderr


def answer(database, *arguments, **options):
    """The changes, the replay and the summary."""
    lines = [json.loads(line) for line in why(database, "--json", *arguments, **options)[0].splitlines()]
    assert [line["type"] for line in lines if line["type"] != "change"][-1] == "summary"
    return ([line for line in lines if line["type"] == "change"],
            next((line for line in lines if line["type"] == "replay"), None), lines[-1])


def sent(changes):
    return [(c["sent"]["op"], c["sent"].get("reason"), sorted(c["sent"]["columns"])) for c in changes if c["is_sent"]]


def received(subscription, key, since=0):
    return [(op, reason, sorted(columns)) for op, k, reason, columns in subscription.log[since:] if k == str(key)]


# One job's life; each statement commits alone, or a line at once. {t} is alice's thread, {u} bob's.
LIFE = [
    ("update job set status = 'processing', progress = '{{\"percent\": 1}}' where id = {job}", None),
    ("update job set errors = '[\"secret\"]' where id = {job}", "only hidden columns changed (errors)"),
    ("update job set retries = retries + 1 where id = {job}", None),
    ("update job set assigned_to = {u} where id = {job}", None),
    ("update job set status = 'failed' where id = {job}", "it belongs to bob, not to alice"),
    ("update job set assigned_to = null where id = {job}", "it belonged to bob and then to nobody, not to alice"),
    ("update job set path = '/y' where id = {job}",
     "the job has no owner (assigned_to is null); only operators see it"),
    ("update job set assigned_to = {t} where id = {job}", None),
    ("update thread set author = 'bob' where id = {t}", None),
    ("update thread set author = 'carol' where id = {t}", "it belonged to bob and then to carol, not to alice"),
    ("begin; update thread set author = 'alice' where id = {t}; update job set status = 'success' where id = {job};"
     " commit", None),
    ("begin; update job set status = 'pending' where id = {job}; update job set status = 'processing' where id = {job};"
     " commit", None),
    ("begin; update job set status = 'failed' where id = {job}; update job set assigned_to = {u} where id = {job};"
     " commit", None),
    ("begin; update thread set author = 'x' where id = {u}; update thread set author = 'bob' where id = {u}; commit",
     "the job's owner is bob as before"),
    ("update job set assigned_to = {t}, payload = jsonb_build_object('big', repeat('x', 9000)) where id = {job}", None),
    ("update job set path = '/x' where id = {job}", None),
    ("update job set id = id where id = {job}", None),
    ("delete from thread where id = {t}", None),
]
# Each run is a process: alice tries every view, the others one.
VIEWS = {
    "alice": [{}, {"filter": "path=eq./x"}, {"channel": "jobs:pending,success", "columns": ["retries"]},
              {"filter": "payload->>big=like.x%"}],
    "bob": [{"filter": "path=eq./x"}], "Alice": [{}], "root": [{"filter": "progress=is.null", "columns": ["path"]}],
}


def options(view):
    return [part for name, value in view.items()
            for part in (f"--{name}", ",".join(value) if isinstance(value, list) else value)]


def test_what_was_sent_is_what_clients_received(gateway, installed):
    writer = installed.connect()
    viewers = {user: gateway.client(user, "operator" if user == "root" else "account") for user in VIEWS}
    held = [(viewers[user], view, viewers[user].subscribe(**{"channel": "jobs", **view}))
            for user, views in VIEWS.items() for view in views]
    names = {"t": new_thread(writer), "u": new_thread(writer, "bob")}
    names["job"] = new_job(writer, names["t"])
    sync(gateway, writer)
    for statements, _ in LIFE:
        for statement in statements.split(";"):
            run(writer, statement.format(**names))
        # Every commit is a step of its own.
        sync(gateway, writer)
    mine = {"job": names["job"]}
    for viewer, view, subscription in held:
        changes, _, summary = answer(
            installed, "--access", viewer.access, *options(view), user=viewer.user, **mine)
        assert sent(changes) == received(subscription, names["job"]), (viewer.user, view)
        assert summary["visible"] is False and summary["exists"] is False
        if viewer.user == "alice" and not view:
            for _, wanted in LIFE:
                assert wanted is None or f"not sent: {wanted}" in [change["message"] for change in changes], wanted
            # Nobody who waits for a commit in the tests' own order is told of doubts.
            assert not [note for change in changes for note in change["notes"] if "cannot prove" in note]


def test_a_cursor_is_replayed_as_the_gateway_replays_it(gateways, installed):
    # From memory it goes by the steps that the node happened to read.
    gateway = gateways(installed, ring_bytes=0)
    writer = installed.connect()
    names = {"t": new_thread(writer), "u": new_thread(writer, "bob")}
    names["job"] = new_job(writer, names["t"])
    cursors = []
    with gateway.client() as client:
        subscription = client.subscribe("jobs")
        for statements, _ in LIFE:
            cursors.append((subscription.cursor, dict(subscription.rows)))
            for statement in statements.split(";"):
                run(writer, statement.format(**names))
            # Any step moves the cursor on.
            other = str(new_job(writer, new_thread(writer)))
            client.wait(lambda: other in subscription.rows, "the step")
    for cursor, rows in cursors[::3]:
        with gateway.client() as client:
            resumed = wire.Subscription("r", "jobs")
            resumed.rows = dict(rows)
            client.open(resumed, resume=cursor)
            _, replay, _ = answer(installed, "--since", cursor, job=names["job"])
            assert resumed.answer["recovered"] and replay["recovered"]
            assert sent(replay["changes"]) == received(resumed, names["job"])


def test_a_cursor_that_is_not_recovered_says_why(gateways, installed):
    gateway = gateways(installed, ring_bytes=0, retention_grace_seconds=0)
    writer = installed.connect()
    job = new_job(writer, new_thread(writer))
    with gateway.client() as client:
        cursor = client.subscribe("jobs").cursor
        run(writer, "truncate job")
        new = new_job(writer, new_thread(writer))

        def refusal(cursor):
            """What a client is told and what `why` says."""
            resumed = client.subscribe("jobs", id=f"r{len(client.subscriptions)}", resume=cursor)
            _, replay, _ = answer(installed, "--since", cursor, job=new)
            assert not resumed.answer["recovered"] and not replay["recovered"] and replay["changes"] == []
            return resumed.answer["reason"], replay["reason"]

        assert refusal(cursor) == ("truncate", "truncate")
        changes, _, summary = answer(installed, job=job)
        assert [change["operation"] for change in changes] == ["insert", "truncate"]
        assert summary["exists"] is False
        rotate_away(writer, new)
        assert refusal(cursor) == ("retention", "retention")
        assert refusal("A" * 40) == ("malformed_cursor", "malformed_cursor")


# Every verdict, once more by its words


def one_verdict(installed, statements, *arguments, user="alice", **names):
    """The last change."""
    writer = installed.connect()
    names = {"t": new_thread(writer), **names}
    names["job"] = new_job(writer, names["t"])
    for statement in statements:
        run(writer, statement.format(**names))
    return answer(installed, *arguments, user=user, job=names["job"])[0][-1]


UPDATE = "update job set retries = 1 where id = {job}"


@pytest.mark.parametrize(
    "statements, arguments, rule, message",
    [
        (["update job set status = 'processing' where id = {job}", "update job set status = 'success' where id = {job}"],
         ["--filter", "status=in.(pending)"], "filter",
         "filter status=in.(pending) matches neither before (processing) nor after (success)"),
        ([UPDATE], ["--filter", "path=eq./y"], "filter", "filter path=eq./y does not match (/x)"),
        ([UPDATE], ["--filter", "path=eq./x&assignee=not.is.null"], "filter",
         "filter assignee=not.is.null does not match (null)"),
        ([UPDATE], ["--columns", "path"], "columns_not_asked", "only columns that were not asked for changed (retries)"),
        (["update job set retries = 1, errors = '[1]' where id = {job}"], ["--columns", "path"], "nothing_visible",
         "only columns changed that are hidden (errors) or were not asked for (retries)"),
        (["update job set errors = '[1]' where id = {job}"], [], "hidden_columns",
         "only hidden columns changed (errors)"),
        ([UPDATE], ["--channel", "jobs/999"], "another_key", "the channel is for job 999 alone"),
        ([UPDATE], ["--channel", "jobs#counts"], "same_status",
         "a subscription of counts hears of changes of the status only"),
        (["update thread set author = 'Alice' where id = {t}", UPDATE], [], "not_owner",
         "it belongs to \"Alice\", not to \"alice\": two users, whose names differ in the case of letters"),
        (["begin", "delete from job where id = {job}", "commit", "begin",
          "insert into job (id, assigned_to, path) values ({job}, {t}, '/x')", "delete from job where id = {job}",
          "commit"], [], "never_visible", "inserted and deleted by one transaction, it was never to be seen"),
    ])
def test_verdicts(house, statements, arguments, rule, message):
    change = one_verdict(house.database, statements, *arguments)
    assert (change["rule"], change["message"]) == (rule, f"not sent: {message}")
    assert not change["is_sent"]


def test_quiet_columns_of_an_older_attach(installed):
    writer = installed.connect()
    job = new_job(writer, new_thread(writer))
    run(writer, "update job set delay = 5 where id = %s", [job])
    run(writer, "select jobfeed.attach('jobs', 'public.job', status => 'status', owner => 'assigned_to.author',"
                " hidden => '{errors}', quiet => '{updated_at,delay}')")
    changes, _, _ = answer(installed, job=job)
    assert changes[-1]["message"] == "not sent: only quiet columns changed (delay, updated_at)"


def test_counts(installed):
    writer = installed.connect()
    job = new_job(writer, new_thread(writer))
    run(writer, "update job set status = 'processing' where id = %s", [job])
    changes, _, summary = answer(installed, "--channel", "jobs#counts", job=job)
    assert [change["sent"] for change in changes] == [{"pending": 1}, {"pending": -1, "processing": 1}]
    assert summary["visible"]


# What is said besides


def test_traps(installed):
    writer = installed.connect()
    for owner, difference in (("alice ", "white space"), ("\u00e9lan", None)):
        job = new_job(writer, new_thread(writer, owner))
        _, _, summary = answer(installed, job=job)
        assert any(difference in hint for hint in summary["hints"]) if difference else True
        assert "alice owns no row of feed \"jobs\" now" in summary["hints"]
    _, _, summary = answer(installed, user="e\u0301lan", job=job)
    assert any("Unicode normalisation" in hint for hint in summary["hints"])
    job = new_job(writer, new_thread(writer))
    run(writer, "update job set payload = 'null' where id = %s", [job])
    _, _, summary = answer(installed, "--filter", "payload=is.null", job=job)
    assert any("JSON value null" in hint for hint in summary["hints"])
    run(writer, "update job set payload = null where id = %s", [job])
    _, _, summary = answer(installed, "--filter", "payload=is.null", job=job)
    assert summary["hints"] == []
    run(writer, "alter table job disable trigger jobfeed_capture")
    run(writer, "update job set retries = 3 where id = %s", [job])
    run(writer, "alter table job enable always trigger jobfeed_capture")
    assert any("past the triggers" in hint and "retries" in hint for hint in answer(installed, job=job)[2]["hints"])


def test_what_was_dropped_is_not_guessed(installed):
    writer = installed.connect()
    job = new_job(writer, new_thread(writer))
    assert "nothing was ever dropped" in answer(installed, job=job)[2]["reach"]
    rotate_away(writer, new_job(writer, new_thread(writer)))
    changes, _, summary = answer(installed, job=job)
    assert changes == [] and summary["visible"]
    assert "changes before that have been dropped" in summary["reach"]
    assert any("no change of this job any more" in hint for hint in summary["hints"])


def test_concurrent_transactions_are_said_to_be(installed, postgres):
    """With commit timestamps the order is known; the pure tests cover a server without."""
    writer, other = installed.connect(), installed.connect(autocommit=False)
    thread = new_thread(writer)
    job = new_job(writer, thread)
    run(other, "update thread set author = 'bob' where id = %s", [thread])
    run(writer, "update job set retries = 1 where id = %s", [job])
    other.commit()
    changes, _, _ = answer(installed, job=job)
    # The author's transaction wrote first and committed last.
    assert sent(changes) == [
        ("enter", "created", changes[0]["sent"]["columns"] and sorted(changes[0]["sent"]["columns"])),
        ("update", None, ["retries", "updated_at"]), ("leave", "permission", [])]


def test_since(installed):
    writer = installed.connect()
    job = new_job(writer, new_thread(writer))
    run(writer, "update job set retries = 1 where id = %s", [job])
    at = [change["at"] for change in answer(installed, job=job)[0]]
    assert len(answer(installed, "--since", "1h", job=job)[0]) == 2
    assert [c["at"] for c in answer(installed, "--since", at[1], job=job)[0]] == at[1:]
    assert answer(installed, "--since", "2999-01-01", job=job)[0] == []


def test_for_people(installed):
    writer = installed.connect()
    thread = new_thread(writer)
    job = new_job(writer, thread, payload={"secret": "payload-value"})
    run(writer, "update job set errors = '[\"hidden-value\"]', path = '/somewhere-else' where id = %s", [job])
    run(writer, "update thread set author = E'bob\\x1b[31m' where id = %s", [thread])
    out, _ = why(installed, job=job)
    assert "\x1b" not in out and "secret" not in out and "-value" not in out and "/somewhere-else" not in out
    assert max(map(len, out.splitlines())) <= 80
    assert "sent as enter (created)" in out and "sent as leave (permission)" in out
    shown, _ = why(installed, "--values", job=job)
    assert "path: /x → /somewhere-else" in shown and "hidden-value" not in shown
    assert "hidden-value" in why(installed, "--values", "--access", "operator", job=job)[0]


def test_exit_codes(installed, database):
    writer = installed.connect()
    job = new_job(writer, new_thread(writer))
    _, err = why(installed, job=f" {job}", code=66)
    assert f"did you mean {job}?" in err
    assert "neither job nor the log" in why(installed, job="x1", code=66)[1]
    assert 'did you mean "jobs"?' in why(installed, "--feed", "job", job=job, code=66)[1]
    assert 'did you mean "path"?' in why(installed, "--filter", "pth=eq.1", job=job, code=64)[1]
    assert "invalid_columns" in why(installed, "--columns", "errors", job=job, code=64)[1]
    why(installed, "--access", "root", job=job, code=64)
    why(installed, "--since", "yesterday", job=job, code=64)
    why(installed, "--feed", "jobs", "--channel", "mails", job=job, code=64)
    why(installed, job=job, code=69, dsn="postgresql://postgres@127.0.0.1:1/x")
    assert "not installed" in why(database, job=job, code=78, dsn=database.dsn())[1]


def test_it_writes_nothing(installed):
    writer = installed.connect()
    job = new_job(writer, new_thread(writer))
    why(installed, job=job)
    assert run(writer, "select count(*) from jobfeed.node").fetchone()[0] == 0
