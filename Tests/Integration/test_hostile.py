"""Peers that mean harm, by HTTP, by frames and by commands.

In every test somebody else is connected before, and gets changes and pongs as ever; the memory of the process stays under
a bound, and it gives back its file descriptors.
"""

import base64
import contextlib
import json
import os
import socket
import struct
import threading
import time
import zlib

import pytest
import wire

# What the process may grow by in one test. Measured with a debug build: see the numbers beside what needs more.
BOUND_MB = 64
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def status_mb(pid, name):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(name + ":"))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def wait(condition, what):
    deadline = time.monotonic() + wire.PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


class Bystander:
    """Somebody who watches a job that changes all the time, and who asks for pongs meanwhile."""

    def __init__(self, house):
        self.house, self.user = house, house.user()
        self.job = house.job(house.thread(self.user))
        self.client = house.client(self.user)
        self.held = self.client.subscribe()
        self.writer = house.database.connect()
        self.stopping = threading.Event()
        self.written = 0
        self.failure = None
        self.thread = threading.Thread(target=self.write, daemon=True)
        self.thread.start()

    def write(self):
        try:
            while not self.stopping.wait(0.05):
                self.written += 1
                self.writer.execute("update job set retries = %s where id = %s", [self.written, self.job])
                if self.written % 10 == 0:
                    self.client.send({"type": "ping", "id": f"p{self.written}"})
        except Exception as failure:
            self.failure = failure

    def is_served(self):
        """Waits for a change and a pong that were not there before."""
        at = self.written
        self.client.wait(lambda: self.held.rows[str(self.job)]["retries"] > at, "a change")
        pongs = len(self.client.unmatched)
        self.client.wait(lambda: len(self.client.unmatched) > pongs, "a pong")

    def finish(self):
        self.is_served()
        self.stopping.set()
        self.thread.join(wire.PATIENCE)
        assert self.failure is None
        self.client.wait(lambda: self.held.rows[str(self.job)]["retries"] == self.written, "the last change")
        values = [columns["retries"] for _, _, _, columns in self.held.log if "retries" in columns]
        assert values == sorted(values) and self.held.resets == []
        self.client.close()


@pytest.fixture
def bound():
    return BOUND_MB


@pytest.fixture(autouse=True)
def bystander(house, bound):
    pid = house.gateway.process.pid
    before = descriptors(pid)
    someone = Bystander(house)
    with open(f"/proc/{pid}/clear_refs", "w") as peak:
        peak.write("5")
    base = status_mb(pid, "VmRSS")
    yield someone
    assert house.gateway.process.poll() is None, house.gateway.stderr[-2000:]
    someone.finish()
    peak = status_mb(pid, "VmHWM")
    print(f"memory: {base:.0f} MB, at most {peak:.0f} MB")
    assert peak - base < bound, f"grew from {base:.0f} to {peak:.0f} MB"
    # Sessions of the snapshot pool stay.
    wait(lambda: descriptors(pid) <= before + 4, f"no more than {before + 4} descriptors; they are {descriptors(pid)}")
    assert "Fatal" not in house.gateway.stderr


# Raw connections


def connect(house, timeout=wire.PATIENCE, receive_buffer=None):
    raw = socket.socket()
    if receive_buffer:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    raw.settimeout(timeout)
    raw.connect(("127.0.0.1", house.gateway.port))
    return raw


