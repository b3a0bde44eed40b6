"""Those who change the database while the sockets are watched."""

import os
import re
import subprocess
import tempfile
import threading
import time

import psycopg

from bench import cluster


class Writer:
    """One session that executes a statement again and again, on a thread of its own, until the `with` ends.

    rate     times a second, evenly
    credits  or: a descriptor from which a byte is read before each, `inflight` of them being free
    """

    def __init__(self, dsn, statement, parameters, rate=0, credits=None, inflight=1):
        self.dsn, self.statement, self.parameters = dsn, statement, parameters
        self.rate, self.credits, self.inflight = rate, credits, inflight
        self.count = 0
        self.error = None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        # A read for a credit may wait for ever; the thread ends with the program at the latest.
        self.thread.join(5)
        if self.error:
            raise self.error

    def run(self):
        try:
            with psycopg.connect(self.dsn, autocommit=True, prepare_threshold=1) as connection:
                due = time.monotonic()
                while not self.stopping.is_set():
                    connection.execute(self.statement, self.parameters(self.count))
                    self.count += 1
                    if self.rate:
                        due += 1 / self.rate
                        self.stopping.wait(max(due - time.monotonic(), 0))
                    elif self.credits is not None and self.count >= self.inflight and not os.read(self.credits, 1):
                        return
        except OSError:
            pass
        except psycopg.Error as error:
            self.error = error


class PGBench:
    """Several sessions of pgbench; at a rate (of random distances), or as fast as it goes."""

    def __init__(self, dsn, script, clients, seconds, rate=0):
        self.file = tempfile.NamedTemporaryFile("w", suffix=".sql", prefix="jobfeed-bench-")
        self.file.write(script)
        self.file.flush()
        os.chmod(self.file.name, 0o644)
        paces = ["-R", str(rate)] if rate else []
        self.command = [os.path.join(cluster.binaries(), "pgbench"), "-n", "-M", "prepared", "-c", str(clients),
                        "-T", str(int(seconds)), *paces, "-f", self.file.name, dsn]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate()
        self.file.close()

    def commits(self):
        """Waits for its end."""
        output, errors = self.process.communicate()
        count = re.search(r"transactions actually processed: (\d+)", output)
        if self.process.returncode or not count:
            raise RuntimeError(f"pgbench failed: {errors[-500:]}")
        return int(count[1])
