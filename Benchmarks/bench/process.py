"""Servers under measurement: started, listened to, stopped."""

import os
import pathlib
import shutil
import signal
import subprocess
import threading


class Server:
    """A process that prints `listening on http://HOST:PORT` once it listens."""

    name = ""
    command = ()
    environment = {}
    # What the load generator has to be told to speak with it.
    load_options = {}

    def __init__(self):
        self.process = None
        self.port = 0

    def __enter__(self):
        environment = {**os.environ, **self.environment}
        self.process = subprocess.Popen(
            [str(part) for part in self.command], env=environment, stdout=subprocess.PIPE, text=True)
        patience = threading.Timer(60, self.process.kill)
        patience.start()
        line = self.process.stdout.readline()
        patience.cancel()
        if not line.startswith("listening on "):
            self.process.kill()
            raise RuntimeError(f"{self.name} did not start: {line!r}, exit code {self.process.wait()}")
        self.url = line.split()[-1]
        self.port = int(self.url.rsplit(":", 1)[1])
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop(signal.SIGKILL)
            raise
        return self

    def __exit__(self, *_):
        self.stop(signal.SIGKILL)

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
        self.process.wait(30)
        self.process.stdout.close()

    def wait_until_ready(self):
        pass

    @property
    def pids(self):
        return [self.process.pid]


def program(*names):
    """The first of these programs that there is."""
    return next((path for path in map(shutil.which, names) if path), None)


def compiler():
    return program("cc", "gcc", "clang")


def compiled(source, target, *options):
    """The path of what one of the C files in native/ is compiled to."""
    here = pathlib.Path(__file__).parents[1]
    source, target = here / "native" / source, here / ".build" / target
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        target.parent.mkdir(exist_ok=True)
        subprocess.run([compiler(), "-O2", *options, "-o", target, source], check=True)
    return target
