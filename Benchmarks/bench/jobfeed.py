"""The subject: jobfeed-server on a database of its own."""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import secrets
import ssl
import subprocess
import time
import urllib.request

import psycopg

from bench import process

ROOT = pathlib.Path(__file__).parents[2]
SERVER = os.environ.get("JOBFEED_SERVER") or str(ROOT / ".build" / "release" / "jobfeed-server")
SECRET = secrets.token_hex(32)

# The time at which the change is made, and what fills the frame up to the size that is asked for.
STAMP = "'~' || (extract(epoch from clock_timestamp()) * 1000000)::bigint"
CHANGE = f"assignee = {STAMP} || repeat('x', %s)"


def install(dsn):
    """The schema and the reference tables, feed "jobs"."""
    subprocess.run([SERVER, "install", "--reference-tables"], env={**os.environ, "DATABASE_URL": dsn},
                   stdout=subprocess.DEVNULL, check=True)


ATTACH = """select jobfeed.attach('jobs', 'public.job', status => 'status', owner => 'assigned_to.author',
    hidden => '{errors}', quiet => '{updated_at}', gauges => '{progress}')"""


def install_with(dsn, *statements):
    """The same with rows that were there before, so that the log is empty."""
    install(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("select jobfeed.detach('jobs')")
        for statement in statements:
            connection.execute(statement)
        connection.execute(ATTACH)
        connection.execute("vacuum analyze")


def token(user, access="account"):
    """HS256, as `jobfeed-server token` makes them; thousands of these would take that a while."""
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    now = int(time.time())
    claims = {"sub": user, "access": access, "iat": now, "exp": now + 86400, "jti": secrets.token_hex(8)}
    signed = b".".join(part(json.dumps(member).encode()) for member in ({"alg": "HS256", "typ": "JWT"}, claims))
    return (signed + b"." + part(hmac.digest(SECRET.encode(), signed, hashlib.sha256))).decode()


def subscribe(id="s", channel="jobs", **members):
    """The command as the load generator has it: it puts `resume` where %r stands."""
    text = json.dumps({"type": "subscribe", "id": id, "channel": channel, **members}, separators=(",", ":"))
    return text[:-1] + "%r}"


class Server(process.Server):
    name = "jobfeed"

    def __init__(self, dsn, port=0, **options):
        super().__init__()
        named = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        self.command = [SERVER, "serve", "--port", str(port), "--log-level", "error", *named]
        self.environment = {"DATABASE_URL": dsn, "JOBFEED_JWT_SECRET": SECRET}

    def wait_until_ready(self):
        # It serves before it follows the log.
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                with self.get("/readyz"):
                    return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError("jobfeed-server is not ready after 30 s")

    def get(self, path):
        # Its certificate is of no interest here.
        return urllib.request.urlopen(self.url + path, timeout=30, context=ssl._create_unverified_context())

    def metrics(self):
        with self.get("/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[:1] != "#")}

    load_options = {"ready": '"type":"live"'}
