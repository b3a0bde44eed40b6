"""Readers that are slower than what they watch: gauges give way first, and what cannot be kept is resumed."""

import contextlib
import json

import wire
from test_hostile import Reader, command, upgrade


def tick(house, job, number, size=20_000):
    house.run("update job set progress = %s where id = %s", json.dumps({"percent": number / 4, "message": "x" * size}), job)


def read(raw):
    """What a reader that begins to read now is told, until it is live and then silent for a second."""
    raw.settimeout(1)
    return Reader(raw)


def subscribed(house, user, channel="jobs", **options):
    raw = upgrade(house, user, receive_buffer=4096)
    raw.sendall(command(type="subscribe", id="s", channel=channel, **options))
    return raw


def changes(reader):
    return [change for message in reader.messages("changes") for change in message["changes"]]


def test_ticks_give_way_for_a_reader_that_pauses(house):
    """Far more than its bound is written while it does not read; it is told the last tick, in place and once."""
    user = house.user()
    job = house.job(house.thread(user))
    with house.client(user) as quick, contextlib.ExitStack() as stack:
        held = quick.subscribe()
        raw = stack.enter_context(subscribed(house, user))
        quick.ask({"type": "ping", "id": "p"}, "pong")
        for number in range(400):
            tick(house, job, number)
            # The other one reads each of them.
            quick.wait(lambda: (held.rows[str(job)]["progress"] or {}).get("percent") == number / 4, "the tick")
        house.run("update job set status = 'success' where id = %s", job)
        quick.wait(lambda: held.rows[str(job)]["status"] == "success", "the end")
        reader = read(raw)
        try:
            quick.wait(lambda: True)
            deadline = wire.PATIENCE
            while not any("status" in change.get("set", {}) for change in changes(reader)) and deadline > 0:
                reader.thread.join(0.1)
                deadline -= 0.1
            told = changes(reader)
            assert reader.code is None, (reader.code, reader.reason)
            percents = [change["set"]["progress"]["percent"] for change in told if "progress" in change.get("set", {})]
            # It missed most of them, but neither the last nor their order, and the end comes after it.
            assert percents == sorted(set(percents)) and percents[-1] == 399 / 4 and len(percents) < 300, len(percents)
            assert "status" in told[-1]["set"], told[-1].keys()
        finally:
            stack.close()
            reader.thread.join(wire.PATIENCE)

