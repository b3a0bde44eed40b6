"""Whom jobfeed is compared with: servers that pass on what a publisher sends them."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from bench import cluster, process

HERE = pathlib.Path(__file__).parents[1]
UNPACKED = HERE / ".peers"
LIBRARIES = {"LD_LIBRARY_PATH": f"{UNPACKED}/usr/lib/x86_64-linux-gnu:{UNPACKED}/usr/lib/aarch64-linux-gnu"}


class Peer(process.Server):
    load_options = {"path": "/sub", "publish_path": "/pub"}
    is_yardstick = False

    @classmethod
    def missing(cls):
        """Why it cannot run here; None when it can."""


class Floor(Peer):
    """Our own C program that does nothing but send."""

    name = "floor"
    is_yardstick = True
    options = ()

    def __init__(self):
        super().__init__()
        self.command = [process.compiled("floor.c", "floor"), *self.options, 0]

    @classmethod
    def missing(cls):
        return None if process.compiler() else "no C compiler"


class JoiningFloor(Floor):
    """The same, with what arrived together sent together."""

    name = "floor, joined"
    options = ("--join",)


class UWebSockets(Peer):
    name = "uWebSockets"
    is_yardstick = True
    command = (sys.executable, HERE / "peers" / "uwebsockets.py")
    environment = LIBRARIES

    @classmethod
    def missing(cls):
        check = subprocess.run([sys.executable, "-c", "import socketify"], env={**os.environ, **LIBRARIES},
                               capture_output=True, text=True)
        return f"socketify does not load: {check.stderr.strip().splitlines()[-1]}" if check.returncode else None


class Python(Peer):
    name = "Python websockets"
    command = (sys.executable, HERE / "peers" / "broadcast.py")


class Nchan(Peer):
    name = "nchan"
    # The module makes the directory that nginx was built with, whatever the configuration says.
    BUILT_IN = pathlib.Path("/var/lib/nginx")
    CONFIGURATION = """
        load_module {module};
        daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 20000;
        pid {directory}/pid; error_log {directory}/error.log;
        events {{ worker_connections 19000; }}
        http {{
            access_log off; nchan_shared_memory_size 64M; nchan_message_buffer_length 64;
            client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
            fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
            server {{
                listen 127.0.0.1:{port} backlog=4096;
                location = /sub {{
                    nchan_subscriber websocket; nchan_channel_id feed; nchan_subscriber_first_message newest;
                }}
                location = /pub {{ nchan_publisher websocket; nchan_channel_id feed; }}
            }}
        }}
    """

    @classmethod
    def files(cls):
        modules = [*UNPACKED.glob("usr/lib/nginx/modules/ngx_nchan_module.so"),
                   *pathlib.Path("/usr/lib/nginx/modules").glob("ngx_nchan_module.so")]
        own = UNPACKED / "usr" / "sbin" / "nginx"
        return str(own) if own.exists() else process.program("nginx"), modules[0] if modules else None

    @classmethod
    def missing(cls):
        if not all(cls.files()):
            return "no nginx with nchan (Debian: nginx, libnginx-mod-nchan)"
        return None if os.access(cls.BUILT_IN if cls.BUILT_IN.exists() else cls.BUILT_IN.parent, os.W_OK) else (
            f"{cls.BUILT_IN} is not writable")

    def __enter__(self):
        # nginx says nothing when it listens.
        program, module = self.files()
        self.directory = tempfile.mkdtemp(prefix="jobfeed-bench-nchan-")
        self.made = not self.BUILT_IN.exists()
        self.BUILT_IN.mkdir(exist_ok=True)
        self.port = cluster.free_port()
        file = pathlib.Path(self.directory, "nginx.conf")
        file.write_text(self.CONFIGURATION.format(module=module, directory=self.directory, port=self.port))
        command = [program, "-p", self.directory, "-c", file, "-e", f"{self.directory}/error.log"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            self.wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait_until_ready(self):
        for _ in range(500):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=1).close()
                return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"nginx did not start: {pathlib.Path(self.directory, 'error.log').read_text()[-500:]}")

    def __exit__(self, *_):
        super().__exit__()
        shutil.rmtree(self.directory, ignore_errors=True)
        if self.made:
            shutil.rmtree(self.BUILT_IN, ignore_errors=True)


# Who was measured for the figures that the project aims at, and why he is not here.
ABSENT = {
    "Node ws": "npm only", "gorilla": "Go only", "cowboy": "Erlang only", "NATS": "Go only",
    "mosquitto": "Debian's speaks no WebSocket",
}
