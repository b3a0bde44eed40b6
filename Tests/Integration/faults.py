"""What the fault tests are made of: a network that misbehaves, a writer that never stops, clients that come back."""

import asyncio
import itertools
import random
import socket
import struct
import threading
import time

import psycopg
import websockets.exceptions
import wire

STATUSES = ("pending", "processing", "success", "failed")
COME_BACK = {1001, 1006, 1012}


def must(condition, what, timeout=wire.PATIENCE):
    """Waits for a condition."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"timeout while waiting for {what}"
        time.sleep(0.02)


class Proxy:
    """A TCP proxy that can stall, delay and cut; connections to Postgres are told apart by their application_name."""

    def __init__(self, target):
        self.target = target
        self.loop = asyncio.new_event_loop()
        self.links = []
        self.stalled = None  # None, or the purpose of the connections that get nothing through; "" means all
        self.stalled_ways = ("up", "down")
        self.delay = 0.0
        self.accepted = 0
        self.held = 0  # how often something was held back
        self.moved = asyncio.Condition()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.port = self.call(self.listen())

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(wire.PATIENCE)

    async def listen(self):
        self.server = await asyncio.start_server(self.accept, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]

    async def accept(self, reader, writer):
        self.accepted += 1
        link = Link(self, writer)
        self.links.append(link)
        try:
            await link.run(reader)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            link.cut()
            self.links.remove(link)

    async def change(self, **values):
        async with self.moved:
            for name, value in values.items():
                setattr(self, name, value)
            self.moved.notify_all()

    def stall(self, purpose="", ways=("up", "down")):
        """Accepts everything and passes nothing on, in these directions."""
        self.call(self.change(stalled=purpose, stalled_ways=ways))

    def heal(self, late=True):
        """Passes on again; what was held back arrives late, or is lost with its connection."""
        if not late:
            self.cut()
        self.call(self.change(stalled=None, delay=0.0))

    def cut(self):
        """Resets every connection."""

        async def cut():
            for link in list(self.links):
                link.cut()

        self.call(cut())

    def close(self):
        async def close():
            self.server.close()
            for link in list(self.links):
                link.cut()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.call(close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(wire.PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Link:
    def __init__(self, proxy, client):
        self.proxy = proxy
        self.client = client
        self.server = None
        self.purpose = ""

    async def run(self, reader):
        first = await reader.read(65536)
        marker = b"application_name\0"
        if marker in first:
            self.purpose = first.split(marker)[1].split(b"\0")[0].decode().rsplit("/", 1)[-1]
        await self.gate("up")
        answers, self.server = await asyncio.open_connection("127.0.0.1", self.proxy.target)
        self.server.write(first)
        await asyncio.gather(self.pump("up", reader, self.server), self.pump("down", answers, self.client))

    def is_stalled(self, way):
        proxy = self.proxy
        return proxy.stalled in ("", self.purpose) and proxy.stalled is not None and way in proxy.stalled_ways

    async def gate(self, way):
        async with self.proxy.moved:
            self.proxy.held += self.is_stalled(way)
            await self.proxy.moved.wait_for(lambda: not self.is_stalled(way))

    async def pump(self, way, reader, writer):
        while data := await reader.read(65536):
            if self.proxy.delay:
                await asyncio.sleep(self.proxy.delay)
            await self.gate(way)
            writer.write(data)
            await writer.drain()
        # The end is held back too.
        await self.gate(way)
        writer.close()

    def cut(self):
        for writer in filter(None, (self.client, self.server)):
            raw = writer.get_extra_info("socket")
            if raw is not None and raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class Writer:
    """Commits numbered changes of some jobs of one user until it is stopped, whatever happens to the database.

    The statuses come in a random order in which none follows itself, so that a list of them shows what is missing,
    twice or out of order.
    """

    def __init__(self, connect, author, jobs=3, pause=0.01, seed=7):
        self.connect = connect
        self.author = author
        self.pause = pause
        self.random = random.Random(seed)
        self.stopping = threading.Event()
        self.failure = None
        self.errors = []  # what the database refused, in words
        with connect() as connection:
            self.thread_id = connection.execute(
                "insert into thread (title, author) values ('t', %s) returning id", [author]).fetchone()[0]
            insert = "insert into job (assigned_to, path) values (%s, '/written') returning id"
            self.jobs = [connection.execute(insert, [self.thread_id]).fetchone()[0] for _ in range(jobs)]
        self.written = {str(job): [] for job in self.jobs}
        self.thread = threading.Thread(target=self.run, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def run(self):
        connection = None
        try:
            for job in itertools.cycle(self.jobs):
                history = self.written[str(job)]
                last = history[-1] if history else "pending"
                status = self.random.choice([status for status in STATUSES if status != last])
                number = len(history) + 1
                while not self.stopping.is_set():
                    try:
                        if connection is None:
                            connection = self.connect()
                            # A commit whose answer was lost may have happened.
                            if self.number(connection, job) == number:
                                break
                        connection.execute(
                            "update job set status = %s, retries = %s where id = %s", [status, number, job])
                        break
                    except psycopg.Error as error:
                        self.errors.append(str(error))
                        if connection is not None and connection.closed:
                            connection = None
                        self.stopping.wait(0.05)
                else:
                    self.settle(connection, job, number, status)
                    return
                history.append(status)
                self.stopping.wait(self.pause)
        except Exception as problem:
            self.failure = problem

    def settle(self, connection, job, number, status):
        """Stopped while a commit was open: looks whether it happened."""
        with self.connect() as fresh:
            if self.number(fresh, job) == number:
                self.written[str(job)].append(status)

    @staticmethod
    def number(connection, job):
        return connection.execute("select retries from job where id = %s", [job]).fetchone()[0]

    @property
    def count(self):
        return sum(len(history) for history in self.written.values())

    def goes_on(self, changes=20):
        """Returns after so many further commits."""
        until = self.count + changes
        must(lambda: self.count >= until or self.failure, "commits")
        assert self.failure is None, self.failure

    def stop(self):
        self.stopping.set()
        if self.thread.ident:
            self.thread.join(wire.PATIENCE)
        assert not self.thread.is_alive() and self.failure is None, self.failure
        return self.written


class Watcher:
    """A client that comes back as the protocol page says, with its last cursor, on the next of its nodes."""

    def __init__(self, urls, user, access="account", channels=("jobs",), **options):
        self.urls = itertools.cycle([urls] if isinstance(urls, str) else urls)
        self.user, self.access = user, access
        self.held = {f"s{number}": wire.Subscription(f"s{number}", channel, **options)
                     for number, channel in enumerate(channels)}
        self.kept = {}
        for subscription in self.held.values():
            subscription.at_cursor = self.keep
            self.keep(subscription)
        self.answers = []  # every answer to a resume
        self.codes = []
        self.client = None
        self.problem = None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    @property
    def subscription(self):
        return self.held["s0"]

    def keep(self, subscription):
        """A consistent step: what a client keeps when its connection ends before the next one."""
        rows = {key: dict(row) for key, row in subscription.rows.items()}
        self.kept[subscription.id] = (rows, dict(subscription.counts), len(subscription.log), subscription.cursor)

    def fall_back(self, subscription):
        rows, counts, length, cursor = self.kept[subscription.id]
        subscription.rows = {key: dict(row) for key, row in rows.items()}
        subscription.counts, subscription.cursor = dict(counts), cursor
        del subscription.log[length:]

    def start(self):
        self.thread.start()
        return self

    def live(self):
        must(lambda: self.problem or self.is_live, f"{self.user} to be live")
        assert self.problem is None, self.problem
        return self

    @property
    def is_live(self):
        return self.client is not None and all(held.state == "live" for held in self.held.values())

    def run(self):
        try:
            while not self.stopping.is_set():
                self.connect_once()
                self.stopping.wait(random.uniform(0.02, 0.1))
        except Exception as problem:
            self.problem = problem

    def connect_once(self):
        try:
            client = wire.Client(next(self.urls), self.user, self.access)
        except (OSError, EOFError, TimeoutError, websockets.exceptions.WebSocketException):
            return
        try:
            for subscription in self.held.values():
                self.fall_back(subscription)
                subscription.answer = None
                with_cursor = subscription.cursor is not None
                try:
                    client.open(subscription, resume=subscription.cursor, wait=False)
                except websockets.exceptions.ConnectionClosed:
                    pass
                self.await_answer(client, subscription)
                if with_cursor and subscription.answer:
                    self.answers.append(subscription.answer)
            self.client = client
            with client.changed:
                while client.close_code is None and not self.stopping.is_set() and not client.problems:
                    client.changed.wait(0.2)
                    if any(held.state == "closed" for held in self.held.values()):
                        break
            client.check()
            if client.close_code is not None:
                self.codes.append(client.close_code)
                assert client.close_code in COME_BACK or 4000 <= client.close_code < 4500, \
                    f"closed with {client.close_code} {client.close_reason}"
        finally:
            self.client = None
            client.socket.close()
            client.thread.join(wire.PATIENCE)

    def await_answer(self, client, subscription):
        with client.changed:
            while subscription.answer is None and subscription.state != "closed" and client.close_code is None:
                client.check()
                if self.stopping.is_set():
                    return
                client.changed.wait(0.2)
        if subscription.error:
            assert subscription.error["retry"], subscription.error
            subscription.error = None

    def drop(self):
        """Loses the connection and stays away for a moment."""
        client = self.client
        if client is not None:
            client.drop()

    def statuses(self):
        """By job, in the order of their arrival."""
        seen = {}
        for op, key, _, columns in list(self.subscription.log):
            if op == "update" and "status" in columns:
                seen.setdefault(key, []).append(columns["status"])
        return seen

    def has_all(self, written):
        """Waits until every transition has arrived; fails when one came twice, not at all or in another order."""
        wanted = {job: history for job, history in written.items() if history}

        def arrived():
            assert self.problem is None, self.problem
            seen = self.statuses()
            return all(len(seen.get(job, [])) >= len(history) for job, history in wanted.items())

        try:
            must(arrived, "the transitions")
        except AssertionError as late:
            found = compare(self.statuses(), wanted)
            raise AssertionError(f"{late}: {found}; codes {self.codes}, answers {self.answers}") from None
        assert self.statuses() == wanted, compare(self.statuses(), wanted)

    def is_unbroken(self):
        """Every resume was proven whole, and nothing was reset."""
        assert all(answer["recovered"] is True for answer in self.answers), self.answers
        assert all(held.resets == [] for held in self.held.values()), [held.resets for held in self.held.values()]

    def stop(self):
        self.stopping.set()
        if self.thread.ident:
            self.thread.join(wire.PATIENCE)
        assert self.problem is None, self.problem


def compare(seen, wanted):
    """Where two histories part, in words."""
    lines = []
    for job, history in wanted.items():
        got = seen.get(job, [])
        if got != history:
            part = next((n for n, (a, b) in enumerate(zip(got, history)) if a != b), min(len(got), len(history)))
            lines.append(f"job {job}: {len(got)} of {len(history)} transitions, different from number {part}:"
                         f" {got[part:part + 4]} instead of {history[part:part + 4]}")
    return "; ".join(lines) or "equal"
