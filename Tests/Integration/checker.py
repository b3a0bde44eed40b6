"""Compares what watchers hold with row-level security at the cursors they have been at, long after they were there.

All snapshots of one primary are ordered, so everything is replayed once, in that order: the tables (past.Past), what
each subscription held (its steps), and what happened between (verdict.Story).
"""

import bisect
import collections
import dataclasses

import past
import snapshots
import verdict
from oracle import difference

QUIET = "updated_at"
GAUGES = {"progress"}
# Transactions whose rows are kept for whoever comes back with a cursor as old as that.
REMEMBERED = 10_000


class Violation(AssertionError):
    """A subscription held or was told what it must not."""


class Track:
    """One subscription as it was at `order`."""

    def __init__(self, person, subscription, condition):
        self.person, self.subscription = person, subscription
        self.condition = condition  # an index, None for all rows
        options = subscription.options
        self.columns = {"id", "status", *options["columns"]} if "columns" in options else None
        self.key = subscription.channel.partition("/")[2]
        self.is_whole = condition is None and not self.key and not subscription.is_counts and "limit" not in options
        self.has_rate = "max_rate" in options
        self.limit = options.get("limit") if options.get("snapshot", True) else 0
        self.steps = collections.deque()
        self.lost = []
        self.rows, self.counts = None, None
        self.cut, self.cut_at = set(), None  # rows that the limit left out, and when
        self.order = None
        self.segment = self.ahead = None
        self.watermark = -1
        self.safe = None  # complete at this order, at a step of the node it was on
        self.recent = collections.deque(maxlen=12)
        self.is_broken = False

    def __str__(self):
        subscription = self.subscription
        return f"{self.person.name} ({self.person.access}) {subscription.channel} {subscription.options}"

    def has_seen(self, xid):
        return bool(self.recent) and self.recent[-1].snapshot.sees(xid)

    def apply(self, step):
        if step.kind == "snapshot":
            self.rows, self.counts, self.cut_at = step.rows, step.counts, step.order
        elif self.subscription.is_counts:
            self.counts = {**self.counts, **(step.counts or {})}
        for change in step.changes:
            key = change["key"]
            if change["op"] == "enter":
                self.rows[key] = change["row"]
            elif change["op"] == "leave":
                self.rows.pop(key, None)
            elif key in self.rows:
                self.rows[key] = {**self.rows[key], **change["set"]}
        if step.segment is not None:
            self.segment = step.segment
        self.order = step.order
        self.recent.append(step)

    def stands_at(self, order, nodes):
        """Whether it is known what it held at this cursor, one that these nodes had a step at."""
        if self.order == order:
            return True
        if self.order is None or self.segment is None or self.segment.node not in nodes:
            return False
        if self.steps and self.steps[0].segment is self.segment:
            return True
        return order < (self.watermark if self.segment is self.ahead else self.segment.watermark)


