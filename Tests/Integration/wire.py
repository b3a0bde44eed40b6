"""A strict client of jobfeed.v1, written from the protocol page alone.

It keeps what a client is meant to hold and writes down every frame that the protocol does not allow; `Client.wait` and
`Client.close` raise when there is one.
"""

import decimal
import json
import threading
import time

import jwt
import websockets.exceptions
import websockets.sync.client

SECRET = "only-for-tests-" + "0123456789abcdef" * 4
PATIENCE = 45.0

# Every frame: required fields and their types, then optional ones. Additions are welcome, so others are ignored.
SHAPES = {
    "welcome": (
        {"connection": str, "node": str, "user": str, "access": str, "expires_at": str, "heartbeat_seconds": int,
         "limits": dict}, {}),
    "subscribed": ({"id": str, "recovered": bool}, {"reason": str}),
    "snapshot": ({"id": str}, {"rows": list, "truncated": bool, "counts": dict}),
    "live": ({"id": str, "cursor": str}, {}),
    "changes": ({"id": str, "at": str}, {"cursor": str, "changes": list, "counts": dict}),
    "reset": ({"id": str, "reason": str}, {}),
    "unsubscribed": ({"id": str}, {}),
    "authenticated": ({"id": str, "expires_at": str}, {}),
    "pong": ({"id": str}, {}),
    "heartbeat": ({"as_of": str, "token_expires_in": int}, {}),
    "error": ({"code": str, "message": str, "retry": bool}, {"id": str}),
}
ENTER_REASONS = {"created", "filter", "permission"}
LEAVE_REASONS = {"deleted", "filter", "permission"}
NOT_RECOVERED = {"no_cursor", "retention", "epoch", "malformed_cursor", "truncate", "schema"}


class Violation(AssertionError):
    """The server sent what the protocol does not allow."""


def parse(text):
    """JSON with numbers as exact as they were sent."""
    return json.loads(text, parse_float=decimal.Decimal)


def exact(text):
    """JSON in which 1.5 and 1.50 differ, as their bytes do."""
    return json.loads(text, parse_float=lambda digits: ("number", digits))


def token(user="alice", access="account", ttl=3600, secret=SECRET, **claims):
    payload = {"sub": user, "access": access, "exp": time.time() + ttl, **claims}
    return jwt.encode({name: value for name, value in payload.items() if value is not None}, secret, "HS256")


def key_text(row, key):
    def text(value):
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value)

    if len(key) == 1:
        return text(row[key[0]])
    return ",".join(text(row[column]).replace("%", "%25").replace(",", "%2C") for column in key)


