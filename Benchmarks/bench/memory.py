"""Row 9: memory of sockets that are there and hear nothing."""

import contextlib
import socket
import ssl
import subprocess
import tempfile
import time

from bench import fanout, jobfeed, load, process
from bench.context import FAN_OUT_PEERS
from bench.results import Metric, Row

SOCKETS = 10_000
TLS_SOCKETS = 2_000


def run(context):
    row = Row(9, f"resident memory per idle authenticated socket with one subscription, {SOCKETS:,} sockets",
              [Metric("kb", "KB per socket"), Metric("base", "MB before the first", 1),
               Metric("handshake", "µs CPU per handshake and subscription", 0)],
              reach="≤ 6 KB plain")
    row.note("peers have no session: no token is checked, nothing is subscribed by name")
    row.note(f"jobfeed, TLS: {TLS_SOCKETS:,} sockets")
    candidates = context.available(row, FAN_OUT_PEERS)
    sockets, secure = context.count(SOCKETS), context.count(TLS_SOCKETS)
    for attempt in range(context.runs):
        context.say(f"row 9, run {attempt + 1} of {context.runs}")
        with context.cluster.database(fanout.prepare) as dsn:
            with jobfeed.Server(dsn) as server:
                tokens = [jobfeed.token(f"user{number}") for number in range(sockets)]
                with load.Load(server, sockets, tokens, join=fanout.JOIN) as crowd:
                    record(row, server.name, crowd, sockets)
            if attempt > 0 and context.is_quick:
                pass
            elif process.program("openssl"):
                tls(row, dsn, secure)
            else:
                row.note("jobfeed, TLS: not measured, no openssl to make a certificate")
        for peer in context.of_run(attempt, candidates):
            with context.forgiving(row, peer.name), peer() as server, load.Load(server, sockets) as crowd:
                record(row, server.name, crowd, sockets)
    return row


def record(row, name, crowd, sockets):
    before = crowd.measure(0.5)
    crowd.begin()
    crowd.open(sockets)
    joined = crowd.end()
    after = crowd.measure(2)
    row.add(name, kb=(after["rss_kb"] - before["rss_kb"]) / after["live"], base=before["rss_kb"] / 1024,
            handshake=joined["cpu_s"] / after["live"] * 1e6)


def tls(row, dsn, sockets):
    """Clients here are plain blocking sockets: they only have to be there, and answer no ping."""
    with tempfile.TemporaryDirectory(prefix="jobfeed-bench-tls-") as directory:
        certificate, key = f"{directory}/certificate.pem", f"{directory}/key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                        "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2",
                        "-keyout", key, "-out", certificate], check=True, capture_output=True)
        trust = ssl.create_default_context(cafile=certificate)
        with jobfeed.Server(dsn, tls_cert=certificate, tls_key=key, ping_seconds=3600) as server, \
                contextlib.ExitStack() as stack:
            crowd = stack.enter_context(load.Load(server, 1))
            before = crowd.measure(0.5)
            crowd.begin()
            for number in range(sockets):
                stack.enter_context(idle_client(server.port, trust, jobfeed.token(f"user{number}")))
            joined = crowd.end()
            time.sleep(1)
            after = crowd.measure(0.5)
            row.add("jobfeed, TLS", kb=(after["rss_kb"] - before["rss_kb"]) / sockets, base=before["rss_kb"] / 1024,
                    handshake=joined["cpu_s"] / sockets * 1e6)


def idle_client(port, trust, token):
    client = trust.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
    client.settimeout(30)
    client.sendall((
        f"GET /v1/feed HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Authorization: Bearer {token}\r\n\r\n").encode())
    command = jobfeed.subscribe(snapshot=False).replace("%r", "").encode()
    # A masked text frame with the mask 0.
    client.sendall(bytes([0x81, 0x80 | len(command), 0, 0, 0, 0]) + command)
    seen = b""
    while b'"type":"live"' not in seen:
        more = client.recv(65536)
        if not more:
            raise RuntimeError(f"closed instead of live: {seen[-300:]!r}")
        seen += more
    return client
