"""A private PostgreSQL for the benchmarks: a temporary directory, a free port, deleted at the end."""

import contextlib
import glob
import itertools
import os
import shutil
import socket
import subprocess
import tempfile

import psycopg


def binaries():
    candidates = [os.environ.get("PG_BIN"), *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)]
    if shutil.which("pg_config"):
        candidates.append(subprocess.check_output(["pg_config", "--bindir"], text=True).strip())
    for directory in filter(None, candidates):
        if os.path.exists(os.path.join(directory, "initdb")):
            return directory
    raise SystemExit("no initdb found; install the PostgreSQL server or set PG_BIN to its directory of programs")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def account():
    """PostgreSQL refuses to run as root."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


class Cluster:
    """A running cluster; databases are made as copies of templates."""

    # A disk that waits for nothing: what is measured is the gateway.
    SETTINGS = {
        "fsync": "off", "full_page_writes": "off", "max_connections": 200, "shared_buffers": "256MB",
        "max_wal_size": "4GB", "autovacuum_naptime": "10s",
    }

    def __init__(self, directory, environment):
        self.directory, self.environment = directory, environment
        self.port = free_port()
        self.names = itertools.count(1)
        self.templates = {}

    def control(self, program, *arguments):
        subprocess.run(
            [os.path.join(binaries(), program), "-D", os.path.join(self.directory, "data"), *arguments],
            cwd=self.directory, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **self.environment},
            **account())

    def dsn(self, database="postgres"):
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def execute(self, *statements, dsn=None):
        with psycopg.connect(dsn or self.dsn(), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    @contextlib.contextmanager
    def database(self, prepare):
        """The DSN of a fresh copy of what prepare(dsn) made."""
        if prepare not in self.templates:
            template = self.templates[prepare] = f"template_{len(self.templates)}"
            self.execute(f"create database {template} template template0")
            prepare(self.dsn(template))
        name = f"bench_{next(self.names)}"
        self.execute(f"create database {name} template {self.templates[prepare]}")
        try:
            yield self.dsn(name)
        finally:
            self.execute(f"drop database {name} with (force)")


@contextlib.contextmanager
def running(preload=None, **settings):
    """`settings` go over the usual ones; `preload` is a library that changes what the machine does."""
    directory = tempfile.mkdtemp(prefix="jobfeed-bench-")
    try:
        if os.geteuid() == 0:
            shutil.chown(directory, "postgres", "postgres")
        cluster = Cluster(directory, {"LD_PRELOAD": str(preload)} if preload else {})
        cluster.control("initdb", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-N")
        given = " ".join(f"-c {name}={value}" for name, value in {**cluster.SETTINGS, **settings}.items())
        cluster.control("pg_ctl", "-w", "-l", os.path.join(directory, "log"), "-o",
                        f"-p {cluster.port} -k {directory} -c listen_addresses=127.0.0.1 {given}", "start")
        try:
            yield cluster
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):
                cluster.control("pg_ctl", "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
