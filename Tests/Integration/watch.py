"""Watchers that write down every step, with the cursor it ends at, and resume on another node when they have to."""

import collections
import contextlib
import time

import snapshots
import wire

# A client may come back after these at once.
RECONNECTABLE = {1001, 1006, 1012, *range(4000, 4500)}


class Segment:
    """The time one subscription is live on one run of one node: it stands at each of that node's steps."""

    def __init__(self, node):
        self.node = node
        self.watermark = -1  # all steps before this one have been received


class Step:
    """From one cursor to the next."""

    def __init__(self, kind, cursor, segment, changes=(), rows=None, counts=None):
        self.kind = kind  # snapshot, resumed, replay, changes, heartbeat
        self.snapshot = snapshots.decode(cursor)
        self.order = self.snapshot.order
        self.segment = segment
        self.changes, self.rows, self.counts = changes, rows, counts


class Recorded(wire.Subscription):
    """Takes a step when it is complete, so that a lost connection leaves it at its cursor."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.incomplete = []
        self.steps, self.lost = [], []
        self.segment = None
        self.node = None

    def receive(self, frame):
        before = self.state
        super().receive(frame)
        if frame["type"] == "live":
            self.segment = Segment(self.node)
            if before == "replay":
                self.note(Step("resumed", self.cursor, self.segment))
            elif self.is_counts:
                self.note(Step("snapshot", self.cursor, self.segment, counts=dict(self.counts)))
            else:
                rows = {key: dict(row) for key, row in self.rows.items()}
                self.note(Step("snapshot", self.cursor, self.segment, rows=rows))

    def take_changes(self, frame):
        self.incomplete.append(frame)
        self.in_batch = "cursor" not in frame
        if self.in_batch:
            return
        frames, self.incomplete = self.incomplete, []
        for whole in frames:
            super().take_changes(whole)
        changes = [change for whole in frames for change in whole.get("changes", [])]
        counts = {status: count for whole in frames for status, count in whole.get("counts", {}).items()}
        is_live = self.state == "live"
        self.note(Step("changes" if is_live else "replay", self.cursor, self.segment if is_live else None, changes,
                       counts=counts))

    def note(self, step):
        if self.steps and step.order < self.steps[-1].order:
            raise wire.Violation(f"{self.id}: cursor {step.snapshot.text} after {self.steps[-1].snapshot.text}")
        self.steps.append(step)

    def step(self):
        self.frames.clear()
        self.log.clear()

    def disconnected(self):
        # Sent is sent, even if it is sent again.
        self.lost += [change for frame in self.incomplete for change in frame.get("changes", [])]
        self.incomplete = []
        self.in_batch = False


class Watcher(wire.Client):
    """Keeps no frames, and notes how far a node's steps have come with every cursor and heartbeat."""

    parse = staticmethod(wire.exact)

    def __init__(self, url, user, access, **options):
        self.last_heartbeat = None
        super().__init__(url, user, access, **options)

    def receive(self, message):
        super().receive(message)
        frame = self.frames.pop() if len(self.frames) > 1 else self.frames[0]
        # Every error that a writer notes bears this mark.
        if self.access == "account" and ('"errors"' in message or "hidden-" in message):
            raise wire.Violation(f"a hidden column: {message[:300]}")
        if frame["type"] == "heartbeat":
            self.last_heartbeat = frame
        cursor = frame.get("cursor")
        if cursor is None:
            return
        if frame["type"] == "heartbeat":
            for subscription in self.subscriptions.values():
                if subscription.state != "live" or subscription.in_batch:
                    raise wire.Violation(f"a cursor in a heartbeat while {subscription.id} is {subscription.state}")
                if snapshots.decode(cursor).order >= snapshots.decode(subscription.cursor).order:
                    subscription.cursor = cursor
                    subscription.note(Step("heartbeat", cursor, subscription.segment))
        elif frame["type"] == "changes" and self.subscriptions[frame["id"]].state == "live":
            # Steps come one after the other, so all earlier ones are complete for each live subscription.
            order = snapshots.decode(cursor).order
            for subscription in self.subscriptions.values():
                if subscription.state == "live":
                    subscription.segment.watermark = max(subscription.segment.watermark, order)


class Person:
    """One watcher through all its connections."""

    def __init__(self, name, access, gateways, number, subscriptions):
        self.name, self.access, self.number = name, access, number
        self.gateways = gateways
        self.node = number % len(gateways)
        self.subscriptions = subscriptions
        self.client = None
        self.away_until = 0
        self.resumes = 0
        self.closings = collections.Counter()

    def connect(self):
        """At its node or, when that one is down, at another; False when none takes it now."""
        for _ in self.gateways:
            gateway = self.gateways[self.node]
            run = gateway.run
            try:
                client = Watcher(gateway.url, self.name, self.access, deflate=self.number % 3 == 0)
                break
            except (OSError, EOFError, wire.websockets.exceptions.WebSocketException):
                self.node = (self.node + 1) % len(self.gateways)
        else:
            return False
        self.client = client
        try:
            for subscription in self.subscriptions:
                subscription.node = (self.node, run)
                subscription.error = None
                self.resumes += subscription.cursor is not None
                client.open(subscription, subscription.cursor, wait=False)
        except wire.websockets.exceptions.ConnectionClosed:
            pass
        return True

    def leave(self, seconds=0.0):
        """Loses the connection without a goodbye."""
        client, self.client = self.client, None
        client.drop()
        client.check()
        assert client.close_code in RECONNECTABLE, f"{self.name}: closed with {client.close_code} {client.close_reason}"
        self.closings[client.close_code] += 1
        for subscription in self.subscriptions:
            subscription.disconnected()
        self.away_until = time.monotonic() + seconds

    def tend(self):
        """Comes back when it is time to, and raises what went wrong."""
        if self.client is not None:
            self.client.check()
            errors = [subscription.error for subscription in self.subscriptions if subscription.error]
            assert all(error["retry"] for error in errors), f"{self.name}: {errors}"
            if errors or self.client.close_code is not None:
                self.leave()
        if self.client is None and time.monotonic() >= self.away_until and not self.connect():
            self.away_until = time.monotonic() + 0.1
        for subscription in self.subscriptions:
            answer = subscription.answer
            assert subscription.resets == [], f"{self.name} {subscription.channel}: {subscription.resets}"
            assert answer is None or answer["recovered"] or answer["reason"] == "no_cursor", f"{self.name}: {answer}"

    def take(self, subscription):
        """What the subscription has written down since; (steps, lost changes, current segment, its watermark)."""
        lock = self.client.changed if self.client else contextlib.nullcontext()
        with lock:
            steps, subscription.steps = subscription.steps, []
            lost, subscription.lost = subscription.lost, []
            segment = subscription.segment
            return steps, lost, segment, segment.watermark if segment else -1

    def describe(self):
        states = [f"{s.id} {s.channel} {s.options} {s.state} at {s.cursor and snapshots.decode(s.cursor).text}"
                  for s in self.subscriptions]
        beat = self.client and self.client.last_heartbeat
        other = self.client and self.client.unmatched[-3:]
        return (f"{self.name} on node {self.node}, closed {self.client and self.client.close_code}, last heartbeat {beat},"
                f" other answers {other}, {states}")

    def close(self):
        if self.client:
            with contextlib.suppress(Exception):
                self.client.close()