def upgrade(house, user=None, access="account", receive_buffer=None, deflate=False):
    """A connection that has become a WebSocket; without a user it is not authenticated."""
    raw = connect(house, receive_buffer=receive_buffer)
    bearer = f"Authorization: Bearer {wire.token(user, access)}\r\n" if user else ""
    if deflate:
        bearer += "Sec-WebSocket-Extensions: permessage-deflate\r\n"
    raw.sendall((
        "GET /v1/feed HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n{bearer}\r\n").encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += raw.recv(1)
    assert head.startswith(b"HTTP/1.1 101"), head
    return raw


def frame(opcode, payload=b"", fin=True, rsv=0, masked=True, length=None):
    length = len(payload) if length is None else length
    head = bytes([fin << 7 | rsv << 4 | opcode])
    bit = masked << 7
    if length < 126:
        head += bytes([bit | length])
    elif length < 1 << 16:
        head += struct.pack("!BH", bit | 126, length)
    else:
        head += struct.pack("!BQ", bit | 127, length)
    # The key of zeros leaves the payload as it is.
    return head + (b"\0\0\0\0" if masked else b"") + payload


def command(**fields):
    return frame(TEXT, json.dumps(fields).encode())


class Reader:
    """Reads frames in a thread of its own until the connection ends."""

    def __init__(self, raw):
        self.raw, self.frames, self.code, self.reason = raw, [], None, None
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def exactly(self, count):
        parts = b""
        while len(parts) < count:
            part = self.stream.read(count - len(parts))
            if not part:
                raise EOFError
            parts += part
        return parts

    def read(self):
        self.stream = self.raw.makefile("rb")
        with contextlib.suppress(EOFError, OSError):
            while True:
                first, length = self.exactly(2)
                if length > 125:
                    length = int.from_bytes(self.exactly(2 if length == 126 else 8), "big")
                payload = self.exactly(length)
                if first & 15 == CLOSE:
                    self.code = int.from_bytes(payload[:2], "big")
                    self.reason = payload[2:].decode()
                    return
                self.frames.append((first & 15, payload))
        self.code = self.code or 1006

    def ended(self):
        """The close code."""
        self.thread.join(wire.PATIENCE)
        assert not self.thread.is_alive(), f"not closed; {len(self.frames)} frames came"
        return self.code

    def messages(self, kind=None):
        parsed = [json.loads(payload) for opcode, payload in list(self.frames) if opcode == TEXT]
        return [message for message in parsed if kind in (None, message["type"])]


def send(raw, data):
    """Sends what the peer takes; a connection that it closed meanwhile is no failure."""
    with contextlib.suppress(ConnectionError):
        raw.sendall(data)
        return True
    return False


@contextlib.contextmanager
def hostile(house, user=None, **options):
    with upgrade(house, user, **options) as raw:
        reader = Reader(raw)
        try:
            yield raw, reader
        finally:
            # The reader's file keeps the socket open beyond its own close.
            with contextlib.suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)
            reader.thread.join(wire.PATIENCE)
            reader.stream.close()


def answers(raw):
    """Everything until the peer closes, or until it has nothing more to say."""
    data = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        while part := raw.recv(1 << 16):
            data += part
    return data


# HTTP

HOST = b"Host: x\r\n"
UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
KEY = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
VERSION = b"Sec-WebSocket-Version: 13\r\n"
NEXT = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

