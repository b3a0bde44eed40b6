"""The oracle's own judgement, on histories and deliveries made up by hand; and cursors against what Postgres says."""

import pytest
import snapshots
import wire
from verdict import NEVER, Story, Version, place


def version(seq, pos, relation="job", id=1, op="UPDATE", link="7", author=None, status="pending", tokens=(), witness=None,
            xid=None):
    return Version(seq, xid or pos, relation, op, id, witness, "{}", link if relation == "job" else None, author, status,
                   tuple(tokens), pos - 1, pos)


def story(*versions):
    """Job 1 in thread 7, which is alice's, and whatever else."""
    told = Story()
    told.add([version(1, 1, "thread", 7, "INSERT", author="alice"), version(2, 2, op="INSERT", tokens=["first"]), *versions])
    return told


def status(value):
    return {"op": "update", "key": "1", "set": {"status": value}}


ENTER = {"op": "enter", "key": "1", "reason": "created", "row": {"id": 1, "status": "pending"}}
LEAVE = {"op": "leave", "key": "1", "reason": "permission"}
RUN = (version(3, 5, status="processing"), version(4, 6, status="success"), version(5, 6, status="success"))


@pytest.mark.parametrize("changes, is_right", [
    ([status("processing"), status("success")], True),
    ([status("processing"), status("success"), {"op": "update", "key": "1", "set": {"delay": 1}}], True),
    ([status("success")], False),
    ([], False),
    ([status("success"), status("processing")], False),
    ([status("processing"), status("processing"), status("success")], False),
    ([status("processing"), status("success"), LEAVE], False),
    ([LEAVE, ENTER, status("processing"), status("success")], False),
    ([status("processing"), status("success")] + [{"op": "update", "key": "1", "set": {"delay": 1}}] * 2, False),
    ([status("processing"), status("success"), {"op": "update", "key": "2", "set": {"delay": 1}}], False),
])
@pytest.mark.parametrize("user, access", [("alice", "account"), ("root", "operator")])
def test_transitions(changes, is_right, user, access):
    told = story(*RUN, version(6, 3, id=2, op="INSERT"))
    problems, _ = told.examine(user, access, changes, 4, 6, is_replay=False)
    assert (problems == []) is is_right


def test_what_happened_in_another_step_is_not_asked_for():
    assert story(*RUN).examine("alice", "account", [status("success")], 5, 6, False)[0] == []
    assert story(*RUN).examine("alice", "account", [], 6, 9, False)[0] == []


def test_born_and_gone_in_one_transaction():
    told = story(version(3, 5, id=2, op="INSERT"), version(4, 5, id=2, op="DELETE"))
    assert told.examine("alice", "account", [], 4, 5, False)[0] == []


def test_what_a_transaction_wrote_before_it_deleted_the_row():
    told = story(version(3, 5, status="failed", tokens=["t"]), version(4, 5, op="DELETE", status="failed", tokens=["t"]))
    assert told.examine("alice", "account", [LEAVE], 4, 5, False)[0] == []
    assert told.examine("alice", "account", [status("failed"), LEAVE], 4, 5, False)[0]
    assert told.examine("root", "operator", [status("failed"), LEAVE], 4, 5, False)[0] == []
    assert leaks(told, "alice", "t", 4, 5)


def test_a_stranger_is_told_nothing():
    assert story(*RUN).examine("bob", "account", [], 4, 6, False)[0] == []
    assert story(*RUN).examine("bob", "account", [status("processing")], 4, 6, False)[0]


def test_a_change_of_hands_is_not_judged_by_transitions():
    author = version(9, 6, "thread", 7, author="bob", xid=66)
    assert story(*RUN, author).examine("alice", "account", [LEAVE], 4, 6, False)[0] == []
    assert story(*RUN, author).examine("carol", "account", [LEAVE], 4, 6, False)[0]


def test_forgetting_keeps_what_is_still_needed():
    told = story(*RUN)
    told.forget(5)
    assert told.examine("alice", "account", [status("success")], 5, 6, False)[0] == []
    assert told.examine("alice", "account", [], 5, 6, False)[0]


def leaks(told, user, token, since, until):
    return told.leaks(user, "1", [token], since, until) != []


def test_values_of_the_owner_and_of_strangers():
    told = story(version(3, 5, tokens=["t"]))
    assert not leaks(told, "alice", "t", 4, 5)
    assert leaks(told, "bob", "t", 4, 5)
    assert leaks(told, "alice", "never written", 4, 5)
    # Not before it was committed, and not for ever after it was replaced.
    assert leaks(told, "alice", "t", 2, 4)
    assert leaks(told, "alice", "first", 5, 6)


