"""Every kind of change × visible before × visible after, through SQL and a socket, live and while disconnected.

A view is what an account may see that also matches the filter `path=eq.PATH&retries=lt.5`. Row-level security says
whether the cell is what it says it is, and what is to be held in the end.
"""

import itertools
import typing

import pytest
from oracle import settles, visible

MINE, OTHERS, NOBODYS = "mine", "others", "nobodys"
ENTER, LEAVE = ("enter", "created"), ("leave", "deleted")


class Case(typing.NamedTuple):
    kind: str
    before: bool
    after: bool
    name: str
    job: tuple | None  # (whose, whether it matches the filter), or none at first
    sql: str  # one transaction
    account: list  # what the account is told, and the operator
    operator: list


def update(*columns):
    return ("update", *columns)


def set_(columns):
    return f"update job set {columns} where id = {{job}}"


INSERT = "insert into job (assigned_to, path, retries) values ({{{}}}, '{{path}}', {})".format
BORN = "insert into job (id, assigned_to, path) values ({{job}}, {{{}}}, '{{path}}')".format
AUTHOR = "update thread set author = '{{{}}}' where id = {{{}}}".format
DELETE = "delete from job where id = {job}"
LINK, RETRIES, STATUS = update("assigned_to"), update("retries"), update("status")
PERMISSION_IN, PERMISSION_OUT = ("enter", "permission"), ("leave", "permission")
FILTER_IN, FILTER_OUT = ("enter", "filter"), ("leave", "filter", "retries")

