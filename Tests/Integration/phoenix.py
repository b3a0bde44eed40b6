"""A Supabase Realtime client that shows each frame as it is; written from the wire format alone."""

import itertools
import json
import urllib.parse

import websockets.exceptions
import websockets.sync.client
import wire


class Phoenix:
    """One socket; reads only when it is asked to, so that frames come in their order."""

    def __init__(self, url, version="2.0.0", path="/realtime/v1/websocket", apikey="anon", headers=None):
        parameters = {"apikey": apikey, "vsn": version}
        query = urllib.parse.urlencode({name: value for name, value in parameters.items() if value is not None})
        self.version = version or "1.0.0"
        self.refs = itertools.count(1)
        connecting = websockets.sync.client.connect(
            url.replace("http", "ws", 1) + f"{path}?{query}", additional_headers=headers or {}, max_size=None,
            open_timeout=wire.PATIENCE, ping_interval=None, close_timeout=2, proxy=None)
        self.socket = connecting.__enter__()
        self.joins = {}

    # Writing

    def push(self, topic, event, payload, ref=..., join_ref=...):
        """Returns the ref."""
        ref = str(next(self.refs)) if ref is ... else ref
        join_ref = self.joins.get(topic) if join_ref is ... else join_ref
        if self.version.startswith("2"):
            message = [join_ref, ref, topic, event, payload]
        else:
            message = {"topic": topic, "event": event, "payload": payload, "ref": ref, "join_ref": join_ref}
        self.socket.send(json.dumps(message))
        return ref

    def ask_to_join(self, topic, bindings, token=None, broadcast=..., **config):
        config = {
            "broadcast": {"ack": False, "self": False} if broadcast is ... else broadcast,
            "presence": {"key": "", "enabled": False}, "postgres_changes": bindings, "private": False, **config}
        payload = {"config": config}
        if token is not None:
            payload["access_token"] = token
        ref = str(next(self.refs))
        self.joins[topic] = ref
        return self.push(topic, "phx_join", payload, ref, ref)

    def join(self, topic, bindings, token, **config):
        """Returns the bindings as the server echoes them, when rows flow."""
        ref = self.ask_to_join(topic, bindings, token, **config)
        reply = self.next()
        assert reply == {
            "join_ref": self.shown(ref), "ref": ref, "topic": topic, "event": "phx_reply", "payload": reply["payload"]}
        assert reply["payload"]["status"] == "ok", reply
        if bindings:
            assert self.next() == {
                "join_ref": self.shown(ref), "ref": None, "topic": topic, "event": "system",
                "payload": {
                    "extension": "postgres_changes", "status": "ok", "message": "Subscribed to PostgreSQL",
                    "channel": topic.removeprefix("realtime:")}}
        return reply["payload"]["response"]["postgres_changes"]

    def refused(self, topic, bindings, token=None, **config):
        """Joins and returns the reason of the refusal."""
        self.ask_to_join(topic, bindings, token, **config)
        reply = self.next()
        assert (reply["event"], reply["payload"]["status"]) == ("phx_reply", "error"), reply
        return reply["payload"]["response"]["reason"]

    # Reading

    def shown(self, join_ref):
        return join_ref if self.version.startswith("2") else None

    def next(self, timeout=wire.PATIENCE):
        frame = json.loads(self.socket.recv(timeout))
        if self.version.startswith("2"):
            assert isinstance(frame, list) and len(frame) == 5, frame
            return dict(zip(("join_ref", "ref", "topic", "event", "payload"), frame))
        assert set(frame) == {"event", "payload", "ref", "topic"}, frame
        return {"join_ref": None, **frame}

    def change(self):
        """The next frame, which has to be a change; its ids and its data."""
        frame = self.next()
        assert frame["event"] == "postgres_changes", frame
        assert frame["ref"] is None and frame["join_ref"] == self.shown(self.joins[frame["topic"]])
        assert set(frame["payload"]) == {"ids", "data"}
        return frame["payload"]["ids"], frame["payload"]["data"]

    def note(self, kind):
        """The next frame, which has to be a message of jobfeed's own."""
        frame = self.next()
        assert frame["event"] == "broadcast", frame
        assert (frame["payload"]["type"], frame["payload"]["event"]) == ("broadcast", "jobfeed")
        assert frame["payload"]["payload"]["type"] == kind, frame
        return frame["payload"]["payload"]

    def is_alive(self):
        ref = self.push("phoenix", "heartbeat", {}, join_ref=None)
        reply = self.next()
        assert reply == {
            "join_ref": None, "ref": ref, "topic": "phoenix", "event": "phx_reply",
            "payload": {"status": "ok", "response": {}}}, reply
        return True

    def closed(self):
        """Waits for the server to close; returns the code."""
        try:
            while True:
                self.socket.recv(wire.PATIENCE)
        except websockets.exceptions.ConnectionClosed:
            return self.socket.close_code

    def __enter__(self):
        return self

    def __exit__(self, *problem):
        self.socket.close()
