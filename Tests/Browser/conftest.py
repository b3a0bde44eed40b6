"""What the browser tests stand on: a Chromium, a jobfeed with its database, and the page opened as somebody.

JOBFEED_SERVER     the server's binary, .build/debug/jobfeed-server unless told; it is started with `demo --no-runner`, or
JOBFEED_DEMO_URL   one that runs already, together with
JOBFEED_TEST_DSN   the database behind it, as a role that may write public.thread and public.job.
CHROMIUM           the browser, /usr/bin/chromium unless told.
"""

import functools
import http.server
import json
import os
import pathlib
import re
import secrets
import signal
import socket
import subprocess
import threading
import time
import uuid

import psycopg
import pytest
from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).resolve().parents[2]
WEB_DEMO = ROOT / "web-demo"
SERVER = os.environ.get("JOBFEED_SERVER", str(ROOT / ".build/debug/jobfeed-server"))
TIMEOUT = 20_000


def wait_until(page, expression, arg=None):
    """As Page.wait_for_function, which a page's own Content-Security-Policy forbids from the second try on."""
    deadline = time.monotonic() + TIMEOUT / 1000
    while not page.evaluate(expression, arg):
        assert time.monotonic() < deadline, f"waited in vain for {expression}"
        page.wait_for_timeout(20)

# What a browser writes to the console by itself when a gateway is away or a connection is refused.
EXPECTED_WHEN_AWAY = re.compile(r"WebSocket connection to|Failed to load resource|ERR_CONNECTION_REFUSED")


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"),
            headless=True,
            args=["--no-sandbox"] if os.geteuid() == 0 else [],
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Opens an address in a context of its own, and fails the test for whatever the page complains about."""
    contexts, complaints = [], []

    def open_page(url, *, complain=True, init=None, tokens=None, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        page = context.new_page()
        if tokens:
            page.route("**/demo/tokens", lambda route: route.fulfill(json=json.loads(tokens)))
        page.set_default_timeout(TIMEOUT)
        if complain:
            page.on("pageerror", lambda error: complaints.append(f"pageerror: {error}"))
            page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        if init:
            page.add_init_script(init)
        page.goto(url)
        return page

    open_page.complaints = complaints
    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


# ----------------------------------------------------------------------------------------------- the module on its own


class QuietFiles(http.server.SimpleHTTPRequestHandler):
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".js": "text/javascript"}

    def log_message(self, *_):
        pass

    def do_GET(self):
        # An empty page: the tests bring the module in by themselves.
        if self.path != "/blank":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><link rel=icon href=favicon.svg><title>blank</title>")
        return None


@pytest.fixture(scope="session")
def files():
    """The web-demo directory on a free port."""
    handler = functools.partial(QuietFiles, directory=str(WEB_DEMO))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


# ------------------------------------------------------------------------------------------------------- the real thing


class Gateway:
    """A gateway with its base URL and the DSN of its database."""

    def __init__(self, url, dsn):
        self.url, self.dsn = url, dsn


class Process:
    """One of our programs, with what it said before it was listening."""

    def __init__(self, binary, *arguments, **environment):
        self.command, self.environment, self.process = [binary, *arguments], environment, None

    def start(self):
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, text=True, start_new_session=True, env=os.environ | self.environment
        )
        said = ""
        for line in self.process.stdout:
            said += line
            if line.startswith("listening on "):
                threading.Thread(target=self.process.stdout.read, daemon=True).start()
                return said
        raise RuntimeError(f"{self.command} ended with {self.process.wait()} before it was listening")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


@pytest.fixture(scope="session")
def gateway():
    """A demo without simulated jobs."""
    url, dsn = (os.environ.get(name) for name in ("JOBFEED_DEMO_URL", "JOBFEED_TEST_DSN"))
    if url and dsn:
        yield Gateway(url.rstrip("/"), dsn)
        return
    demo = Process(SERVER, "demo", "--no-runner", "--port", "0")
    said = demo.start()
    yield Gateway(re.search("listening on (.*)", said)[1], re.search("database (.*)", said)[1])
    demo.stop()


class Restartable(Gateway):
    """A second gateway on the same database; it can go and come back, on its port. A gateway that serves hands out no
    tokens, so the page's request for them is answered by the test."""

    def __init__(self, dsn):
        secret = {"JOBFEED_JWT_SECRET": secrets.token_hex(32)}
        token = subprocess.run(
            [SERVER, "token", "--user", "alice"], env=os.environ | secret, check=True, capture_output=True, text=True
        ).stdout.strip()
        user = {"name": "alice", "access": "account", "token": token}
        self.tokens = json.dumps({"users": [user], "feed": "jobs"})
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.process = Process(SERVER, "serve", "--port", str(port), DATABASE_URL=dsn, **secret)
        super().__init__(f"http://127.0.0.1:{port}", dsn)

    def restart(self, while_away):
        self.process.stop()
        while_away()
        self.process.start()


