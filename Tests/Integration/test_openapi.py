"""What the gateway says of itself: /openapi.json and /asyncapi.json, beside what it does."""

import json

import hypothesis
import jsonschema
import pytest
import requests
import schemathesis
import wire
from faults import must
from schemathesis.checks import CHECKS
from sse import Refused, Stream

EXAMPLES = 15


@pytest.fixture(scope="module")
def openapi(house):
    return json.loads(house.gateway.get("/openapi.json")[1])


@pytest.fixture(scope="module")
def asyncapi(house):
    return json.loads(house.gateway.get("/asyncapi.json")[1])


def authorization(user="alice", access="account"):
    return {"Authorization": "Bearer " + wire.token(user, access)}


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/{KEY}", "/v1/jobs/{KEY}/history"])
def test_the_gateway_does_what_openapi_says(house, openapi, path):
    """Requests of all kinds, good and bad; every answer has to be one that is described."""
    house.job(house.thread("alice"))
    schema = schemathesis.openapi.from_dict(openapi)
    operation = schema[path]["GET"]
    # A filter or a column of any text is seldom one of the table.
    excluded = CHECKS.get_by_names(["positive_data_acceptance"])

    def check(case):
        case.call_and_validate(base_url=house.gateway.url, headers=authorization(), excluded_checks=excluded)

    for mode in schemathesis.GenerationMode:
        strategy = operation.as_strategy(generation_mode=mode)
        bounded = hypothesis.settings(
            max_examples=EXAMPLES, derandomize=True, database=None, deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck))
        bounded(hypothesis.given(strategy)(check))()


def described(openapi, path, response):
    """Checks an answer against what stands under its status."""
    responses = openapi["paths"][path]["get"]["responses"]
    assert str(response.status_code) in responses, response.status_code
    found = responses[str(response.status_code)]
    if "$ref" in found:
        found = openapi["components"]["responses"][found["$ref"].rsplit("/", 1)[1]]
    kind = response.headers["Content-Type"]
    assert kind in found["content"], (kind, response.text)
    for name, header in found.get("headers", {}).items():
        assert name in response.headers or not header.get("required"), name
    if kind != "text/event-stream":
        schema = {**found["content"][kind]["schema"], "components": openapi["components"]}
        jsonschema.Draft202012Validator(schema).validate(response.json())
    return response.status_code


def test_every_status_is_as_described(installed, gateways, openapi):
    gateway = gateways(installed, max_connections_per_user=1, max_connections=2)
    with installed.connect() as writer:
        thread = writer.execute("insert into thread (title, author) values ('t', 'alice') returning id").fetchone()[0]
        job = writer.execute("insert into job (assigned_to, path) values (%s, '/x') returning id", [thread]).fetchone()[0]
        writer.execute("update job set status = 'success' where id = %s", [job])
    events = {"Accept": "text/event-stream"}
    evil = {"Origin": "https://elsewhere.example"}

    def ask(path, url, headers, method="GET"):
        response = requests.request(method, gateway.url + url, headers=headers, timeout=wire.PATIENCE, stream=True)
        try:
            return described(openapi, path, response)
        finally:
            response.close()

    for path, url in [("/v1/jobs", "/v1/jobs"), ("/v1/jobs/{KEY}", f"/v1/jobs/{job}"),
                      ("/v1/jobs/{KEY}/history", f"/v1/jobs/{job}/history")]:
        mine = authorization()
        assert ask(path, url, mine) == 200
        assert ask(path, url + "?columns=nothing", mine) == 400
        assert ask(path, url, {}) == 401
        assert ask(path, url, {**mine, **evil}) == 403
        assert ask(path, url + "?feed=nothing", mine) == 404
        assert ask(path, url, mine, "PUT") == 405
    path = url = "/v1/feed"
    mine = {**authorization(), **events}
    assert ask(path, url, mine) == 400
    assert ask(path, url + "?channel=jobs", events) == 401
    assert ask(path, url + "?channel=jobs", {**mine, **evil}) == 403
    assert ask(path, url + "?channel=nothing", mine) == 404
    assert ask(path, url + "?channel=jobs", mine, "DELETE") == 405
    assert ask(path, url + "?channel=jobs", authorization()) == 426
    with Stream(gateway.url, "alice") as one:
        one.live()
        assert ask(path, url + "?channel=jobs", mine) == 429
        with Stream(gateway.url, "bob") as other:
            other.live()
            assert ask(path, url + "?channel=jobs", {**events, **authorization("carol")}) == 503

    def is_served():
        return ask(path, url + "?channel=jobs", mine) == 200

    must(is_served, "a free seat")


def test_asyncapi_is_well_formed(asyncapi):
    """AsyncAPI 3: what refers to something finds it, and every message has a schema and an example that fits."""
    assert asyncapi["asyncapi"] == "3.0.0" and set(asyncapi["info"]) >= {"title", "version"}

    def find(reference):
        found = asyncapi
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        return find(found["$ref"]) if "$ref" in found else found

    channel = asyncapi["channels"]["feed"]
    assert channel["address"] == "/v1/feed"
    told = []
    for operation in asyncapi["operations"].values():
        assert operation["action"] in ("send", "receive") and find(operation["channel"]["$ref"]) is channel
        for message in operation["messages"]:
            assert message["$ref"].startswith("#/channels/feed/messages/")
            told.append(find(message["$ref"])["name"])
    assert sorted(told) == sorted(channel["messages"]) == sorted(asyncapi["components"]["messages"])
    assert set(told) == set(wire.SHAPES) | {"subscribe", "unsubscribe", "authenticate", "ping"}
    for name in told:
        message = find(f"#/components/messages/{name}")
        jsonschema.Draft202012Validator.check_schema(message["payload"])
        for example in message["examples"]:
            jsonschema.Draft202012Validator(message["payload"]).validate(example["payload"])


def test_the_socket_says_what_asyncapi_says(house, asyncapi):
    """Every type of answer, from a live socket and from a stream of events."""
    schemas = {name: jsonschema.Draft202012Validator(message["payload"])
               for name, message in asyncapi["components"]["messages"].items()}
    user = house.user()
    thread = house.thread(user)
    job = house.job(thread)
    with house.client(user) as client, Stream(house.gateway.url, user) as stream, house.client("op", "operator") as operator:
        held = client.subscribe()
        client.subscribe("jobs#counts")
        gone = client.subscribe("jobs:failed")
        client.unsubscribe(gone)
        client.ask({"type": "ping", "id": "p"}, "pong")
        client.ask({"type": "authenticate", "id": "a", "token": wire.token(user)}, "authenticated")
        client.ask({"type": "subscribe", "id": "x", "channel": "nothing"}, "error")
        stream.live()
        operator.subscribe()
        house.run("update job set status = 'failed' where id = %s", job)
        other = house.job(thread)
        house.run("delete from job where id = %s", other)
        client.wait(lambda: held.log and held.log[-1][0] == "leave", "the changes")
        stream.wait(lambda: stream.held.log and stream.held.log[-1][0] == "leave", "the changes")
        for one in (client, stream):
            one.wait(lambda: any(frame["type"] == "heartbeat" for frame in one.frames), "a heartbeat")
        frames = client.frames + stream.frames + operator.frames
    for frame in json.loads(json.dumps(frames, default=float)):
        schemas[frame["type"]].validate(frame)
    # A reset takes a truncated table, which is not everybody's here.
    assert {frame["type"] for frame in frames} == set(wire.SHAPES) - {"reset"}
    with pytest.raises(Refused) as refused:
        Stream(house.gateway.url, user, channel="nothing")
    assert refused.value.status == 404