def test_a_value_that_was_replaced_before_the_thread_changed_hands():
    # Without witnesses the order inside a step is not known, and both may be.
    told = story(version(3, 5, tokens=["t"], xid=50), version(4, 5, tokens=["u"], xid=51),
                 version(5, 5, "thread", 7, author="bob", xid=52))
    assert not leaks(told, "bob", "t", 4, 5)
    # With them: both writes saw alice's thread, so bob can have seen the second value only.
    told = story(version(3, 5, tokens=["t"], xid=50, witness=1), version(4, 5, tokens=["u"], xid=51, witness=1),
                 version(5, 5, "thread", 7, author="bob", xid=52))
    assert leaks(told, "bob", "t", 4, 5)
    assert not leaks(told, "bob", "u", 4, 5)
    assert not leaks(told, "alice", "t", 4, 5)


def test_a_value_written_after_the_thread_changed_hands():
    told = story(version(3, 5, "thread", 7, author="bob", xid=50), version(4, 5, tokens=["t"], xid=51, witness=3))
    assert leaks(told, "alice", "t", 4, 5)
    assert not leaks(told, "bob", "t", 4, 5)


def test_what_the_new_author_s_own_transaction_replaced():
    told = story(version(3, 4, tokens=["t"], witness=1), version(4, 5, "thread", 7, author="bob", xid=50),
                 version(5, 5, tokens=["u"], xid=50))
    assert leaks(told, "bob", "t", 4, 5)
    assert not leaks(told, "bob", "u", 4, 5)


def test_values_inside_one_transaction():
    inside = [version(3, 5, tokens=["t"], xid=50), version(4, 5, tokens=["u"], xid=50)]
    assert not leaks(story(*inside), "alice", "t", 4, 5)
    # The transaction took the job away: what it wrote before that was nobody's.
    other = version(6, 3, "thread", 8, "INSERT", author="bob")
    relinked = [version(3, 5, tokens=["t"], xid=50), version(4, 5, tokens=["u"], link="8", xid=50)]
    assert leaks(story(other, *relinked), "alice", "t", 4, 5)
    assert leaks(story(other, *relinked), "bob", "t", 4, 5)
    assert not leaks(story(other, *relinked), "bob", "u", 4, 5)


def test_places():
    chain = [snapshots.parse(text) for text in ("10:10:", "10:12:10", "12:12:")]
    late, early = version(1, 10, xid=10), version(2, 11, xid=11)
    place([late, early], chain)
    assert (early.after, early.pos) == (10, 11) and (late.after, late.pos) == (11, 12)
    assert NEVER > late.pos


def test_order_of_snapshots():
    texts = ["10:10:", "10:12:10,11", "10:13:10", "10:14:10", "14:14:"]
    chain = [snapshots.parse(text) for text in texts]
    assert [snapshot.text for snapshot in chain] == texts
    assert [snapshot.order for snapshot in chain] == [10, 10, 12, 13, 14]
    for n, snapshot in enumerate(chain):
        assert all(snapshot.includes(earlier) for earlier in chain[:n + 1])
        assert not any(snapshot.includes(later) for later in chain[n + 1:] if later.order > snapshot.order)


def test_cursors_are_snapshots(gateway, installed):
    writer = installed.connect()
    running = [installed.connect(autocommit=False) for _ in range(3)]
    xids = [other.execute("select pg_current_xact_id()::text").fetchone()[0] for other in running]
    writer.execute("insert into thread (title, author) values ('t', 'alice')")
    running[1].commit()
    with gateway.client() as alice:
        subscription = alice.subscribe()
        snapshot = snapshots.decode(subscription.cursor)
        assert writer.execute("select pg_current_snapshot()::text").fetchone()[0] == snapshot.text
        assert snapshot.running >= {int(xids[0]), int(xids[2])} and snapshot.sees(int(xids[1]))
        epoch = writer.execute("select jobfeed.epoch()").fetchone()[0]
        assert snapshot.epoch == snapshots.fnv1a(epoch.encode())
        for xid in range(snapshot.xmin - 2, snapshot.xmax + 2):
            seen = writer.execute("select pg_visible_in_snapshot(%s::xid8, %s::pg_snapshot)", [str(xid), snapshot.text])
            assert seen.fetchone()[0] == snapshot.sees(xid)
        broken = subscription.cursor[:-1] + ("A" if subscription.cursor[-1] != "A" else "B")
        with pytest.raises(ValueError):
            snapshots.decode(broken[:8] + ("A" if broken[8] != "A" else "B") + broken[9:])


def test_numbers_differ_by_their_digits():
    assert wire.exact("[1.5]") != wire.exact("[1.50]") and wire.exact("[1.5, 2]") == [("number", "1.5"), 2]
