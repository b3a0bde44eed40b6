"""Fixtures of the integration tests.

postgres    one private PostgreSQL for the whole run, on a free port, in a temporary directory
breakable   a private cluster with jobfeed installed that the tests of a module may stop, break and replace
database    a fresh empty database in it
installed   a fresh database with the schema jobfeed and the reference tables (feed "jobs")
gateway     a running `jobfeed-server serve` on `installed`
gateways    starts further ones: gateways(database, heartbeat_seconds=1)
house       a database with feed "jobs" and a gateway that the tests of a module share; each brings its own users

Set JOBFEED_SERVER to the path of a jobfeed-server binary to install and to serve with it; without it the SQL files are
installed as they are and .build/debug/jobfeed-server serves.
Set PG_BIN to the directory of initdb and pg_ctl when they are not where Debian and pg_config have them.
"""

import contextlib
import glob
import itertools
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

import psycopg
import psycopg.sql
import pytest
import wire

ROOT = pathlib.Path(__file__).parents[2]
SQL_FILES = ROOT / "Sources" / "JobFeedSchema" / "sql"
SERVER = os.environ.get("JOBFEED_SERVER", str(ROOT / ".build" / "debug" / "jobfeed-server"))

# Login roles of the cluster: an application that knows nothing of jobfeed, a gateway, and an installer that is no
# superuser.
LOGIN_ROLES = """
create role app login;
create role gateway_login login;
create role installer login createrole;
"""


def install_script(reference_tables):
    """The script as SchemaScript.install(referenceTables:) assembles it."""
    files = sorted(SQL_FILES.glob("s[0-8]*.sql"))
    if reference_tables:
        files += sorted(SQL_FILES.glob("s9*.sql"))
    return "begin;\n" + "".join(file.read_text() for file in files) + "commit;\n"


def install(dsn, reference_tables=True):
    """Installs jobfeed into a database; running it again must change nothing."""
    server = os.environ.get("JOBFEED_SERVER")
    if server:
        options = ["--reference-tables"] if reference_tables else []
        subprocess.run([server, "install", *options], env={**os.environ, "DATABASE_URL": dsn}, check=True)
        return
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(install_script(reference_tables))


def binaries():
    candidates = [os.environ.get("PG_BIN"), *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)]
    if shutil.which("pg_config"):
        candidates.append(subprocess.check_output(["pg_config", "--bindir"], text=True).strip())
    for directory in filter(None, candidates):
        if os.path.exists(os.path.join(directory, "initdb")):
            return directory
    raise RuntimeError("no initdb found; install the PostgreSQL server or set PG_BIN")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Postgres:
    """A running private cluster."""

    def __init__(self, directory, port):
        self.directory = directory
        self.port = port
        self.names = itertools.count(1)

    def run(self, program, *arguments):
        account = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        subprocess.run(
            [os.path.join(binaries(), program), "-D", os.path.join(self.directory, "data"), *arguments],
            cwd=self.directory, check=True, stdout=subprocess.DEVNULL, **account,
        )

    def start(self):
        settings = (
            f"-p {self.port} -k {self.directory} -c listen_addresses=127.0.0.1 -c max_connections=200"
            " -c fsync=off -c full_page_writes=off -c track_commit_timestamp=on"
        )
        self.run("pg_ctl", "-o", settings, "-l", os.path.join(self.directory, "log"), "-w", "start")

    def stop(self, mode):
        self.run("pg_ctl", "-m", mode, "-w", "stop")

    def dsn(self, dbname="postgres", user="postgres"):
        return f"postgresql://{user}@127.0.0.1:{self.port}/{dbname}"

    def execute(self, statement, dbname="postgres"):
        with psycopg.connect(self.dsn(dbname), autocommit=True) as connection:
            connection.execute(statement)

    @contextlib.contextmanager
    def fresh_database(self, template="template0"):
        name = f"test_{next(self.names)}"
        self.execute(f'create database "{name}" template "{template}"')
        try:
            yield Database(self, name)
        finally:
            self.execute(f'drop database "{name}" with (force)')


class Database:
    """One database of the cluster."""

    def __init__(self, postgres, name):
        self.postgres = postgres
        self.name = name
        self.open = []

    def dsn(self, user="postgres"):
        return self.postgres.dsn(self.name, user)

    def connect(self, user="postgres", autocommit=True):
        """A connection that is closed when the test ends."""
        connection = psycopg.connect(self.dsn(user), autocommit=autocommit)
        self.open.append(connection)
        return connection

    def close(self):
        for connection in self.open:
            connection.close()


@contextlib.contextmanager
def private_cluster():
    """A cluster that runs when it is handed out and is deleted afterwards."""
    directory = tempfile.mkdtemp(prefix="jobfeed-test-")
    try:
        if os.geteuid() == 0:
            shutil.chown(directory, "postgres", "postgres")
        cluster = Postgres(directory, free_port())
        cluster.run("initdb", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-N")
        cluster.start()
        try:
            cluster.execute(LOGIN_ROLES)
            yield cluster
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):
                cluster.stop("immediate")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def breakable():
    """A cluster that may be stopped, broken and replaced, with jobfeed installed."""
    with private_cluster() as cluster:
        install(cluster.dsn())
        yield cluster


