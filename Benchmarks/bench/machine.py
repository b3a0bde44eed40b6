"""Where the figures were taken."""

import datetime
import os
import pathlib
import platform
import re
import subprocess

from bench import cluster


def describe():
    root = pathlib.Path(__file__).parents[2]
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpu[1] if cpu else platform.machine(),
        "memory": f"{int(memory[1]) / 1048576:.0f} GB" if memory else "unknown",
        "kernel": platform.release(),
        "postgres": said([os.path.join(cluster.binaries(), "postgres"), "--version"]).split(") ")[-1],
        "swift": said(["swift", "--version"]).splitlines()[0],
        "python": platform.python_version(),
        "commit": said(["git", "-C", str(root), "describe", "--always", "--dirty"]),
        "load_before": f"{os.getloadavg()[0]:.2f}",
    }


def said(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or "unknown"
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
