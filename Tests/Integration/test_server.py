"""The server as a program: starting, stopping, and what it needs."""

import os
import subprocess

import pytest
import wire
from conftest import SERVER


def start(database, secret):
    """Runs `serve` until it listens or ends; the first line, the exit code and stderr."""
    environment = {**os.environ, "DATABASE_URL": database.dsn(), "JOBFEED_JWT_SECRET": secret,
                   "SWIFT_BACKTRACE": "enable=no"}
    process = subprocess.Popen(
        [SERVER, "serve", "--port", "0"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    process.terminate()
    return line, process.wait(wire.PATIENCE), process.communicate()[1]


@pytest.mark.parametrize("length", [31, 32, 47, 48, 63, 64])
def test_length_of_the_secret(installed, length):
    line, code, errors = start(installed, "s" * length)
    if length < 32:
        assert (line, code) == ("", 78), errors
    else:
        assert line.startswith("listening") and code == 0, f"{code}: {errors[:1000]}"


def test_subscribing_as_soon_as_the_gateway_listens(postgres, installed, gateways):
    # A database that takes its time to accept sessions: the gateway listens before its reader has read the feeds.
    postgres.execute("alter system set pre_auth_delay = 1")
    postgres.execute("select pg_reload_conf()")
    try:
        with gateways(installed, ready=False).client() as alice:
            held = alice.subscribe()
            assert held.state == "live", held.error
    finally:
        postgres.execute("alter system reset pre_auth_delay")
        postgres.execute("select pg_reload_conf()")