class Subscription:
    """What one subscription holds, and how it came to hold it."""

    def __init__(self, id, channel, key=("id",), **options):
        self.id = id
        self.channel = channel
        self.key = key
        self.options = options
        self.limit = options.get("limit", 1000)
        self.is_counts = channel.endswith("#counts")
        self.state = "asked"
        self.rows = {}
        self.counts = {}
        self.cursor = None
        self.answer = None
        self.truncated = None
        self.error = None
        self.resets = []
        self.log = []  # every (op, key, reason, columns) in order
        self.frames = []
        self.collected = None
        self.in_batch = False
        self.at_cursor = None  # called at each consistent step

    def command(self, resume=None):
        fields = {"type": "subscribe", "id": self.id, "channel": self.channel, **self.options}
        if resume is not None:
            fields["resume"] = resume
        return fields

    def receive(self, frame):
        """Applies one frame; raises Violation."""
        kind = frame["type"]
        self.frames.append(frame)
        if kind == "subscribed":
            self.expect("asked", frame)
            if frame["recovered"] and "reason" in frame:
                raise Violation(f"recovered with a reason: {frame}")
            if not frame["recovered"] and frame.get("reason") not in NOT_RECOVERED:
                raise Violation(f"not recovered without a known reason: {frame}")
            self.answer = frame
            self.state = "replay" if frame["recovered"] else "snapshot"
            self.collected = None if frame["recovered"] else {}
        elif kind == "reset":
            if self.state not in ("live", "snapshot"):
                raise Violation(f"reset while {self.state}: {frame}")
            self.resets.append(frame["reason"])
            self.state = "snapshot"
            self.collected = {}
            self.in_batch = False
        elif kind == "snapshot":
            self.expect("snapshot", frame)
            self.take_snapshot(frame)
        elif kind == "live":
            if self.state not in ("snapshot", "replay") or self.in_batch:
                raise Violation(f"live while {self.state}, in a batch: {self.in_batch}")
            if self.state == "snapshot":
                if self.is_counts:
                    self.counts = self.collected
                else:
                    self.rows = self.collected
            self.state = "live"
            self.cursor = frame["cursor"]
            self.step()
        elif kind == "changes":
            if self.state not in ("replay", "live"):
                raise Violation(f"changes while {self.state}: {frame}")
            self.take_changes(frame)
        elif kind == "unsubscribed":
            self.state = "closed"

    def expect(self, state, frame):
        if self.state != state:
            raise Violation(f"{frame['type']} while {self.state}: {frame}")

    def take_snapshot(self, frame):
        if self.is_counts:
            if set(frame) & {"rows", "truncated"} or "counts" not in frame:
                raise Violation(f"a snapshot of counts holds counts: {frame}")
            self.collected.update(frame["counts"])
            return
        if "counts" in frame or "rows" not in frame or "truncated" not in frame:
            raise Violation(f"a snapshot holds rows and truncated: {str(frame)[:300]}")
        self.truncated = frame["truncated"]
        for row in frame["rows"]:
            key = key_text(row, self.key)
            if key in self.collected:
                raise Violation(f"row {key} stands twice in one snapshot")
            self.collected[key] = row
        if len(self.collected) > self.limit:
            raise Violation(f"{len(self.collected)} rows in a snapshot limited to {self.limit}")

    def take_changes(self, frame):
        if self.is_counts:
            if "changes" in frame or not frame.get("counts"):
                raise Violation(f"changes of counts hold counts: {frame}")
            if any(not isinstance(count, int) or count < 0 for count in frame["counts"].values()):
                raise Violation(f"not a count: {frame}")
            self.counts.update(frame["counts"])
        else:
            if "counts" in frame or not frame.get("changes"):
                raise Violation(f"changes hold changes: {frame}")
            for change in frame["changes"]:
                self.take_change(change)
        self.in_batch = "cursor" not in frame
        if not self.in_batch:
            self.cursor = frame["cursor"]
            self.step()

    def take_change(self, change):
        op, key = change.get("op"), change.get("key")
        if not isinstance(key, str):
            raise Violation(f"a key is text: {change}")
        is_bounded = self.truncated or not self.options.get("snapshot", True)
        if op == "enter":
            if set(change) != {"op", "key", "reason", "row"} or change["reason"] not in ENTER_REASONS:
                raise Violation(f"no enter: {change}")
            if key_text(change["row"], self.key) != key:
                raise Violation(f"row of another key: {change}")
            if key in self.rows and not is_bounded:
                raise Violation(f"{self.id}: enter of {key}, which is held: {str(change)[:300]}")
            self.rows[key] = dict(change["row"])
        elif op == "update":
            if set(change) != {"op", "key", "set"} or not change["set"]:
                raise Violation(f"no update: {change}")
            if key not in self.rows and not is_bounded:
                raise Violation(f"{self.id}: update of {key}, which is not held: {str(change)[:300]}")
            if key in self.rows:
                if not set(change["set"]) <= set(self.rows[key]):
                    raise Violation(f"update of columns the row does not have: {change}")
                self.rows[key].update(change["set"])
        elif op == "leave":
            if not {"op", "key", "reason"} <= set(change) <= {"op", "key", "reason", "set"}:
                raise Violation(f"no leave: {change}")
            by_filter = change["reason"] == "filter"
            # The columns that caused it may not be among those asked for.
            is_narrow = "columns" in self.options
            if change["reason"] not in LEAVE_REASONS or (by_filter != ("set" in change) and not (by_filter and is_narrow)):
                raise Violation(f"a leave carries the change that caused it when by filter, and only then: {change}")
            if key not in self.rows and not is_bounded:
                raise Violation(f"{self.id}: leave of {key}, which is not held: {change}")
            self.rows.pop(key, None)
        else:
            raise Violation(f"no such op: {change}")
        self.log.append((op, key, change.get("reason"), change.get("row") or change.get("set") or {}))

    def step(self):
        if self.at_cursor:
            self.at_cursor(self)