CASES = [
    Case("insert", False, True, "own", None, INSERT("mine", 0), [ENTER], [ENTER]),
    Case("insert", False, False, "another's", None, INSERT("others", 0), [], [ENTER]),
    Case("insert", False, False, "nobody's", None, INSERT("nobodys", 0), [], [ENTER]),
    Case("insert", False, False, "outside the filter", None, INSERT("mine", 7), [], []),
    Case("insert", False, False, "and delete", None, INSERT("mine", 0) + "; delete from job where path = '{path}'"
         " and id not in ({markers})", [], []),
    Case("insert", False, True, "and update", None, INSERT("mine", 0) + "; update job set status = 'success'"
         " where path = '{path}' and id not in ({markers})", [ENTER, STATUS], [ENTER, STATUS]),
    Case("insert", True, True, "again", (MINE, True), DELETE + "; " + BORN("mine"), [LEAVE, ENTER], [LEAVE, ENTER]),
    Case("insert", True, False, "again, another's", (MINE, True), DELETE + "; " + BORN("others"),
         [PERMISSION_OUT], [LEAVE, ENTER]),
    Case("insert", False, True, "again, own", (OTHERS, True), DELETE + "; " + BORN("mine"),
         [PERMISSION_IN], [LEAVE, ENTER]),

    Case("update", True, True, "a column", (MINE, True), set_("retries = 1"), [RETRIES], [RETRIES]),
    Case("update", True, True, "a hidden column", (MINE, True), set_("errors = '[1]'"), [], [update("errors")]),
    Case("update", True, True, "a hidden and a visible column", (MINE, True), set_("errors = '[1]', delay = 3"),
         [update("delay")], [update("delay", "errors")]),
    Case("update", True, True, "a quiet column", (MINE, True), set_("updated_at = 'epoch'"), [], []),
    Case("update", True, True, "nothing", (MINE, True), set_("path = path"), [], []),
    Case("update", True, True, "to null", (MINE, True), set_("payload = '{{}}', assignee = null"),
         [update("payload")], [update("payload")]),
    Case("update", True, True, "twice", (MINE, True), set_("status = 'processing'") + "; " + set_("status = 'success'"),
         [STATUS, STATUS], [STATUS, STATUS]),
    Case("update", False, False, "another's", (OTHERS, True), set_("retries = 1"), [], [RETRIES]),
    Case("update", False, False, "nobody's", (NOBODYS, True), set_("retries = 1"), [], [RETRIES]),
    Case("update", False, False, "outside the filter", (MINE, False), set_("delay = 1"), [], []),
    Case("update", True, False, "and re-link", (MINE, True), set_("status = 'failed'") + "; " + set_("assigned_to = {others}"),
         [PERMISSION_OUT], [STATUS, LINK]),
    Case("update", False, True, "and re-link", (OTHERS, True), set_("status = 'failed'") + "; " + set_("assigned_to = {mine}"),
         [PERMISSION_IN], [STATUS, LINK]),

    Case("delete", True, False, "own", (MINE, True), DELETE, [LEAVE], [LEAVE]),
    Case("delete", True, False, "by cascade", (MINE, True), "delete from thread where id = {mine}", [LEAVE], [LEAVE]),
    Case("delete", False, False, "another's", (OTHERS, True), DELETE, [], [LEAVE]),
    Case("delete", False, False, "nobody's", (NOBODYS, True), DELETE, [], [LEAVE]),
    Case("delete", False, False, "outside the filter", (MINE, False), DELETE, [], []),
    Case("delete", True, True, "rolled back", (MINE, True),
         "savepoint s; delete from job where id = {job}; rollback to s; " + set_("retries = 2"), [RETRIES], [RETRIES]),
    Case("delete", False, False, "after a re-link", (OTHERS, True), set_("assigned_to = {mine}") + "; " + DELETE,
         [], [LINK, LEAVE]),
    Case("delete", True, False, "after a re-link", (MINE, True), set_("assigned_to = {others}") + "; " + DELETE,
         [LEAVE], [LINK, LEAVE]),
    Case("delete", True, False, "after an update", (MINE, True), set_("status = 'failed'") + "; " + DELETE,
         [LEAVE], [STATUS, LEAVE]),
    Case("delete", True, True, "for another key", (MINE, True), "update job set id = {job} + 500000 where id = {job}",
         [LEAVE, ENTER], [LEAVE, ENTER]),

    Case("re-link", True, False, "to another's", (MINE, True), set_("assigned_to = {others}"), [PERMISSION_OUT], [LINK]),
    Case("re-link", True, False, "to nobody's", (MINE, True), set_("assigned_to = null"), [PERMISSION_OUT], [LINK]),
    Case("re-link", True, False, "and out of the filter", (MINE, True), set_("assigned_to = {others}, retries = 7"),
         [PERMISSION_OUT], [("leave", "filter", "assigned_to", "retries")]),
    Case("re-link", False, True, "from another's", (OTHERS, True), set_("assigned_to = {mine}"), [PERMISSION_IN], [LINK]),
    Case("re-link", False, True, "from nobody's", (NOBODYS, True), set_("assigned_to = {mine}"), [PERMISSION_IN], [LINK]),
    Case("re-link", False, True, "and into the filter", (OTHERS, False), set_("assigned_to = {mine}, retries = 1"),
         [PERMISSION_IN], [FILTER_IN]),
    Case("re-link", False, False, "outside the filter", (OTHERS, False), set_("assigned_to = {mine}"), [], []),
    Case("re-link", False, False, "among others", (OTHERS, True), set_("assigned_to = {thirds}"), [], [LINK]),
    Case("re-link", True, True, "among one's own", (MINE, True), set_("assigned_to = {mine_too}"), [LINK], [LINK]),
    Case("re-link", True, True, "and back", (MINE, True), set_("assigned_to = {others}") + "; "
         + set_("assigned_to = {mine}, retries = 1"), [RETRIES], [LINK, update("assigned_to", "retries")]),
    Case("re-link", False, False, "and back", (OTHERS, True), set_("assigned_to = {mine}, assignee = 'secret'") + "; "
         + set_("assigned_to = {others}"), [], [update("assigned_to", "assignee"), LINK]),

    Case("author", True, False, "away", (MINE, True), AUTHOR("bob", "mine"), [PERMISSION_OUT], []),
    Case("author", False, True, "to me", (OTHERS, True), AUTHOR("alice", "others"), [PERMISSION_IN], []),
    Case("author", False, False, "outside the filter", (OTHERS, False), AUTHOR("alice", "others"), [], []),
    Case("author", False, False, "among others", (OTHERS, True), AUTHOR("carol", "others"), [], []),
    Case("author", True, True, "and back", (MINE, True), AUTHOR("bob", "mine") + "; " + AUTHOR("alice", "mine"), [], []),
    Case("author", True, True, "and re-link after it", (MINE, True), AUTHOR("bob", "mine") + "; "
         + set_("assigned_to = {mine_too}"), [LINK], [LINK]),
    Case("author", True, True, "of a thread left behind", (MINE, True), set_("assigned_to = {mine_too}") + "; "
         + AUTHOR("bob", "mine"), [LINK], [LINK]),
    Case("author", False, True, "and write", (OTHERS, True), set_("payload = '[1]'") + "; " + AUTHOR("alice", "others") + "; "
         + set_("status = 'failed'"), [PERMISSION_IN], [update("payload"), STATUS]),
    Case("author", True, False, "and write", (MINE, True), AUTHOR("bob", "mine") + "; " + set_("payload = '[\"secret\"]'"),
         [PERMISSION_OUT], [update("payload")]),
    Case("author", True, False, "and delete", (MINE, True), AUTHOR("bob", "mine") + "; " + DELETE, [LEAVE], [LEAVE]),
    Case("author", False, False, "and delete", (OTHERS, True), AUTHOR("alice", "others") + "; " + DELETE, [], [LEAVE]),

    Case("filter", True, False, "out", (MINE, True), set_("retries = 7"), [FILTER_OUT], [FILTER_OUT]),
    Case("filter", False, True, "in", (MINE, False), set_("retries = 1"), [FILTER_IN], [FILTER_IN]),
    Case("filter", True, True, "within", (MINE, True), set_("retries = 4"), [RETRIES], [RETRIES]),
    Case("filter", True, True, "out and in", (MINE, True), set_("retries = 7") + "; " + set_("retries = 0"),
         [FILTER_OUT, FILTER_IN], [FILTER_OUT, FILTER_IN]),
    Case("filter", False, False, "without", (MINE, False), set_("retries = 8"), [], []),
    Case("filter", False, False, "in and out", (MINE, False), set_("retries = 0") + "; " + set_("retries = 7"),
         [FILTER_IN, FILTER_OUT], [FILTER_IN, FILTER_OUT]),
    Case("filter", False, False, "in, another's", (OTHERS, False), set_("retries = 1"), [], [FILTER_IN]),
    Case("filter", False, False, "out, another's", (OTHERS, True), set_("retries = 7"), [], [FILTER_OUT]),

    Case("truncate", True, False, "own", (MINE, True), "truncate job", None, None),
    Case("truncate", False, False, "another's", (OTHERS, True), "truncate job", None, None),
    Case("truncate", False, False, "nothing", None, "truncate job", None, None),
    Case("truncate", True, True, "and insert", (MINE, True), "truncate job; " + BORN("mine"), None, None),
    Case("truncate", False, True, "and insert", None, "truncate job; " + INSERT("mine", 0), None, None),
    Case("truncate", True, False, "and insert, another's", (MINE, True), "truncate job; " + BORN("others"), None, None),
]
CELLS = {(case.kind, case.before, case.after) for case in CASES}
# What is deleted is not to be seen, unless its key comes again, which is an insert above.
IMPOSSIBLE = {("delete", False, True)}
NUMBERS = itertools.count(1)