@pytest.fixture(scope="session")
def postgres():
    with private_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def installed_template(postgres):
    """The database that `installed` copies."""
    postgres.execute("create database installed_template template template0")
    install(postgres.dsn("installed_template"))
    postgres.execute("grant jobfeed_gateway to gateway_login")
    return "installed_template"


@pytest.fixture
def database(postgres):
    with postgres.fresh_database() as fresh:
        yield fresh
        fresh.close()


@pytest.fixture
def installed(postgres, installed_template):
    with postgres.fresh_database(installed_template) as fresh:
        yield fresh
        fresh.close()


class Gateway:
    """One `jobfeed-server serve`."""

    def __init__(self, dsn, directory, options):
        self.dsn = dsn
        self.stderr_path = os.path.join(directory, f"gateway-{id(self)}.err")
        self.options = options
        self.port = 0
        self.process = None
        self.trust = None  # an SSLContext for https
        self.environment = {}  # more of it; None takes a variable away

    def arguments(self):
        named = [part for name, value in self.options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        return [SERVER, "serve", "--port", str(self.port), *named]

    def start(self):
        # A crash is told from its message alone; the backtrace takes seconds.
        environment = {
            **os.environ, "DATABASE_URL": self.dsn, "JOBFEED_JWT_SECRET": wire.SECRET, "SWIFT_BACKTRACE": "enable=no",
            **self.environment}
        environment = {name: value for name, value in environment.items() if value is not None}
        with open(self.stderr_path, "ab") as errors:
            self.process = subprocess.Popen(
                self.arguments(), env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
        timer = threading.Timer(wire.PATIENCE, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        assert line.startswith("listening on http"), f"{line!r}, exit {self.process.poll()}:\n{self.stderr}"
        self.url = line.split()[-1]
        # Restarts come back where clients look for them.
        self.port = int(self.url.rsplit(":", 1)[1])
        return self

    def wait_ready(self):
        deadline = time.monotonic() + wire.PATIENCE
        while self.get("/readyz")[0] != 200:
            assert time.monotonic() < deadline, self.get("/readyz")
            time.sleep(0.02)
        return self

    def get(self, path, headers=None):
        """Status, body and headers."""
        try:
            request = urllib.request.Request(self.url + path, headers=headers or {})
            with urllib.request.urlopen(request, timeout=wire.PATIENCE, context=self.trust) as response:
                return response.status, response.read().decode(), response.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(), error.headers

    @property
    def stderr(self):
        with open(self.stderr_path, errors="replace") as errors:
            return errors.read()

    def stop(self, how=signal.SIGTERM):
        """Returns the exit code."""
        self.process.send_signal(how)
        code = self.process.wait(wire.PATIENCE)
        self.process.stdout.close()
        return code

    def kill(self):
        return self.stop(signal.SIGKILL)

    def client(self, user="alice", access="account", **options):
        return wire.Client(self.url, user, access, **options)


@pytest.fixture
def gateways(tmp_path):
    started = []

    def start(database, ready=True, **options):
        dsn = database if isinstance(database, str) else database.dsn()
        gateway = Gateway(dsn, tmp_path, options).start()
        started.append(gateway)
        return gateway.wait_ready() if ready else gateway

    yield start
    died = []
    for gateway in started:
        # Shown by pytest when the test fails.
        print(f"--- {gateway.url}\n{gateway.stderr}")
        code = gateway.process.poll()
        if code is None:
            gateway.kill()
        elif code not in (0, -signal.SIGKILL):
            died.append(f"a gateway died with {code}: {gateway.stderr[-2000:]}")
    assert not died, died[0]


@pytest.fixture
def gateway(installed, gateways):
    return gateways(installed)


class House:
    """A database and a gateway for several tests, who keep apart by their users' names."""

    def __init__(self, database, gateway):
        self.database, self.gateway = database, gateway
        self.writer = database.connect()
        self.names = itertools.count(1)

    def user(self):
        return f"somebody{next(self.names)}"

    def client(self, user, access="account", **options):
        return self.gateway.client(user, access, **options)

    def thread(self, author):
        return self.one("insert into thread (title, author) values ('t', %s) returning id", author)

    def job(self, thread, **columns):
        columns = {"assigned_to": thread, "path": "/x", **columns}
        places = ", ".join(["%s"] * len(columns))
        return self.one(f"insert into job ({', '.join(columns)}) values ({places}) returning id", *columns.values())

    def run(self, statement, *parameters):
        # Without parameters % is what it is in SQL.
        return self.writer.execute(statement, parameters or None)

    def one(self, statement, *parameters):
        return self.run(statement, *parameters).fetchone()[0]


@pytest.fixture(scope="module")
def house(postgres, installed_template, tmp_path_factory):
    with postgres.fresh_database(installed_template) as database:
        gateway = Gateway(database.dsn(), tmp_path_factory.mktemp("house"), {"heartbeat_seconds": 1})
        gateway.start().wait_ready()
        yield House(database, gateway)
        code = gateway.process.poll()
        gateway.kill()
        database.close()
        assert code is None, f"the gateway died with {code}: {gateway.stderr[-2000:]}"