@pytest.fixture
def restartable(gateway):
    restartable = Restartable(gateway.dsn)
    restartable.process.start()
    yield restartable
    restartable.process.stop()


class Jobs:
    """Writes jobs as a runner would, on threads of their own, and takes them away afterwards."""

    def __init__(self, connection):
        self.connection, self.threads = connection, {}
        self.path = f"/t-{uuid.uuid4().hex[:8]}"

    def thread(self, author):
        if author not in self.threads:
            row = self.connection.execute(
                "insert into public.thread (title, author) values ('browser test', %s) returning id", (author,)
            ).fetchone()
            self.threads[author] = row[0]
        return self.threads[author]

    def add(self, author="alice", status="pending", path=None, count=1):
        rows = self.connection.execute(
            "insert into public.job (assigned_to, path, status)"
            " select %s, %s, %s from generate_series(1, %s) returning id",
            (self.thread(author), path or self.path, status, count),
        ).fetchall()
        keys = [str(row[0]) for row in rows]
        return keys[0] if count == 1 else keys

    def status(self, key, status):
        self.connection.execute("update public.job set status = %s where id = %s", (status, key))

    def progress(self, key, percent, message=None):
        self.connection.execute(
            "update public.job set progress = jsonb_build_object('percent', %s::int, 'message', %s::text)"
            " where id = %s",
            (percent, message, key),
        )

    def rename(self, path):
        self.connection.execute(
            "update public.job set path = %s where assigned_to = any(%s)", (path, list(self.threads.values()))
        )

    def delete(self, key):
        self.connection.execute("delete from public.job where id = %s", (key,))

    def clear(self):
        threads = list(self.threads.values())
        self.connection.execute("delete from public.job where assigned_to = any(%s)", (threads,))
        self.connection.execute("delete from public.thread where id = any(%s)", (threads,))


@pytest.fixture
def jobs(gateway):
    with psycopg.connect(gateway.dsn, autocommit=True) as connection:
        jobs = Jobs(connection)
        yield jobs
        jobs.clear()


class Feed:
    """The page, as somebody who uses it would describe it."""

    def __init__(self, page):
        self.page = page

    def row(self, key):
        return self.page.locator(f'#canvas .row[data-key="{key}"]')

    def event(self, key, op):
        return self.page.locator(f'#events .event[data-key="{key}"][data-op="{op}"]')

    def count(self, tab):
        return int(self.page.locator(f'[data-tab="{tab}"] .count').inner_text().replace(",", ""))

    def wait_for_count(self, tab, count):
        wait_until(
            self.page,
            "([tab, count]) => document.querySelector(`[data-tab='${tab}'] .count`).textContent.replace(/,/g, '')"
            " == count",
            arg=[tab, count],
        )

    def wait_for_state(self, state, timeout=TIMEOUT):
        self.page.wait_for_selector(f'#pill[data-state="{state}"]', timeout=timeout)

    def filter(self, text):
        self.page.fill("#filter-text", text)
        self.page.press("#filter-text", "Enter")


@pytest.fixture
def open_feed(gateway, open_page):
    def open_feed(user="alice", tab="all", at=None, **options):
        feed = Feed(open_page(f"{(at or gateway).url}/#{user}/{tab}", **options))
        feed.wait_for_state("live")
        wait_until(feed.page, "document.getElementById('panel').dataset.kind !== 'loading'")
        return feed

    return open_feed