def test_every_cell_is_here():
    kinds = ["insert", "update", "delete", "re-link", "author", "filter", "truncate"]
    assert CELLS | IMPOSSIBLE == set(itertools.product(kinds, [False, True], [False, True]))


class Scene:
    """Threads, markers and a job of a case's own, and the watchers of its view."""

    def __init__(self, house, case):
        self.house, self.case = house, case
        number = next(NUMBERS)
        self.path = f"/matrix{number}"
        self.users = {name: f"{name}{number}" for name in ("alice", "bob", "carol")}
        alice, bob, carol = self.users.values()
        self.threads = {"mine": house.thread(alice), "mine_too": house.thread(alice), "others": house.thread(bob),
                        "thirds": house.thread(carol), "nobodys": None}
        self.marking = {alice: house.thread(alice), bob: house.thread(bob)}
        self.markers = []
        self.job = None
        if case.job:
            whose, fits = case.job
            self.job = house.job(self.threads[whose], path=self.path, retries=0 if fits else 7)
        self.viewers = [(alice, "account"), (bob, "account"), ("root", "operator")]
        self.clients, self.views = [], []
        self.mark()

    def connect(self, resume=False):
        self.clients = [self.house.client(user, access) for user, access in self.viewers]
        for place, client in enumerate(self.clients):
            if resume:
                for subscription in self.views[place]:
                    client.open(subscription, subscription.cursor)
            else:
                options = {"filter": f"path=eq.{self.path}&retries=lt.5"}
                self.views.append([client.subscribe("jobs", **options), client.subscribe("jobs#counts", **options)])

    def mark(self):
        for thread in self.marking.values():
            self.markers.append(self.house.job(thread, path=self.path))

    def wait(self):
        """Until everybody has seen the newest marker of theirs."""
        for (user, _), client, (rows, _) in zip(self.viewers, self.clients, self.views):
            newest = str(self.markers[-2 if user == self.users["alice"] else -1])
            client.wait(lambda: newest in rows.rows and rows.state == "live" and not rows.in_batch, "the marker")

    def change(self):
        names = {name: "null" if id is None else id for name, id in self.threads.items()}
        names |= self.users | {"job": self.job, "path": self.path, "markers": ", ".join(map(str, self.markers))}
        with self.house.writer.transaction():
            self.house.run(self.case.sql.format(**names))

    def visible(self, viewer):
        user, access = viewer
        return visible(self.house.writer, user, access, where=f"path = '{self.path}' and retries < 5")

    def is_job_visible(self):
        return bool(self.visible(self.viewers[0]).keys() - set(map(str, self.markers)))

    def deltas(self, subscription, start):
        found = []
        for op, key, reason, columns in subscription.log[start:]:
            if int(key) not in self.markers:
                is_set = op == "update" or (op, reason) == ("leave", "filter")
                names = sorted(columns.keys() - {"updated_at"}) if is_set else []
                found.append((op, *([reason] if reason else []), *names))
        return found

    def check_held(self):
        for viewer, client, (rows, counts) in zip(self.viewers, self.clients, self.views):
            settles(client, rows, lambda: self.visible(viewer))
            per_status = {}
            for row in rows.rows.values():
                per_status[row["status"]] = per_status.get(row["status"], 0) + 1
            client.wait(lambda: counts.state == "live" and {s: n for s, n in counts.counts.items() if n} == per_status,
                        f"counts {per_status} rather than {counts.counts}")

    def close(self):
        for client in self.clients:
            client.close()


