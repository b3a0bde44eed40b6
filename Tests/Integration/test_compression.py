"""permessage-deflate (RFC 7692) with a client that nobody here wrote, and by the bytes of the handshake."""

import base64
import os
import socket

import pytest
import wire
from test_metrics import Page, eventually
from test_server import server

NO_TAKEOVER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


def handshake(gateway, *offers, user="alice"):
    """Status line and Sec-WebSocket-Extensions of the answer."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=wire.PATIENCE) as raw:
        fields = "".join(f"Sec-WebSocket-Extensions: {offer}\r\n" for offer in offers)
        raw.sendall((
            "GET /v1/feed HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n{fields}"
            f"Authorization: Bearer {wire.token(user)}\r\n\r\n").encode())
        head = b""
        while b"\r\n\r\n" not in head:
            part = raw.recv(4096)
            assert part, head
            head += part
        status, *lines = head.split(b"\r\n\r\n")[0].decode().split("\r\n")
        extensions = [line.split(":", 1)[1].strip() for line in lines if line.lower().startswith("sec-websocket-extensions:")]
        return int(status.split()[1]), extensions


@pytest.mark.parametrize(
    "offers, answer",
    [(["permessage-deflate; client_max_window_bits"], [NO_TAKEOVER]),
     (["permessage-deflate; server_max_window_bits=10"], [NO_TAKEOVER + "; server_max_window_bits=10"]),
     (["foo", "permessage-deflate; server_max_window_bits=8, permessage-deflate"], [NO_TAKEOVER]),
     (["permessage-deflate; foo"], []),
     (["foo; a=\"b\""], []),
     ([], [])],
    ids=str)
def test_offers(house, offers, answer):
    assert handshake(house.gateway, *offers) == (101, answer)


def test_a_malformed_offer(house):
    assert handshake(house.gateway, "permessage-deflate;") == (400, [])


@pytest.fixture
def gateway_with(installed, gateways):
    with installed.connect() as connection:
        connection.execute("insert into thread (title, author) values ('t', 'alice');"
                           "insert into job (assigned_to, path) select 1, '/path/of/' || n from generate_series(1, 200) n")
    return lambda **options: gateways(installed, **options)


def watch(gateway, deflate, **options):
    """What one subscription holds, and the extensions agreed on."""
    with gateway.client("alice", deflate=deflate, **options) as alice:
        held = alice.subscribe()
        return held.rows, [extension.name for extension in alice.socket.protocol.extensions]


def test_the_same_rows_in_fewer_bytes(gateway_with):
    gateway = gateway_with()
    plain, none = watch(gateway, deflate=False)
    assert (len(plain), none) == (200, [])
    assert Page(gateway)("jobfeed_deflate_plain_bytes_total") == 0
    # It asks for windows of 12 bits.
    assert watch(gateway, deflate=True) == (plain, ["permessage-deflate"])
    page = Page(gateway)
    before, after = page("jobfeed_deflate_plain_bytes_total"), page("jobfeed_deflate_sent_bytes_total")
    assert before > 20_000 and after < before / 4


def test_the_threshold(gateway_with):
    """A snapshot that is below it goes out as it is."""
    gateway = gateway_with(compression_threshold=1 << 24)
    assert watch(gateway, deflate=True)[1] == ["permessage-deflate"]
    assert Page(gateway)("jobfeed_deflate_plain_bytes_total") == 0


def test_many_receivers_of_a_short_message(gateway_with, installed):
    """Twenty of an event loop hear of a change in the same bytes: the first sixteen as they are."""
    gateway = gateway_with()
    clients = [gateway.client("alice", deflate=True) for _ in range(20 * (os.cpu_count() or 1))]
    held = [client.subscribe(snapshot=False) for client in clients]
    with installed.connect() as connection:

        def some_are_compressed():
            connection.execute("insert into job (assigned_to, path) values (1, repeat('/path', 60))")
            heard = [len(subscription.log) for subscription in held]
            for client, subscription, before in zip(clients, held, heard):
                client.wait(lambda: len(subscription.log) > before, "the change")
            return Page(gateway)("jobfeed_deflate_plain_bytes_total") > 0

        # Whose first read is not over gets a change on its own.
        eventually(some_are_compressed)
    assert all(len(str(frame)) < 1024 for subscription in held for frame in subscription.frames)
    for client in clients:
        client.close()


@pytest.mark.parametrize("written", ["flag", "off", "false", '"off"'])
def test_switched_off(gateway_with, tmp_path, written):
    file = tmp_path / "jobfeed.yml"
    file.write_text(f"compression: {written}\n")
    gateway = gateway_with(compression="off") if written == "flag" else gateway_with(config=file)
    assert watch(gateway, deflate=True)[1] == []
    assert handshake(gateway, "permessage-deflate") == (101, [])


@pytest.mark.parametrize(
    "option, complaint",
    [(("--compression", "maybe"), "has to be on or off"), (("--compression-threshold", 63), "from 64 to 16777216")], ids=str)
@pytest.mark.parametrize("command", ["serve", "check"])
def test_settings_are_checked(house, command, option, complaint):
    code, _, errors = server(command, *map(str, option), DATABASE_URL=house.database.dsn(), JOBFEED_JWT_SECRET=wire.SECRET)
    assert code == 78 and complaint in errors, errors