class Checker:
    def __init__(self, subject, oracle, people, wheres, seed_random, report=print):
        """wheres: the condition of each view in SQL, "true" for all rows. Before anything else is written."""
        self.subject = subject
        subject.execute(past.AUDIT)
        self.random = seed_random
        self.people = people
        self.conditions = []
        self.wheres = wheres
        self.report = report
        self.oracle = oracle
        self.story = verdict.Story()
        self.start = self.done = snapshots.parse(subject.execute("select pg_current_snapshot()::text").fetchone()[0])
        self.known = {}  # order: snapshot, since done
        self.nodes = collections.defaultdict(set)  # order: nodes that had a step there
        self.steps_of = collections.defaultdict(list)  # node: orders of its steps, ascending
        self.unapplied = []
        self.controls = []
        self.required = set()
        self.counted = collections.Counter()
        self.kept = -1  # what happened up to here is forgotten
        self.violations = []

    def watch(self, tracks):
        self.tracks = tracks
        people = list(dict.fromkeys((track.person.name, track.person.access) for track in tracks))
        self.past = past.Past(self.oracle, people, self.wheres)

    # Taking in

    def take_in(self):
        for track in self.tracks:
            steps, lost, segment, watermark = track.person.take(track.subscription)
            track.ahead, track.watermark = segment, watermark
            track.lost += lost
            for step in steps:
                track.steps.append(step)
                self.learn(step.snapshot)
                if step.kind in ("changes", "heartbeat"):
                    self.step_of(step.segment.node, step.order)
                if step.kind == "snapshot" and track.limit is not None:
                    self.required.add(step.order)

    def learn(self, snapshot):
        if snapshot.order > self.done.order:
            self.known.setdefault(snapshot.order, snapshot)

    def step_of(self, node, order):
        if node not in self.nodes[order]:
            self.nodes[order].add(node)
            bisect.insort(self.steps_of[node], order)

    def floor(self, track):
        """Up to where everything this subscription was sent is here."""
        own = track.steps[-1].order if track.steps else track.order
        if own is None:
            return self.done.order
        if track.ahead is None:
            return own
        return max(own, self.last_step(track.ahead.node, track.watermark))

    def last_step(self, node, before):
        orders = self.steps_of[node]
        place = bisect.bisect_left(orders, before)
        return orders[place - 1] if place else -1

    def control(self):
        """Remembers what the tables hold now, to hold the oracle itself to it."""
        with self.subject.transaction():
            self.subject.execute("set transaction isolation level repeatable read")
            snapshot = snapshots.parse(self.subject.execute("select pg_current_snapshot()::text").fetchone()[0])
            self.subject.execute("set local timezone = 'UTC'")
            rows = {str(id): past.wire.exact(text) for id, text in self.subject.execute(
                "select id, to_jsonb(job)::text from job").fetchall()}
        self.learn(snapshot)
        self.controls.append((snapshot.order, rows))
        self.required.add(snapshot.order)

    # Checking

    def round(self, samples):
        """Checks everything that every subscription is known to have passed, at some cursors and at all transitions."""
        self.take_in()
        tracks = [track for track in self.tracks if not track.is_broken]
        until = min((self.floor(track) for track in tracks), default=self.done.order)
        if until <= self.done.order:
            return
        chain = [self.done] + [self.known[order] for order in sorted(self.known) if order <= until]
        for earlier, later in zip(chain, chain[1:]):
            assert later.includes(earlier), f"{later.text} does not include {earlier.text}"
        goal = chain[-1]
        fresh = [verdict.Version(*row[:7], link=row[7], author=row[8], status=row[9], tokens=tuple(filter(None, row[10])))
                 for row in past.read_history(self.subject, self.done, goal)]
        verdict.place(fresh, chain)
        self.story.add(fresh)
        self.unapplied = sorted(self.unapplied + fresh, key=lambda version: (version.pos, version.seq))
        candidates = [snapshot.order for snapshot in chain[1:]]
        chosen = set(self.random.sample(candidates, min(samples, len(candidates))))
        chosen |= {order for order in self.required if order <= goal.order}
        self.required -= chosen
        for order in sorted(chosen):
            self.sample(order)
        for track in tracks:
            self.advance(track, goal.order)
            if track.steps or track.ahead is not None:
                self.tell_lost(track, goal.order)
        self.finish(goal)

    def sample(self, order):
        place = bisect.bisect_right(self.unapplied, order, key=lambda version: version.pos)
        self.past.move(self.unapplied[:place])
        self.unapplied = self.unapplied[place:]
        found = self.past.visible()
        self.counted["cursors"] += 1
        for at, rows in [control for control in self.controls if control[0] == order]:
            everything = found[next(person for person in found if person[1] == "operator")]
            held = {key: {name: value for name, value in row.items() if name != QUIET} for key, row in rows.items()}
            wrong = difference({key: row for key, (row, _) in everything.items()}, held)
            assert not wrong, f"the oracle is wrong at {at}: {wrong}"
            self.counted["controls"] += 1
        self.controls = [control for control in self.controls if control[0] > order]
        for track in self.tracks:
            if track.is_broken:
                continue
            before = track.rows and dict(track.rows)
            passed = [step for step in track.steps if step.order <= order]
            self.advance(track, order)
            if track.is_broken or not track.stands_at(order, self.nodes[order]):
                continue
            wrong = self.compare(track, order, found[track.person.name, track.person.access])
            self.counted["checks"] += 1
            if wrong:
                self.violate(track, order, *wrong, before=before, passed=passed)

    def compare(self, track, order, visible):
        """The first difference, as (key, text), between what it holds and what the user could select."""
        wanted = {key: row for key, (row, tests) in visible.items()
                  if (track.condition is None or tests[track.condition]) and track.key in ("", key)}
        if track.subscription.is_counts:
            counts = dict(collections.Counter(row["status"] for row in wanted.values()))
            held = {status: count for status, count in track.counts.items() if count}
            return None if held == counts else (None, f"counts {held}, not {counts}")
        if track.limit is not None:
            if track.cut_at == order:
                newest = dict(list(wanted.items())[:track.limit])
                track.cut = wanted.keys() - newest.keys()
                wanted = newest
            else:
                track.cut &= wanted.keys() - track.rows.keys()
                wanted = {key: row for key, row in wanted.items() if key not in track.cut}
        if track.rows.keys() != wanted.keys():
            for key in wanted.keys() - track.rows.keys():
                return key, f"does not hold {wanted[key]}"
            for key in track.rows.keys() - wanted.keys():
                return key, f"holds {track.rows[key]}, which {track.person.name} cannot select"
        for key, row in track.rows.items():
            if wrong := self.compare_row(track, order, row, wanted[key]):
                return key, wrong
        return None

    def compare_row(self, track, order, row, right):
        ignored = {QUIET} if not track.has_rate or track.order == order else {QUIET, *GAUGES}
        for name in track.columns or row.keys() | right.keys():
            if name not in ignored and (name not in row or name not in right or row[name] != right[name]):
                return f"{name} is {str(row.get(name, 'absent'))[:300]}, not {str(right.get(name, 'absent'))[:300]}"
        if track.columns and row.keys() != track.columns:
            return f"has columns {sorted(row)}"
        return ""

    def advance(self, track, order):
        while track.steps and track.steps[0].order <= order and not track.is_broken:
            step = track.steps.popleft()
            self.judge(track, step)
            track.apply(step)

    def judge(self, track, step):
        """What this step told, against what happened since the one before."""
        person = track.person
        if track.order is None:
            since = step.order
        elif step.kind in ("replay", "resumed"):
            # Begins at the client's cursor, however far it had come without being told anything.
            since = track.order
        else:
            since = max(track.order, track.safe or -1)
        since = min(since, step.order)
        if since < self.kept:
            self.counted["unjudged"] += 1
            return
        changes = step.changes
        for change in changes:
            if change["op"] == "update" and change["set"].keys() <= {QUIET}:
                self.violate(track, step.order, change["key"], f"was told of a change it cannot see: {change}", passed=[step])
        if person.access == "account":
            for row in (step.rows or {}).values():
                self.check_values(track, str(row["id"]), row, step.order, step.order, step)
            for change in changes:
                self.check_values(track, change["key"], change.get("row") or change.get("set") or {}, since, step.order, step)
        if track.is_whole and track.order is not None and step.kind in ("changes", "replay", "resumed", "heartbeat"):
            if step.kind == "resumed" and step.order == track.order:
                return
            problems, count = self.story.examine(
                person.name, person.access, changes, since, step.order, step.kind == "replay")
            self.counted["transitions"] += count
            for key, text in problems:
                self.violate(track, step.order, key, text, passed=[step])

    def check_values(self, track, key, row, since, until, step):
        payload, progress = row.get("payload"), row.get("progress")
        tokens = [token for token in (
            payload and payload.get("token"), row.get("assignee"), progress and progress.get("message")) if token]
        if not tokens:
            return
        self.counted["values"] += len(tokens)
        for token in self.story.leaks(track.person.name, key, tokens, since, until):
            self.violate(track, until, key, f"was sent {token}, which it cannot have seen since {since}", passed=[step])

    def tell_lost(self, track, order):
        """Steps that a lost connection cut short: what did arrive must have been the user's, too."""
        lost, track.lost = track.lost, []
        if track.person.access == "account" and track.order is not None:
            for change in lost:
                row = change.get("row") or change.get("set") or {}
                since = track.safe if track.safe is not None else self.start.order
                self.check_values(track, change["key"], row, min(since, order), order, None)

    def finish(self, goal):
        for track in self.tracks:
            track.safe = track.order
            # With a maximum rate gauges may be missing at a step that is not its own.
            if track.order is not None and not track.has_rate and track.segment is not None:
                end = track.watermark if track.segment is track.ahead else track.segment.watermark
                if track.steps and track.steps[0].segment is track.segment:
                    end = track.steps[0].order
                track.safe = max(track.order, self.last_step(track.segment.node, min(end, goal.order + 1)))
        keep = min((track.safe for track in self.tracks if not track.is_broken and track.safe is not None),
                   default=goal.order)
        oldest = min((track.order for track in self.tracks if not track.is_broken and track.order is not None),
                     default=goal.order)
        keep = min(keep, goal.order, max(oldest, goal.order - REMEMBERED))
        self.kept = keep
        self.story.forget(keep)
        past.forget_history(self.subject, goal)
        self.done = goal
        self.known = {order: snapshot for order, snapshot in self.known.items() if order > goal.order}
        for node, orders in list(self.steps_of.items()):
            place = max(0, bisect.bisect_right(orders, keep) - 1)
            for order in orders[:place]:
                self.nodes[order].discard(node)
                if not self.nodes[order]:
                    del self.nodes[order]
            del orders[:place]

    # Reporting

    def violate(self, track, order, key, text, before=None, passed=()):
        if track.is_broken:
            return
        track.is_broken = True
        story = []
        if key is not None:
            for version in self.story.jobs.get(int(key), [])[-12:]:
                story.append(f"  seq {version.seq} xid {version.xid} {version.op} committed in ({version.after}, {version.pos}]"
                             f" {'seen' if version.pos <= order else 'not seen'}: {version.row[:400]}")
            links = dict.fromkeys(v.link for v in self.story.jobs.get(int(key), [])[-12:] if v.link)
            for link in links:
                for version in self.story.threads.get(int(link), [])[-8:]:
                    story.append(f"  thread {link}: seq {version.seq} xid {version.xid} {version.op} committed in"
                                 f" ({version.after}, {version.pos}] author {version.author}")
        frames = []
        for step in [*track.recent, *[s for s in passed if s not in track.recent], *list(track.steps)[:3]]:
            told = [change for change in step.changes if key is None or change["key"] == key]
            frames.append(f"  {step.kind} to {step.order} {step.snapshot.text} on {step.segment and step.segment.node}:"
                          f" {str(told)[:500]}{' ' + str(step.counts) if step.counts else ''}")
        where = "" if self.violations else self.first_difference(track, order, key, before, passed)
        self.violations.append(
            f"{track}, job {key} at cursor {order}: {text}{where}\nhistory:\n" + "\n".join(story)
            + "\nframes:\n" + "\n".join(frames))
        self.report(self.violations[-1] if len(self.violations) == 1 else self.violations[-1][:200])

    def first_difference(self, track, order, key, before, passed):
        """Between the last cursor that was looked at and this one: the first at which this row was wrong."""
        if key is None or before is None:
            return ""
        jobs = self.story.jobs.get(int(key), [])
        links = {int(version.link) for version in jobs if version.link}
        held = before.get(key)
        answer = ""
        for step in passed:
            for change in step.changes:
                if change["key"] == key:
                    held = (None if change["op"] == "leave" else change["row"] if change["op"] == "enter"
                            else {**held, **change["set"]} if held else None)
            self.past.move(self.as_of(jobs, links, step.order))
            row, tests = self.past.visible()[track.person.name, track.person.access].get(key, (None, []))
            wanted = row if row and (track.condition is None or tests[track.condition]) else None
            if (held is None) != (wanted is None) or held and self.compare_row(track, step.order, held, wanted):
                answer = f"\nfirst wrong at cursor {step.order}, {step.snapshot.text}, where it held {str(held)[:400]}"
                break
        self.past.move(self.as_of(jobs, links, order))
        return answer

    def as_of(self, jobs, links, order):
        for versions in [jobs, *(self.story.threads.get(link, []) for link in links)]:
            version, _ = self.story.between(versions, order, order)
            if version:
                yield version
            elif versions:
                yield dataclasses.replace(versions[0], op="DELETE")