class Client:
    """One connection; a thread of its own reads and checks."""

    parse = staticmethod(parse)

    def __init__(self, url, user="alice", access="account", by="header", bearer=None, deflate=True, **options):
        self.user, self.access = user, access
        self.bearer = bearer or token(user, access)
        self.subscriptions = {}
        self.frames = []
        self.unmatched = []  # answers that belong to no subscription
        self.problems = []
        self.close_code = self.close_reason = self.closed_at = None
        self.closing = set()
        self.changed = threading.Condition()
        headers, protocols = {}, ["jobfeed.v1"]
        if by == "header":
            headers["Authorization"] = "Bearer " + self.bearer
        elif by == "protocol":
            protocols.append("bearer." + self.bearer)
        url = url.replace("http", "ws", 1)
        connecting = websockets.sync.client.connect(
            url + "/v1/feed", additional_headers=headers, subprotocols=protocols, max_size=None, open_timeout=PATIENCE,
            compression="deflate" if deflate else None, ping_interval=None, close_timeout=2, proxy=None, **options)
        self.socket = connecting.__enter__()
        self.thread = threading.Thread(target=self.pump, daemon=True)
        self.thread.start()
        if by == "frame":
            self.send({"type": "authenticate", "id": "0", "token": self.bearer})

    # Reading

    def pump(self):
        try:
            for message in self.socket:
                with self.changed:
                    try:
                        self.receive(message)
                    except Violation as problem:
                        self.problems.append(problem)
                    except Exception as problem:
                        self.problems.append(Violation(f"{problem!r} in {message[:500]}"))
                    self.changed.notify_all()
        except websockets.exceptions.ConnectionClosed:
            pass
        finally:
            with self.changed:
                self.close_code = self.socket.close_code or 1006
                self.close_reason = self.socket.close_reason
                self.closed_at = time.monotonic()
                self.changed.notify_all()

    def receive(self, message):
        if not isinstance(message, str):
            raise Violation("a binary frame")
        frame = self.parse(message)
        self.frames.append(frame)
        kind = frame.get("type")
        if kind not in SHAPES:
            raise Violation(f"unknown type: {message[:300]}")
        required, optional = SHAPES[kind]
        for name, wanted in required.items():
            if not isinstance(frame.get(name), wanted):
                raise Violation(f"{name} of {kind} is {frame.get(name)!r}")
        for name, wanted in optional.items():
            if name in frame and not isinstance(frame[name], wanted):
                raise Violation(f"{name} of {kind} is {frame[name]!r}")
        if len(self.frames) == 1 and kind not in ("welcome", "error"):
            raise Violation(f"the server speaks first with welcome, not {kind}")
        if kind in ("subscribed", "snapshot", "live", "changes", "reset", "unsubscribed"):
            subscription = self.subscriptions.get(frame["id"])
            if subscription is None or subscription.state == "closed":
                raise Violation(f"a frame for {frame['id']!r}, which is not open: {message[:300]}")
            subscription.receive(frame)
            return
        subscription = self.subscriptions.get(frame.get("id"))
        is_open = subscription is not None and subscription.state != "closed"
        if kind == "error" and is_open and frame["code"] != "duplicate_id":
            subscription.error = frame
            subscription.state = "closed"
            return
        if kind not in ("welcome", "heartbeat"):
            self.unmatched.append(frame)

    # Writing

    def send(self, command):
        self.socket.send(command if isinstance(command, (str, bytes)) else json.dumps(command, ensure_ascii=False))

    def subscribe(self, channel="jobs", id=None, resume=None, wait=True, key=("id",), **options):
        id = id or f"s{len(self.subscriptions)}"
        subscription = Subscription(id, channel, key, **options)
        return self.open(subscription, resume, wait)

    def open(self, subscription, resume=None, wait=True):
        """Also takes a subscription of an earlier connection, to go on from its cursor."""
        with self.changed:
            subscription.state = "asked"
            subscription.in_batch = False
            self.subscriptions[subscription.id] = subscription
        self.send(subscription.command(resume))
        if wait:
            self.wait(lambda: subscription.state in ("live", "closed"), f"{subscription.id} to be live")
        return subscription

    def unsubscribe(self, subscription):
        self.send({"type": "unsubscribe", "id": subscription.id})
        self.wait(lambda: subscription.state == "closed", "unsubscribed")

    def ask(self, command, kind=None):
        """Sends a command and returns the next answer that belongs to no open subscription."""
        seen = len(self.unmatched)
        self.send(command)
        self.wait(lambda: len(self.unmatched) > seen, f"an answer to {str(command)[:200]}")
        answer = self.unmatched[seen]
        if kind and answer["type"] != kind:
            raise Violation(f"{answer} instead of {kind}")
        return answer

    def welcome(self):
        self.wait(lambda: self.frames, "welcome")
        return self.frames[0]

    # Waiting

    def check(self):
        if self.problems:
            raise self.problems[0]

    def wait(self, condition, what="", timeout=PATIENCE):
        deadline = time.monotonic() + timeout
        with self.changed:
            while True:
                self.check()
                if condition():
                    return
                if self.close_code is not None:
                    raise AssertionError(f"closed with {self.close_code} {self.close_reason} while waiting for {what}")
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"timeout while waiting for {what}; last frames: {str(self.frames[-3:])[:1500]}")
                self.changed.wait(left)

    def closed(self, timeout=PATIENCE):
        """Waits for the server to close; returns the code."""
        deadline = time.monotonic() + timeout
        with self.changed:
            while self.close_code is None and time.monotonic() < deadline:
                self.changed.wait(max(0, deadline - time.monotonic()))
            self.check()
            if self.close_code is None:
                raise AssertionError("the server did not close")
            return self.close_code

    def drop(self):
        """Loses the connection without a goodbye."""
        try:
            self.socket.socket.shutdown(2)
        except OSError:
            pass
        self.thread.join(PATIENCE)
        self.socket.close()

    def close(self):
        self.socket.close()
        self.thread.join(PATIENCE)
        self.check()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.socket.close()
        self.thread.join(PATIENCE)
        if kind is None:
            self.check()
