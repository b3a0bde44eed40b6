"""The wire, sentence by sentence."""

import pytest


@pytest.mark.parametrize(
    "filter",
    ["created_at=gt.999999-01-01", "created_at=lt.-infinity", "id=eq.1e-9223372036854775808", "id=eq.1e9223372036854775807",
     "created_at=gt.0000-01-01", "id=eq.1e-199999", "id=in.(1e-9223372036854775808)", "payload->>a=eq.1e-9223372036854775808",
     "created_at=gt.2020-01-01T00:00:00-99:99", "path=like.%\\", "path=ilike.*\u0301*", "path=in.()", "path=in.(\"a\\", "path=eq.\u0000"])
def test_hostile_filters(gateway, installed, filter):
    writer = installed.connect()
    writer.execute("insert into thread (title, author) values ('t', 'alice')")
    with gateway.client() as alice:
        alice.subscribe("jobs", filter=filter)
        alice.subscribe("jobs")
        writer.execute("insert into job (assigned_to, path, payload) values (1, '/a', '{\"a\": 5}')")
        alice.wait(lambda: len(alice.subscriptions["s1"].rows) == 1, "the row")
        assert gateway.process.poll() is None
