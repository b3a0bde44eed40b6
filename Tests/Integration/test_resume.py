"""Resumes: from memory where it reaches back far enough, from the log otherwise, and never a partial one."""

import json

import pytest
import wire
from oracle import settles, visible


def thread(connection, author="alice"):
    return connection.execute("insert into thread (title, author) values ('t', %s) returning id", [author]).fetchone()[0]


def job(connection, thread, **columns):
    columns = {"assigned_to": thread, "path": "/x", **columns}
    places = ", ".join(["%s"] * len(columns))
    return connection.execute(
        f"insert into job ({', '.join(columns)}) values ({places}) returning id", list(columns.values())).fetchone()[0]


def work(connection, number):
    """A job's life in many small changes; returns the statuses it had."""
    for status in ["processing", "failed", "pending", "processing", "success"]:
        connection.execute("update job set status = %s where id = %s", [status, number])
        for percent in range(0, 100, 10):
            connection.execute("update job set progress = %s where id = %s", [json.dumps({"percent": percent}), number])
    return ["processing", "failed", "pending", "processing", "success"]


def nothing_reads(connection):
    """Takes the right to read the jobs and the log away from gateways: only memory can answer now."""
    connection.execute("revoke select on job from jobfeed_gateway")


def rotate_away(connection, number):
    """Empties every slot of the log that there was; one byte is always too much."""
    outcomes = []
    while outcomes.count("emptied") < 4:
        connection.execute("update job set retries = (retries + 1) %% 3 where id = %s", [number])
        outcomes += connection.execute("select outcome from jobfeed.rotate('1 day', 1, '1 s', '0')").fetchone()
        assert len(outcomes) < 200, outcomes


@pytest.mark.parametrize("source", ["ring", "log"])
def test_a_resume_is_compacted(installed, gateways, source):
    gateway = gateways(installed, ring_bytes=1 << 20 if source == "ring" else 0)
    connection = installed.connect()
    mine = job(connection, thread(connection))
    with gateway.client() as client:
        subscription = client.subscribe()
        watching = client.subscribe("jobs:processing")
    wanted = work(connection, mine)
    with gateway.client() as client:
        # A node answers from memory what it has read, so let it read.
        witness = client.subscribe(id="witness")
        client.wait(lambda: witness.rows[str(mine)]["status"] == "success"
                    and witness.rows[str(mine)]["progress"] == {"percent": 90}, "the end")
        if source == "ring":
            nothing_reads(connection)
        subscription.log.clear()
        client.open(subscription, subscription.cursor)
        assert subscription.answer["recovered"]
        assert [columns["status"] for _, _, _, columns in subscription.log if "status" in columns] == wanted
        # The ticks between two statuses travel with one of them.
        assert len(subscription.log) <= len(wanted) + 1
        client.open(watching, watching.cursor)
        assert watching.answer["recovered"]
        if source == "ring":
            connection.execute("grant select on job to jobfeed_gateway")
        settles(client, subscription, lambda: visible(connection, "alice"))
        settles(client, watching, lambda: visible(connection, "alice", where="status = 'processing'"))


def test_a_started_node_has_the_log_in_memory(installed, gateways):
    gateway = gateways(installed)
    connection = installed.connect()
    threads = {name: thread(connection, name) for name in ["alice", "bob"]}
    jobs = [job(connection, threads[name], payload=json.dumps({"large": "x" * 5000})) for name in ["alice", "bob"] * 3]
    with gateway.client() as client:
        subscription = client.subscribe()
        filtered = client.subscribe(filter="payload->>large=like.x*")
    gateway.kill()
    for number in jobs:
        work(connection, number)
    # Away from alice and back again: nothing of what happened between is hers.
    connection.execute("update thread set author = 'bob' where id = %s", [threads["alice"]])
    connection.execute("update job set assignee = 'secret' where id = %s", [jobs[0]])
    connection.execute("update thread set author = 'alice' where id = %s", [threads["bob"]])
    gateway.start().wait_ready()
    nothing_reads(connection)
    with gateway.client() as client:
        for each in (subscription, filtered):
            each.log.clear()
            client.open(each, each.cursor)
            assert each.answer["recovered"]
        assert "secret" not in str(subscription.log)
        connection.execute("grant select on job to jobfeed_gateway")
        settles(client, subscription, lambda: visible(connection, "alice"))
        settles(client, filtered, lambda: visible(connection, "alice"))


def test_a_cursor_older_than_the_ring_is_answered_from_the_log(installed, gateways):
    gateway = gateways(installed, ring_bytes=20_000)
    connection = installed.connect()
    mine = job(connection, thread(connection))
    with gateway.client() as client:
        subscription = client.subscribe()
    wanted = [work(connection, mine) for _ in range(5)]
    with gateway.client() as client:
        client.open(subscription, subscription.cursor)
        assert subscription.answer["recovered"]
        statuses = [columns["status"] for _, _, _, columns in subscription.log if "status" in columns]
        assert statuses == [status for each in wanted for status in each]
        settles(client, subscription, lambda: visible(connection, "alice"))


