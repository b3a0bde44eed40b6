"""What /metrics says, read as Prometheus reads it, and what docs/operations.md and the dashboard say of it."""

import json
import re
import time

import pytest
import websockets.exceptions
import wire
from conftest import ROOT
from faults import must
from prometheus_client import parser

OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
DASHBOARD = json.loads((ROOT / "docs" / "grafana-dashboard.json").read_text())
NAME = re.compile(r"\b(?:jobfeed|process)_[a-z_]+[a-z]\b")


class Page:
    def __init__(self, gateway):
        status, text, headers = gateway.get("/metrics")
        assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert text.endswith("\n")
        self.families = {}
        for family in parser.text_string_to_metric_families(text):
            # The parser takes the suffix off a counter's name.
            name = family.name + "_total" if family.type == "counter" else family.name
            assert name not in self.families, f"{name} stands twice"
            assert family.type in ("counter", "gauge", "histogram") and family.documentation, name
            self.families[name] = family
        assert re.findall(r"# TYPE (\S+)", text) == sorted(self.families)

    def __call__(self, name, **labels):
        values = [sample.value for family in self.families.values() for sample in family.samples
                  if sample.name == name and labels.items() <= sample.labels.items()]
        assert len(values) == 1, f"{name}{labels}: {values}"
        return values[0]

    @property
    def names(self):
        """As a query names them."""
        names = set(self.families)
        for family in self.families.values():
            if family.type == "histogram":
                names |= {family.name + suffix for suffix in ("_bucket", "_sum", "_count")}
        return names


@pytest.fixture
def page(gateway):
    return lambda: Page(gateway)


def eventually(condition):
    deadline = time.monotonic() + wire.PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_every_metric_is_documented_and_nothing_else_is(page):
    documented = set(NAME.findall(OPERATIONS.split("## Metrics")[1].split("\n## ")[0]))
    there = page()
    assert documented - there.names == set()
    assert set(there.families) - documented == set()


def test_the_dashboard_asks_for_metrics_that_are_there(page):
    expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    assert len(expressions) > 10
    names = page().names
    for expression in expressions:
        wanted = set(NAME.findall(expression))
        assert wanted and wanted <= names, expression
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_histograms_add_up(gateway, page):
    with gateway.client() as alice:
        assert alice.subscribe().state == "live"
    there = page()
    assert there("jobfeed_pool_wait_seconds_count") == there("jobfeed_pool_use_seconds_count") == 1
    for family in there.families.values():
        if family.type == "histogram":
            buckets = [sample for sample in family.samples if sample.name.endswith("_bucket")]
            counts = [sample.value for sample in buckets]
            assert counts == sorted(counts) and buckets[-1].labels["le"] == "+Inf"
            assert counts[-1] == there(family.name + "_count")


def test_clients_come_and_go(gateway, page):
    before = page()
    assert before("jobfeed_connections") == before("jobfeed_users") == before("jobfeed_subscriptions") == 0
    with gateway.client("alice") as one, gateway.client("alice") as two, gateway.client("bob") as three:
        for client in (one, two, three):
            client.welcome()
        subscription = one.subscribe()
        one.subscribe("jobs#counts")
        two.subscribe()
        during = page()
        assert during("jobfeed_connections") == during("jobfeed_connections_opened_total") == 3
        assert (during("jobfeed_users"), during("jobfeed_subscriptions")) == (2, 3)
        one.unsubscribe(subscription)
        assert page()("jobfeed_subscriptions") == 2
        three.drop()
        eventually(lambda: page()("jobfeed_connections") == 2)
        assert page()("jobfeed_users") == 1
    eventually(lambda: page()("jobfeed_connections") == 0)
    after = page()
    assert after("jobfeed_users") == after("jobfeed_subscriptions") == 0
    assert after("jobfeed_disconnects_total", code="1006", initiator="network") == 1
    assert after("jobfeed_disconnects_total", code="1000", initiator="client") == 2


def test_closing_by_the_server(gateway, page):
    with gateway.client() as alice:
        alice.welcome()
        alice.socket.send(b"binary")
        assert alice.closed() == 4500
    eventually(lambda: page()("jobfeed_connections") == 0)
    assert page()("jobfeed_disconnects_total", code="4500", initiator="server") == 1


def test_refusals(gateway, page):
    with gateway.client() as alice:
        alice.welcome()
        assert alice.subscribe("nowhere").error["code"] == "unknown_feed"
    assert page()("jobfeed_command_errors_total", code="unknown_feed") == 1
    assert gateway.get("/v1/feed", {"Authorization": "Bearer nonsense"})[0] == 401
    with pytest.raises(websockets.exceptions.InvalidStatus):
        gateway.client(bearer="nonsense")
    assert gateway.get("/nowhere")[0] == 404
    there = page()
    assert there("jobfeed_http_responses_total", status="401") == 2
    assert there("jobfeed_http_responses_total", status="404") == 1


def test_process(gateway, page):
    there = page()
    assert abs(there("process_start_time_seconds") - time.time()) < 600
    assert 1e6 < there("process_resident_memory_bytes") < there("process_virtual_memory_bytes")
    assert 0 < there("process_cpu_seconds_total") < 600
    assert 0 < there("process_open_fds") < there("process_max_fds")
    with gateway.client() as alice:
        alice.welcome()
        assert page()("process_open_fds") > there("process_open_fds")
    eventually(lambda: page()("jobfeed_event_loop_lag_seconds_count") > there("jobfeed_event_loop_lag_seconds_count"))


def test_lag(page):
    assert 0 <= page()("jobfeed_feed_as_of_lag_seconds") < 60


def test_a_token_is_in_no_label(gateway, page):
    with gateway.client("somebody-with-a-name") as client:
        client.welcome()
        client.subscribe()
        assert "somebody-with-a-name" not in gateway.get("/metrics")[1]


def test_spans_are_logged_at_level_debug(installed, gateways):
    """Of each answer to a subscription: where it came from, how long it took, and its part on a database session."""
    gateway = gateways(installed, log_level="debug")
    with gateway.client("alice") as client:
        client.subscribe("jobs:pending")
        again = client.subscribe()
        client.open(wire.Subscription("again", "jobs"), resume=again.cursor)

    def spans():
        found = []
        for line in gateway.stderr.splitlines():
            if "Span jobfeed." in line:
                fields = dict(re.findall(r"(\S+)=(\S+)", line))
                found.append((line.split("Span ")[1].split()[0], fields.get("jobfeed.cause"),
                              fields.get("jobfeed.source"), fields["trace"], float(fields["milliseconds"])))
        return found

    must(lambda: len(spans()) == 5, "five spans")
    assert [span[:3] for span in spans()] == [
        ("jobfeed.snapshot", None, None), ("jobfeed.subscribe", "subscribe", "rows"),
        ("jobfeed.snapshot", None, None), ("jobfeed.subscribe", "subscribe", "rows"),
        ("jobfeed.subscribe", "resume", "ring")]
    # A snapshot is part of its subscription, and takes no longer.
    for inner, outer in (spans()[0:2], spans()[2:4]):
        assert inner[3] == outer[3] and 0 < inner[4] <= outer[4]
    assert len({span[3] for span in spans()}) == 3