# Name, bytes, and what the status line may be; 0: closed without one.
REQUESTS = [
    ("a header of 1 MB", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (1 << 20) + b"\r\n\r\n", {0, 400, 431}),
    ("a name of 1 MB", b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"a" * (1 << 20) + b": x\r\n\r\n", {0, 400, 431}),
    ("a request line of 1 MB", b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\nHost: x\r\n\r\n", {0, 400, 414, 431}),
    ("a method of 1 MB", b"A" * (1 << 20) + b" / HTTP/1.1\r\nHost: x\r\n\r\n", {0, 400, 431}),
    ("20,000 headers", b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", {0, 400, 431}),
    ("an unknown method", b"BREW /healthz HTTP/1.1\r\n" + HOST + b"\r\n", {0, 400, 404, 405, 501}),
    ("a small method", b"get /healthz HTTP/1.1\r\n" + HOST + b"\r\n", {0, 400, 404, 405}),
    ("CONNECT", b"CONNECT example.com:443 HTTP/1.1\r\n" + HOST + b"\r\n", {0, 400, 404, 405}),
    ("DELETE", b"DELETE /healthz HTTP/1.1\r\n" + HOST + b"\r\n", {404, 405}),
    ("an absolute form", b"GET http://example.com/healthz HTTP/1.1\r\n" + HOST + b"\r\n", {200, 400, 404}),
    ("dots", b"GET /../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", {400, 404}),
    ("escaped dots", b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", {400, 404}),
    ("an escaped slash", b"GET /..%2f..%2fetc%2fpasswd HTTP/1.1\r\n" + HOST + b"\r\n", {400, 404}),
    ("a double slash", b"GET //etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", {400, 404}),
    ("NUL", b"GET /healthz\0 HTTP/1.1\r\n" + HOST + b"\r\n", {0, 400, 404}),
    ("an escaped NUL", b"GET /healthz%00 HTTP/1.1\r\n" + HOST + b"\r\n", {400, 404}),
    ("half an escape", b"GET /healthz%4 HTTP/1.1\r\n" + HOST + b"\r\n", {400, 404}),
    ("no UTF-8", b"GET /\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n", {0, 400, 404}),
    ("no Host", b"GET /nowhere HTTP/1.1\r\n\r\n", {400, 404}),
    ("two Hosts", b"GET /nowhere HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", {400, 404}),
    ("an odd Host", b"GET /nowhere HTTP/1.1\r\nHost: a b/<>\r\n\r\n", {400, 404}),
    ("HTTP/0.9", b"GET /healthz\r\n\r\n", {0, 400}),
    ("HTTP/9.9", b"GET /healthz HTTP/9.9\r\n" + HOST + b"\r\n", {0, 400, 505}),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0", {0, 400, 505}),
    ("TLS", bytes.fromhex("16030100c8010000c40303") + os.urandom(200), {0, 400}),
    ("noise", bytes(range(256)) * 100, {0, 400}),
    ("empty lines", b"\r\n" * 200_000, {0, 400}),
    ("both lengths", b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
     {0, 400}),
    ("two lengths", b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\n" + NEXT, {0, 400}),
    ("a length with a sign", b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: +0\r\n\r\n" + NEXT, {0, 400}),
    ("a negative length", b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n" + NEXT, {0, 400}),
    ("a length beyond all", b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n" + NEXT, {0, 400}),
    ("an unknown coding", b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n" + NEXT, {0, 400, 404, 501}),
    ("chunked, then not", b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + NEXT,
     {0, 400, 501}),
    ("a chunk beyond all", b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n" + NEXT,
     {0, 400, 404}),
    ("a space before the colon", b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length : 40\r\n\r\n" + NEXT, {0, 400}),
    ("a folded header", b"POST /a HTTP/1.1\r\nHost: x\r\nX: a\r\n Content-Length: 40\r\n\r\n" + NEXT, {0, 400}),
    ("NUL in a header", b"GET /a HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n", {0, 400}),
    ("an upgrade without a key", b"GET /v1/feed HTTP/1.1\r\n" + HOST + UPGRADE + VERSION + b"\r\n", {400}),
    ("an upgrade with two keys", b"GET /v1/feed HTTP/1.1\r\n" + HOST + UPGRADE + VERSION + KEY + KEY + b"\r\n", {400}),
    ("an upgrade of version 8", b"GET /v1/feed HTTP/1.1\r\n" + HOST + UPGRADE + KEY + b"Sec-WebSocket-Version: 8\r\n\r\n", {426}),
    ("an upgrade without a version", b"GET /v1/feed HTTP/1.1\r\n" + HOST + UPGRADE + KEY + b"\r\n", {426}),
    ("an upgrade by POST", b"POST /v1/feed HTTP/1.1\r\n" + HOST + UPGRADE + KEY + VERSION + b"\r\n", {400, 404, 405, 426}),
    ("an upgrade with a body", b"GET /v1/feed HTTP/1.1\r\nContent-Length: 10\r\n" + HOST + UPGRADE + KEY + VERSION + b"\r\n0123",
     {0, 400, 413, 426}),
    ("an upgrade elsewhere", b"GET /v1/%66eed HTTP/1.1\r\n" + HOST + UPGRADE + KEY + VERSION + b"\r\n", {404}),
]


def test_requests(house):
    wrong = []
    for name, request, allowed in REQUESTS:
        with connect(house) as raw:
            send(raw, request)
            # What asks for more bytes gets none.
            with contextlib.suppress(OSError):
                raw.shutdown(socket.SHUT_WR)
            data = answers(raw)
            status = int(data.split(b" ", 2)[1]) if data.startswith(b"HTTP/1.1 ") else 0
            # The hidden request would be answered with a second 404.
            if status not in allowed or (NEXT in request and data.count(b" 404 ") > 1) or b"root:" in data:
                wrong.append((name, data[:300]))
    assert not wrong


def test_an_upgrade_to_something_else(house):
    with connect(house) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n" + HOST + b"\r\n")
        assert raw.recv(1 << 16).startswith(b"HTTP/1.1 200")


def test_head(house):
    with connect(house) as raw:
        raw.sendall(b"HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = answers(raw)
    assert data.startswith(b"HTTP/1.1 200") and data.endswith(b"\r\n\r\n"), data


def test_pipelining(house):
    """Answered one after the other, also when nobody reads the answers for a while."""
    times = 2000
    with connect(house) as raw:
        sender = threading.Thread(target=send, args=(raw, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * times), daemon=True)
        sender.start()
        data = b""
        while data.count(b"HTTP/1.1 200") < times:
            part = raw.recv(1 << 16)
            assert part, f"closed after {data.count(b'HTTP/1.1 200')}"
            data += part
        sender.join(wire.PATIENCE)


def test_a_body_without_end(house):
    """To a route that wants none: answered or closed, and never kept."""
    for head in (b"Content-Length: 10000000000", b"Transfer-Encoding: chunked"):
        with connect(house) as raw:
            raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
            piece = b"a" * (1 << 20)
            raw.settimeout(1)
            with contextlib.suppress(OSError):
                for _ in range(100):
                    raw.sendall((b"100000\r\n" + piece + b"\r\n") if head.startswith(b"Transfer") else piece)


def test_peers_that_say_little(house, bystander):
    """Half a request, byte by byte or not at all, no token: each is closed when its time is over, in spite of its bytes."""
    peers = []
    with contextlib.ExitStack() as stack:
        for number in range(120):
            raw = stack.enter_context(upgrade(house) if number % 3 == 0 else connect(house))
            if number % 3 == 1:
                raw.sendall(b"GET /v1/feed HTTP/1.1\r\nHost: x\r\nX-")
            if number == 4:
                raw.shutdown(socket.SHUT_WR)
            peers.append((number, raw))
        open_peers = dict(peers)
        deadline = time.monotonic() + wire.PATIENCE
        while open_peers:
            assert time.monotonic() < deadline, f"{len(open_peers)} are still open"
            time.sleep(0.2)
            for number, raw in list(open_peers.items()):
                try:
                    # The first two kinds drip; the third stays silent.
                    if number % 3 == 0:
                        raw.send(frame(PING))
                    elif number % 3 == 1 and number != 4:
                        raw.send(b"a")
                    raw.setblocking(False)
                    while raw.recv(1 << 16):
                        pass
                    del open_peers[number]
                except BlockingIOError:
                    pass
                except OSError:
                    del open_peers[number]
            if len(open_peers) == 120:
                bystander.is_served()


# Frames

FRAMES = [
    ("unmasked", frame(TEXT, b"{}", masked=False), 1002),
    ("RSV1, as compressed", frame(TEXT, b"\xaa\x56\x2a\xa9\x2c\x48\x55\xb2\x52\xaa\x05\x00", rsv=4), 1002),
    ("RSV2", frame(TEXT, b"{}", rsv=2), 1002),
    ("RSV3 of a ping", frame(PING, rsv=1), 1002),
    ("opcode 3", frame(3, b"{}"), 1002),
    ("opcode 15", frame(15), 1002),
    ("a long ping", frame(PING, b"a" * 126), 1002),
    ("a ping in pieces", frame(PING, fin=False), 1002),
    ("a continuation of nothing", frame(0, b"{}"), 1002),
    ("a close of one byte", frame(CLOSE, b"\3"), 1002),
    ("a close with 1005", frame(CLOSE, b"\3\xed"), 1002),
    ("a length of 2^63", frame(TEXT, b"{}", length=1 << 63), 1009),
    ("a length of 2^64 - 1", frame(TEXT, b"{}", length=(1 << 64) - 1), 1009),
    ("a length of 4 GB", frame(TEXT, b"{}", length=1 << 32), 1009),
    ("a byte too much", frame(TEXT, b'"' + b"a" * 65_534 + b'" '), 1009),
    ("no UTF-8", frame(TEXT, b'{"type":"ping","id":"\xff"}'), 1007),
    ("a surrogate", frame(TEXT, b'{"type":"ping","id":"\xed\xa0\x80"}'), 1007),
    ("binary", frame(BINARY, b"{}"), 4500),
    ("binary in pieces", frame(BINARY, b"{", fin=False) + frame(0, b"}"), 4500),
    ("an empty text", frame(TEXT), 4500),
    ("arrays in 10,000 arrays", frame(TEXT, b"[" * 10_000 + b"]" * 10_000), 4500),
    ("objects in 10,000 objects", frame(TEXT, b'{"a":' * 10_000 + b"1" + b"}" * 10_000), 4500),
    ("a lone surrogate", frame(TEXT, b'{"type":"ping","id":"\\ud800"}'), 4500),
    ("a message without end", frame(TEXT, b"{", fin=False) + frame(0, b" " * 1000, fin=False) * 1000, 1009),
    ("binary without end", frame(BINARY, b"{", fin=False) + frame(0, b" " * 1000, fin=False) * 1000, 1009),
]


@pytest.mark.parametrize("authenticated", [True, False])
def test_frames(house, authenticated):
    for name, data, wanted in FRAMES:
        with hostile(house, house.user() if authenticated else None) as (raw, reader):
            send(raw, data)
            assert reader.ended() == wanted, f"{name}: {reader.code} {reader.reason}"


def deflated(data):
    """As permessage-deflate sends it; the longest data in a moment and a few kilobytes."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    parts = [compressor.compress(data[at:at + (1 << 20)]) for at in range(0, len(data), 1 << 20)]
    return (b"".join(parts) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def empty_blocks():
    """64 KB of blocks that hold nothing but the tables of their codes, of 90 bits each."""
    order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1]
    fields = [(0, 1), (2, 2), (0, 5), (0, 5), (14, 4), *((symbol in (18, 1), 3) for symbol in order),
              # 256 literals that do not occur, one that ends the block, one distance; and that end.
              (1, 1), (138 - 11, 7), (1, 1), (118 - 11, 7), (0, 3)]
    block, length = 0, 0
    for value, width in fields:
        block |= value << length
        length += width
    eight = sum(block << length * index for index in range(8)).to_bytes(length, "little")
    return eight * 720 + b"\0"


PING_COMMAND = b'{"type":"ping","id":"x"}'
COMPRESSED_FRAMES = [
    ("no deflate", frame(TEXT, PING_COMMAND, rsv=4), 1007),
    ("cut off", frame(TEXT, deflated(PING_COMMAND)[:-4], rsv=4), 1007),
    ("no UTF-8", frame(TEXT, deflated(b'{"type":"ping","id":"\xff"}'), rsv=4), 1007),
    ("refers to the message before", frame(TEXT, b"\xf2\x00\x11\x00\x00", rsv=4), 1007),
    ("no JSON", frame(TEXT, deflated(b"{"), rsv=4), 4500),
    ("empty", frame(TEXT, b"\0", rsv=4), 4500),
    ("binary", frame(BINARY, deflated(b"{}"), rsv=4), 4500),
    ("RSV1 of a ping", frame(PING, deflated(b"a"), rsv=4), 1002),
    ("RSV1 of a close", frame(CLOSE, deflated(b"\3\xe8"), rsv=4), 1002),
    ("RSV1 of a continuation", frame(TEXT, PING_COMMAND, fin=False) + frame(0, b"", rsv=4), 1002),
    ("RSV1 and RSV2", frame(TEXT, deflated(PING_COMMAND), rsv=6), 1002),
    ("a byte too much", frame(TEXT, deflated(b" " * 65_537), rsv=4), 1009),
    ("much for nothing", frame(TEXT, empty_blocks(), rsv=4), 1009),
    ("much for nothing, as last blocks", frame(TEXT, b"\3\0" * 32_000, rsv=4), 1009),
    ("arrays in 10,000 arrays", frame(TEXT, deflated(b"[" * 10_000 + b"]" * 10_000), rsv=4), 4500),
]


@pytest.mark.parametrize("authenticated", [True, False])
def test_compressed_frames(house, authenticated):
    assert zlib.decompressobj(-15).decompress(empty_blocks() + b"\0\0\xff\xff") == b""
    for name, data, wanted in COMPRESSED_FRAMES:
        with hostile(house, house.user() if authenticated else None, deflate=True) as (raw, reader):
            send(raw, data)
            assert reader.ended() == wanted, f"{name}: {reader.code} {reader.reason}"
    # What is allowed: in pieces, with a ping between, and to the byte.
    with hostile(house, house.user(), deflate=True) as (raw, reader):
        data = deflated(PING_COMMAND)
        raw.sendall(frame(TEXT, data[:5], fin=False, rsv=4) + frame(PING) + frame(0, data[5:]))
        raw.sendall(frame(TEXT, deflated(PING_COMMAND[:-1] + b" " * (65_536 - len(PING_COMMAND)) + b"}"), rsv=4))
        wait(lambda: len(reader.messages("pong")) == 2, "two pongs")


def test_bombs(house, bystander):
    """Each stands for 64 MB; forty at once would be 2.5 GB."""
    bomb = deflated(b"a" * (64 << 20))
    assert len(bomb) < 65_536
    in_one = frame(TEXT, bomb, rsv=4)
    in_pieces = frame(TEXT, bomb[:1000], fin=False, rsv=4) + b"".join(
        frame(0, bomb[at:at + 1000], fin=at + 1000 >= len(bomb)) for at in range(1000, len(bomb), 1000))
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(hostile(house, house.user(), deflate=True)) for _ in range(40)]
        for number, (raw, _) in enumerate(peers):
            send(raw, in_pieces if number % 2 else in_one)
        bystander.is_served()
        assert {reader.ended() for _, reader in peers} == {1009}


def test_a_message_of_the_allowed_size_in_single_bytes(house):
    text = b'{"type":"ping","id":"x"' + b" " * (65_536 - 24) + b"}"
    with hostile(house, house.user()) as (raw, reader):
        pieces = [frame(TEXT, text[:1], fin=False)]
        pieces += [frame(0, text[at:at + 1], fin=False) for at in range(1, len(text) - 1)]
        assert send(raw, b"".join(pieces) + frame(0, text[-1:]))
        wait(lambda: reader.messages("pong"), "the pong")


FLOODS = {
    "pings": frame(PING, b"a" * 125),
    "pongs": frame(PONG),
    "empty fragments": frame(0, fin=False),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_floods_of_frames(house, bystander, kind):
    with hostile(house, house.user()) as (raw, reader):
        if kind == "empty fragments":
            raw.sendall(frame(TEXT, b" ", fin=False))
        for _ in range(30):
            send(raw, FLOODS[kind] * 1000)
        bystander.is_served()
        reader.frames.clear()


def test_a_flood_of_pings_whose_answers_nobody_reads(house, bystander):
    with upgrade(house, house.user(), receive_buffer=4096) as raw:
        raw.settimeout(2)
        with contextlib.suppress(TimeoutError):
            for _ in range(60):
                if not send(raw, frame(PING, b"a" * 125) * 1000):
                    break
        bystander.is_served()


# Commands

TIMES = 100_000


def flood(raw, make):
    """Sends 100,000 commands, or as many as are taken before the connection ends."""
    at_once = max(1, min(1000, (1 << 20) // len(make(0))))
    return all(send(raw, b"".join(make(number) for number in range(start, start + at_once)))
               for start in range(0, TIMES, at_once))


FLOODS_OF_COMMANDS = {
    "pings": (lambda number: command(type="ping", id="p"), 4003),
    "subscriptions": (lambda number: command(type="subscribe", id=f"s{number}", channel="jobs"), 4500),
    "subscriptions of the same id": (lambda number: command(type="subscribe", id="s", channel="jobs"), 4500),
    "unknown feeds": (lambda number: command(type="subscribe", id=f"s{number}", channel=f"nothing{number}"), 4500),
    "cycles": (lambda number: command(type="subscribe", id="s", channel="jobs")
               + command(type="unsubscribe", id="s"), 4003),
    "cycles with filters": (lambda number: command(type="subscribe", id="s", channel="jobs", filter="path=like.*a*b*")
                            + command(type="unsubscribe", id="s"), 4003),
    "bad tokens": (lambda number: command(type="authenticate", id="a", token="a.b.c"), 4500),
    "errors": (lambda number: command(type="unsubscribe", id=f"u{number}"), 4500),
    "long messages": (lambda number: frame(TEXT, b'{"type":"ping","id":"p"' + b" " * 60_000 + b"}"), 4003),
    "fields": (lambda number: frame(TEXT, json.dumps(
        {"type": "ping", "id": "p", **{f"field{at}": at for at in range(3000)}}).encode()), 4003),
}


@pytest.mark.parametrize("kind", FLOODS_OF_COMMANDS)
def test_floods_of_commands(house, bystander, kind):
    """Closed, and somebody else is served while it lasts."""
    make, wanted = FLOODS_OF_COMMANDS[kind]
    with hostile(house, house.user()) as (raw, reader):
        flood(raw, make)
        bystander.is_served()
        assert reader.ended() == wanted, reader.reason
        assert len(reader.messages("subscribed")) <= 2000


def test_a_flood_before_the_token(house):
    with hostile(house) as (raw, reader):
        flood(raw, lambda number: command(type="subscribe", id="s", channel="jobs"))
        assert reader.ended() == 4500
    with hostile(house) as (raw, reader):
        token = wire.token(house.user())
        flood(raw, lambda number: command(type="authenticate", id="a", token=token))
        assert reader.ended() in (4500, 4003)


def test_a_burst_of_a_well_behaved_client(house):
    """All that a client may have open, at once, after a reconnect."""
    with hostile(house, house.user()) as (raw, reader):
        send(raw, b"".join(command(type="subscribe", id=f"s{number}", channel="jobs") for number in range(128)))
        send(raw, b"".join(command(type="ping", id=f"p{number}") for number in range(500)))
        wait(lambda: len(reader.messages("live")) == 128 and len(reader.messages("pong")) == 500, "the answers")


def test_fields_of_any_length(house, bystander):
    long = "a" * 60_000
    commands = [
        {"id": long}, {"id": "s", "channel": long}, {"id": "s", "channel": "jobs:" + ",".join(["x"] * 20_000)},
        {"id": "s", "channel": "jobs/" + long}, {"id": "s", "channel": "jobs", "filter": long},
        {"id": "s", "channel": "jobs", "filter": "path=eq." + long}, {"id": "s", "channel": "jobs", "filter": long + "=eq.1"},
        {"id": "s", "channel": "jobs", "filter": "id=in.(" + ",".join(map(str, range(10_000))) + ")"},
        {"id": "s", "channel": "jobs", "filter": "&".join(["id=eq.1"] * 5000)},
        {"id": "s", "channel": "jobs", "filter": "path=like." + "%_" * 20_000},
        {"id": "s", "channel": "jobs", "filter": "path=ilike." + "\u0301" * 10_000},
        {"id": "s", "channel": "jobs", "columns": ["status"] * 5000}, {"id": "s", "channel": "jobs", "columns": [long]},
        {"id": "s", "channel": "jobs", "resume": long}, {"id": "s", "channel": "jobs", "limit": 10**400},
        {"id": "s", "channel": "jobs", "max_rate": 10**400}, {"id": "s", "channel": "jobs", "max_rate": 5e-324},
    ]
    for fields in commands:
        with hostile(house, house.user()) as (raw, reader):
            send(raw, command(type="subscribe", **fields))
            wait(lambda: [m for m in reader.messages() if m["type"] in ("subscribed", "error")], f"an answer to {str(fields)[:80]}")
            answer = [payload for opcode, payload in reader.frames if b'"error"' in payload]
            assert not answer or len(answer[0]) < 70_000
    bystander.is_served()


@pytest.mark.parametrize("rate", ["5e-324", "1e-9", "1e308", "1.7976931348623157e308"])
def test_rates(house, bystander, rate):
    user = house.user()
    job = house.job(house.thread(user))
    with hostile(house, user) as (raw, reader):
        send(raw, frame(TEXT, b'{"type":"subscribe","id":"s","channel":"jobs","max_rate":%s}' % rate.encode()))
        wait(lambda: reader.messages("live"), "live")
        for number in range(20):
            house.run("update job set progress = %s where id = %s", json.dumps({"percent": number}), job)
        house.run("update job set status = 'processing' where id = %s", job)
        wait(lambda: any("processing" in str(message) for message in reader.messages("changes")), "the status")


def test_expensive_filters(house, bystander):
    """No pattern takes more than length × tokens steps; see LikePattern."""
    user = house.user()
    thread = house.thread(user)
    with hostile(house, user) as (raw, reader):
        for number, pattern in enumerate(["*a" * 120 + "b", "*" + "a" * 200 + "b", "_*" * 120, "*" + "_" * 200 + "b"]):
            many = "&".join([f"path=not.like.{pattern}"] * 30)
            send(raw, command(type="subscribe", id=f"s{number}", channel="jobs", filter=many))
        wait(lambda: len(reader.messages("live")) == 4, "live")
        house.job(thread, path="a" * 1000)
        bystander.is_served()


def forged_cursor(epoch, xmin, xmax, running):
    def varint(value):
        out = bytearray()
        while value >= 0x80:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        return bytes(out) + bytes([value])

    data = b"\1" + epoch + varint(xmin) + varint(xmax - xmin) + varint(len(running))
    previous = xmin
    for xid in running:
        data += varint(xid - previous)
        previous = xid
    checksum = 0xCBF29CE484222325
    for byte in data:
        checksum = (checksum ^ byte) * 0x100000001B3 % (1 << 64)
    data += (checksum & 0xFFFF).to_bytes(2, "big")
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def test_cursors_with_thousands_of_transactions(house, bystander):
    epoch = base64.urlsafe_b64decode(bystander.held.cursor + "=" * (-len(bystander.held.cursor) % 4))[1:9]
    now = int(house.one("select pg_snapshot_xmax(pg_current_snapshot())::text"))
    cursors = [
        forged_cursor(epoch, now, now + 100_000, range(now, now + 4000)),
        forged_cursor(epoch, now, now + 100_000, range(now, now + 80_000, 20)),
        forged_cursor(epoch, 3, now, range(3, min(now, 4003))),
        forged_cursor(epoch, 1, 1 << 63, range(1, 40_000, 10)),
        forged_cursor(epoch, (1 << 64) - 5000, (1 << 64) - 1, range((1 << 64) - 4500, (1 << 64) - 500)),
        forged_cursor(bytes(8), now, now + 100_000, range(now, now + 4000)),
    ]
    for cursor in cursors:
        with hostile(house, house.user()) as (raw, reader):
            for number in range(20):
                send(raw, command(type="subscribe", id=f"s{number}", channel="jobs", resume=cursor))
            wait(lambda: len(reader.messages("live")) + len(reader.messages("error")) == 20, f"answers to {cursor[:40]}")
    bystander.is_served()


class TestReading:
    """Clients that subscribe and never read: what waits for them is bounded, and they are closed."""

    @pytest.fixture
    def bound(self):
        return 256

    def test_never(self, house, bystander):
        user = house.user()
        job = house.job(house.thread(user))
        with contextlib.ExitStack() as stack:
            peers = [stack.enter_context(upgrade(house, user, receive_buffer=4096)) for _ in range(10)]
            for raw in peers:
                for number in range(3):
                    raw.sendall(command(type="subscribe", id=f"s{number}", channel="jobs"))
            deadline = time.monotonic() + 3 * wire.PATIENCE
            number = 0
            # A ping is refused once the connection is gone.
            while peers := [raw for raw in peers if send(raw, frame(PING))]:
                assert time.monotonic() < deadline, f"{len(peers)} are still connected"
                number += 1
                house.run("update job set path = %s where id = %s", str(number) + "a" * 30_000, job)
                time.sleep(0.01)
            bystander.is_served()