def test_many_resume_from_the_log_at_once(installed, gateways):
    """Each goes on from where it stood, however they share what is read of the log."""
    gateway = gateways(installed, ring_bytes=0)
    connection = installed.connect()
    threads = {name: thread(connection, name) for name in ["alice", "bob"]}
    jobs = [job(connection, threads[name]) for name in ["alice", "bob"] * 3]
    left = []
    for number in jobs:
        with gateway.client(user="alice") as client:
            left.append([
                client.subscribe(id="all"),
                client.subscribe(id="done", channel="jobs:success"),
                client.subscribe(id="one", channel=f"jobs/{jobs[0]}"),
                client.subscribe(id="late", filter="status=neq.processing"),
                client.subscribe(id="counts", channel="jobs#counts"),
            ])
        work(connection, number)
    connection.execute("update thread set author = 'alice' where id = %s", [threads["bob"]])
    connection.execute("update job set status = 'pending' where id = %s", [jobs[1]])
    connection.execute("delete from job where id = %s", [jobs[2]])
    clients = [gateway.client(user="alice") for _ in left]
    try:
        for client, subscriptions in zip(clients, left):
            for subscription in subscriptions:
                client.open(subscription, subscription.cursor, wait=False)
        for client, subscriptions in zip(clients, left):
            for subscription, where in zip(subscriptions, [
                    "true", "status = 'success'", f"id = {jobs[0]}", "status <> 'processing'"]):
                settles(client, subscription, lambda: visible(connection, "alice", where=where))
                assert subscription.answer["recovered"]
            counts = subscriptions[-1]
            client.wait(lambda: counts.state == "live", "the counts")
            assert counts.answer["recovered"]
            rows = visible(connection, "alice").values()
            held = {status: number for status, number in counts.counts.items() if number}
            assert held == {status: sum(row["status"] == status for row in rows) for status in held}
            assert sum(held.values()) == len(rows)
    finally:
        for client in clients:
            client.close()


def test_a_resume_across_a_truncate(installed, gateways):
    gateway = gateways(installed)
    connection = installed.connect()
    mine = thread(connection)
    job(connection, mine)
    with gateway.client() as client:
        subscription = client.subscribe()
        live = client.subscribe(id="live")
        cursor = subscription.cursor
        connection.execute("truncate job")
        client.wait(lambda: live.resets == ["truncate"] and live.state == "live", "the reset")
        job(connection, mine)
        client.wait(lambda: len(live.rows) == 1, "the new job")
        again = client.subscribe(id="again", resume=cursor)
        assert not again.answer["recovered"] and again.answer["reason"] == "truncate"
        settles(client, again, lambda: visible(connection, "alice"))


def test_cursors_below_the_horizon_are_reset(installed, gateways):
    gateway = gateways(installed, retention_grace_seconds=0, ring_bytes=0)
    connection = installed.connect()
    mine = job(connection, thread(connection))
    with gateway.client() as client:
        subscription = client.subscribe()
    old = subscription.cursor
    connection.execute("update job set status = 'processing' where id = %s", [mine])
    # By size: one page is too much, so that four times on, the slot of that change has been emptied.
    rotate_away(connection, mine)
    assert connection.execute("select snapshot is not null from jobfeed.horizon").fetchone()[0]
    with gateway.client() as client:
        subscription = client.subscribe(resume=old)
        assert not subscription.answer["recovered"] and subscription.answer["reason"] == "retention"
        settles(client, subscription, lambda: visible(connection, "alice"))
        # The cursor of now is of use.
        other = client.subscribe(resume=subscription.cursor)
        assert other.answer["recovered"]


def test_a_node_that_lags_behind_the_horizon_starts_anew(installed, gateways):
    gateway = gateways(installed, node="n", retention_grace_seconds=0)
    connection = installed.connect()
    mine = job(connection, thread(connection))
    with gateway.client() as client:
        subscription = client.subscribe()
        # Nobody lets the node read.
        connection.execute("revoke select on jobfeed.change from jobfeed_gateway")
        connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'jobfeed/n/read'")
        connection.execute("update job set status = 'processing' where id = %s", [mine])
        rotate_away(connection, mine)
        connection.execute("update job set status = 'success' where id = %s", [mine])
        connection.execute("grant select on jobfeed.change to jobfeed_gateway")
        client.wait(lambda: "retention" in subscription.resets and subscription.state == "live", "the reset")
        settles(client, subscription, lambda: visible(connection, "alice"))