@pytest.mark.parametrize("is_away", [False, True], ids=["live", "resumed"])
@pytest.mark.parametrize("case", CASES, ids=[
    f"{case.kind} {'in' if case.before else 'out'}-{'in' if case.after else 'out'} {case.name}" for case in CASES])
def test_cell(house, case, is_away):
    scene = Scene(house, case)
    assert scene.is_job_visible() == case.before
    scene.connect()
    scene.wait()
    starts = [len(rows.log) for rows, _ in scene.views]
    if is_away:
        scene.close()
    scene.change()
    assert scene.is_job_visible() == case.after
    scene.mark()
    if is_away:
        scene.connect(resume=True)
    scene.wait()
    scene.check_held()
    for (rows, counts), start, wanted in zip(scene.views, starts, [case.account, None, case.operator]):
        if case.kind == "truncate":
            if is_away:
                assert rows.answer == counts.answer | {"id": rows.id}
                assert (rows.answer["recovered"], rows.answer["reason"]) == (False, "truncate")
            else:
                assert rows.resets == counts.resets == ["truncate"]
            continue
        assert rows.answer["recovered"] is is_away and not rows.resets
        # A replay may be shorter than what happened.
        is_one_change = ";" not in case.sql
        if wanted is not None and (is_one_change or not is_away):
            assert scene.deltas(rows, start) == wanted
    scene.close()
