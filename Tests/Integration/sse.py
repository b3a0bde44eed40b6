"""A strict client of the feed as server-sent events, written from the protocol page and the HTML standard alone."""

import contextlib
import http.client
import json
import socket
import threading
import urllib.parse

import faults
import wire


class Refused(Exception):
    """An answer that is no stream."""

    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read().decode()
        super().__init__(f"{self.status} {self.body}")

    @property
    def problem(self):
        problem = json.loads(self.body)
        assert self.headers["Content-Type"] == "application/problem+json", self.headers
        assert problem["status"] == self.status
        return problem


class Stream(wire.Client):
    """What `wire.Client` is to a socket: every object is checked and held as there."""

    def __init__(self, url, user="alice", access="account", channel="jobs", bearer=None, by="header", last_event_id=None,
                 headers=None, key=("id",), subscription=None, **parameters):
        self.user, self.access, self.bearer = user, access, bearer or wire.token(user, access)
        self.frames, self.unmatched, self.problems, self.closing = [], [], [], set()
        self.close_code = self.close_reason = self.closed_at = self.retry = None
        self.changed = threading.Condition()
        options = {} if "columns" not in parameters else {"columns": parameters["columns"].split(",")}
        self.held = subscription or wire.Subscription("feed", channel, key, **options)
        self.held.state, self.held.in_batch, self.held.answer = "asked", False, None
        self.subscriptions = {"feed": self.held}
        headers = {"Accept": "text/event-stream", **(headers or {})}
        if by == "header":
            headers["Authorization"] = "Bearer " + self.bearer
        elif by == "query":
            parameters["access_token"] = self.bearer
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        address = urllib.parse.urlsplit(url)
        self.connection = http.client.HTTPConnection(address.hostname, address.port, timeout=wire.PATIENCE)
        self.connection.connect()
        # http.client lets go of it when the answer says that the connection ends with it.
        self.sock = self.connection.sock
        self.connection.request("GET", "/v1/feed?" + urllib.parse.urlencode({"channel": channel, **parameters}), headers=headers)
        self.response = self.connection.getresponse()
        if self.response.status != 200:
            raise Refused(self.response)
        assert self.response.headers["Content-Type"] == "text/event-stream", self.response.headers
        self.thread = threading.Thread(target=self.pump, daemon=True)
        self.thread.start()

    def pump(self):
        event = {}
        try:
            while line := self.response.readline():
                with self.changed:
                    try:
                        event = self.take(line, event)
                    except wire.Violation as problem:
                        self.problems.append(problem)
                    except Exception as problem:
                        self.problems.append(wire.Violation(f"{problem!r} in {line[:500]}"))
                    self.changed.notify_all()
        except (OSError, http.client.HTTPException, ValueError):
            pass
        finally:
            with self.changed:
                self.close_code = self.close_code or 1006
                self.changed.notify_all()

    def take(self, line, event):
        line = line.decode()
        if not line.endswith("\n") or "\r" in line:
            raise wire.Violation(f"not a line: {line!r}")
        line = line[:-1]
        if not line:
            self.dispatch(event)
            return {}
        name, _, value = line.partition(": ")
        if name in event or name not in ("event", "data", "id", "retry"):
            raise wire.Violation(f"field {name!r}: {line[:300]}")
        return {**event, name: value}

    def dispatch(self, event):
        if set(event) == {"retry"}:
            self.retry = int(event["retry"])
            return
        frame = json.loads(event["data"])
        if frame["type"] != event["event"] or frame.get("cursor") != event.get("id"):
            raise wire.Violation(f"event and data differ: {event}")
        if frame["type"] == "error" and "close" in frame:
            self.close_code, self.close_reason = frame["close"], frame["code"]
        self.receive(event["data"])

    def drop(self):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join(wire.PATIENCE)
        self.response.close()
        self.connection.close()

    def ended(self):
        """Waits for the end of the body; returns the last code."""
        self.thread.join(wire.PATIENCE)
        assert not self.thread.is_alive(), "the stream goes on"
        self.check()
        return self.close_code

    def live(self):
        self.wait(lambda: self.held.state == "live", "live")
        return self

    def close(self):
        self.drop()
        self.check()

    def __exit__(self, kind, value, trace):
        self.drop()
        if kind is None:
            self.check()


class EventSource(faults.Watcher):
    """Comes back with the last id that it read, as browsers do."""

    def __init__(self, url, user):
        super().__init__(url, user)
        self.held = {"feed": wire.Subscription("feed", "jobs")}
        self.subscription.at_cursor = self.keep
        self.keep(self.subscription)

    @property
    def subscription(self):
        return self.held["feed"]

    def connect_once(self):
        subscription = self.subscription
        self.fall_back(subscription)
        last = subscription.cursor
        try:
            client = Stream(next(self.urls), self.user, subscription=subscription, last_event_id=last)
        except (OSError, http.client.HTTPException):
            return
        self.client = client
        try:
            with client.changed:
                while client.close_code is None and not self.stopping.is_set() and not client.problems:
                    client.changed.wait(0.2)
            client.check()
            if last and subscription.answer:
                self.answers.append(subscription.answer)
            if client.close_code is not None:
                self.codes.append(client.close_code)
        finally:
            self.client = None
            client.__exit__(Exception, None, None)
