"""What a client may be sent between two cursors, judged from the audited history of every row.

States at cursors are row-level security's to judge; this is about what lies between them: every status transition of a
job that a user could see arrives once and in order, and no value arrives that was never his to see.
"""

import bisect
import collections
import dataclasses

NEVER = 1 << 62


@dataclasses.dataclass
class Version:
    """A row as one statement left it. Its commit lies between the snapshots of order `after` and `pos`."""

    seq: int
    xid: int
    relation: str
    op: str
    id: int
    witness: int | None
    row: str
    link: str | None  # of a job
    author: str | None  # of a thread
    status: str | None
    tokens: tuple
    after: int = -1
    pos: int = NEVER


def place(versions, chain):
    """Finds between which two snapshots of a chain, ascending, each version was committed."""
    found = {}
    for version in versions:
        if version.xid not in found:
            index = bisect.bisect_left(chain, True, key=lambda snapshot: snapshot.sees(version.xid))
            assert 0 < index < len(chain), f"transaction {version.xid} is not between {chain[0].text} and {chain[-1].text}"
            found[version.xid] = chain[index - 1].order, chain[index].order
        version.after, version.pos = found[version.xid]


class Story:
    """All versions since some cursor, and of each row the one before."""

    def __init__(self):
        self.jobs = collections.defaultdict(list)
        self.threads = collections.defaultdict(list)
        self.recent = []  # of jobs, by pos and seq

    def add(self, versions):
        for version in versions:
            (self.jobs if version.relation == "job" else self.threads)[version.id].append(version)
        # One row's transactions follow each other; of equal place they keep the order of the log.
        self.recent += [version for version in versions if version.relation == "job"]
        self.recent.sort(key=lambda version: (version.pos, version.seq))

    def forget(self, order):
        self.recent = self.recent[bisect.bisect_right(self.recent, order, key=lambda version: version.pos):]
        for table in (self.jobs, self.threads):
            for id, versions in list(table.items()):
                place = bisect.bisect_right(versions, order, key=lambda version: version.pos)
                if place > 1:
                    del versions[:place - 1]
                if len(versions) == 1 and versions[0].op == "DELETE" and versions[0].pos <= order:
                    del table[id]

    # Who owned what

    def between(self, versions, since, until):
        """The version at `since` and those up to `until`."""
        start = bisect.bisect_right(versions, since, key=lambda version: version.pos)
        end = bisect.bisect_right(versions, until, key=lambda version: version.pos)
        return versions[start - 1] if start else None, versions[start:end]

    def authors(self, link, since, until):
        """All that a link led to; a thread that was only deleted named one author as long as anything referred to it."""
        if link is None:
            return {None}
        first, later = self.between(self.threads.get(int(link), []), since, until)
        named = {version.author for version in [first, *later] if version and version.op != "DELETE"}
        return named or {None}

    def is_steady(self, user, first, versions, since, until):
        """Whether the job was this user's all the time."""
        return all(self.authors(version.link, since, until) == {user}
                   for version in [first, *versions] if version and (version is not first or version.op != "DELETE"))

    # Status transitions

    def transitions(self, first, versions, is_operator):
        """What is told of these versions to somebody who sees all of them."""
        events = []
        status = first.status if first and first.op != "DELETE" else None
        rest = versions
        while rest:
            transaction = [version for version in rest if version.xid == rest[0].xid]
            rest = rest[len(transaction):]
            if transaction[0].op == "INSERT" and transaction[-1].op == "DELETE":
                continue
            if transaction[-1].op == "DELETE" and not is_operator:
                # What a transaction wrote before it deleted the row was never there to be seen.
                transaction = transaction[-1:]
            for version in transaction:
                if version.op == "INSERT":
                    events.append(("enter", version.status))
                elif version.op == "DELETE":
                    events.append(("leave",))
                elif version.status != status:
                    events.append(("update", version.status))
                status = version.status
        return events

    def examine(self, user, access, changes, since, until, is_replay):
        """Compares what a view of all rows was told in one step with what happened. Returns problems and a count."""
        start = bisect.bisect_right(self.recent, since, key=lambda version: version.pos)
        end = bisect.bisect_right(self.recent, until, key=lambda version: version.pos)
        happened, told = collections.defaultdict(list), collections.defaultdict(list)
        for version in self.recent[start:end]:
            happened[str(version.id)].append(version)
        for change in changes:
            told[change["key"]].append(change)
        problems, count = [], 0
        for key in happened.keys() | told.keys():
            versions = happened.get(key, [])
            first, _ = self.between(self.jobs.get(int(key), []), since, until)
            is_operator = access == "operator"
            steady = is_operator or self.is_steady(user, first, versions, since, until)
            if not versions:
                if steady:
                    problems.append((key, f"told {told[key]}, though nothing happened to it"))
                continue
            events = [
                (change["op"], *([status] if change["op"] != "leave" else []))
                for change in told.get(key, [])
                for status in [(change.get("row") or change.get("set") or {}).get("status")]
                if change["op"] != "update" or status is not None]
            if not is_operator and not steady:
                owners = set().union(*(self.authors(v.link, since, until) for v in [first, *versions] if v))
                if user not in owners and told.get(key):
                    problems.append((key, f"told {told[key]}, though it was only ever {owners}'s"))
                continue
            wanted = self.transitions(first, versions, is_operator)
            count += len(wanted)
            is_there = first and first.op != "DELETE" and all(version.op == "UPDATE" for version in versions)
            if is_replay and not is_there:
                # A replay may leave out what came and went.
                continue
            if events != wanted:
                problems.append((key, f"told {events}, but what happened is {wanted}"))
            elif len(told.get(key, [])) > len(versions):
                problems.append((key, f"{len(told[key])} changes for {len(versions)}: {told[key]}"))
        return problems, count

    # Values

    def leaks(self, user, key, tokens, since, until):
        """The tokens that this user cannot have selected at any moment between, nor made as an owner all along."""
        versions = self.jobs.get(int(key), [])
        found = []
        for token in tokens:
            carriers = [place for place, version in enumerate(versions) if token in version.tokens and version.op != "DELETE"]
            if not any(self.may_see(user, versions, place, since, until) for place in carriers):
                found.append(token)
        return found

    def may_see(self, user, versions, place, since, until):
        version = versions[place]
        following = next((other for other in versions[place + 1:] if other.xid != version.xid), None)
        is_last = place + 1 == len(versions) or versions[place + 1].xid != version.xid
        if is_last:
            return self.could_own(user, version, following, since, until)
        # Never selectable, but an owner is told all steps of a transaction that takes nothing away from him.
        if [other for other in versions[place:] if other.xid == version.xid][-1].op == "DELETE":
            return False
        begin = place
        while begin > 0 and versions[begin - 1].xid == version.xid:
            begin -= 1
        own = versions[max(0, begin - 1):begin] + [other for other in versions[begin:] if other.xid == version.xid]
        own = [other for other in own if other.op != "DELETE"]
        return all(self.could_own(user, other, None, max(since, version.after), min(until, version.pos), at=version)
                   for other in own)

    def could_own(self, user, version, following, since, until, at=None):
        """Whether the user may have been the owner at a moment of [since, until] while this version was committed.

        Commits are known to lie between two snapshots only. A witness says more: which version of the thread was in
        force at the commit.
        """
        if version.link is None:
            return False
        moment = at or version
        tenures = self.threads.get(int(version.link), [])
        earliest = self.in_force(tenures, moment if moment.link == version.link else None)
        latest = self.in_force(tenures, following if following and following.link == version.link else None, before=True)
        for place, tenure in enumerate(tenures):
            if tenure.author != user or tenure.op == "DELETE":
                continue
            after = next((other for other in tenures[place + 1:] if other.xid != tenure.xid), None)
            if place + 1 < len(tenures) and tenures[place + 1].xid == tenure.xid:
                continue
            if earliest is not None and place < earliest or latest is not None and place > latest:
                continue
            # (begin, end) is open on both sides.
            begin = max(moment.after, tenure.after)
            end = min(following.pos if following else NEVER, after.pos if after else NEVER)
            if begin < end and since < end and until > begin:
                return True
        return False

    @staticmethod
    def in_force(tenures, version, before=False):
        """Which of the thread's versions was in force at (just before) the commit of this version, if that is known."""
        if version is None:
            return None
        own = [place for place, tenure in enumerate(tenures) if tenure.xid == version.xid]
        if own:
            return own[0] - 1 if before else own[-1]
        return next((place for place, tenure in enumerate(tenures) if tenure.seq == version.witness), None)
