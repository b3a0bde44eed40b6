"""What keeps others out: TLS, origins, roles, tokens, revocation, and silence about secrets."""

import base64
import hmac
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.parse
import warnings

import psycopg
import psycopg.sql
import pytest
import websockets.exceptions
import websockets.sync.client
import wire
from certificates import Authority
from conftest import SERVER, Gateway, House, install, private_cluster
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from test_cli import CLI, Tail


@pytest.fixture(scope="module")
def authority():
    # Not below pytest's own directory, which others may not enter.
    with tempfile.TemporaryDirectory(prefix="jobfeed-test-") as directory:
        os.chmod(directory, 0o755)
        yield Authority(pathlib.Path(directory))


def trust(authority, **settings):
    context = ssl.create_default_context(cafile=str(authority.file))
    for name, value in settings.items():
        setattr(context, name, value)
    return context


def server(*arguments, **environment):
    """Runs jobfeed-server to its end."""
    base = {name: value for name, value in os.environ.items() if not name.startswith(("JOBFEED_", "PG", "DATABASE_URL"))}
    done = subprocess.run(
        [SERVER, *map(str, arguments)], env={**base, **environment, "SWIFT_BACKTRACE": "enable=no"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=wire.PATIENCE)
    return done.returncode, done.stdout, done.stderr


def until(condition, what, patience=wire.PATIENCE):
    deadline = time.monotonic() + patience
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"timeout while waiting for {what}"
        time.sleep(0.02)
    return answer


# TLS for clients


@pytest.fixture(scope="module")
def secure(postgres, installed_template, authority, tmp_path_factory):
    """A database and a gateway that serves it by TLS."""
    with postgres.fresh_database(installed_template) as database:
        certificate, key = authority.issue("served")
        gateway = Gateway(database.dsn(), tmp_path_factory.mktemp("secure"), {"tls_cert": certificate, "tls_key": key})
        gateway.start()
        gateway.trust = trust(authority)
        gateway.database = database
        yield gateway.wait_ready()
        code = gateway.process.poll()
        gateway.kill()
        database.close()
        assert code is None, f"the gateway died with {code}: {gateway.stderr[-2000:]}"


def served(gateway, authority, **settings):
    """The serial number of the certificate that a new connection sees, its TLS version and protocol."""
    with socket.create_connection(("127.0.0.1", gateway.port), wire.PATIENCE) as plain:
        context = trust(authority, **settings)
        context.set_alpn_protocols(["h2", "http/1.1"])
        with context.wrap_socket(plain, server_hostname="localhost") as connection:
            return (int(connection.getpeercert()["serialNumber"], 16), connection.version(),
                    connection.selected_alpn_protocol())


@pytest.mark.parametrize("by", ["header", "protocol", "frame"])
def test_tls(secure, authority, by):
    assert secure.url == f"https://127.0.0.1:{secure.port}"
    writer = secure.database.connect()
    thread = writer.execute("insert into thread (title, author) values ('t', %s) returning id", [by]).fetchone()[0]
    with secure.client(by, by=by, ssl=secure.trust) as client:
        held = client.subscribe()
        # More than a TLS record.
        writer.execute("insert into job (assigned_to, path, payload) values (%s, '/x', jsonb_build_object('x', repeat('y', 60000)))", [thread])
        client.wait(lambda: held.rows, "the row")
        assert len(next(iter(held.rows.values()))["payload"]["x"]) == 60000
    assert secure.get("/healthz")[0] == 200


def test_tls_versions_and_protocol(secure, authority):
    assert served(secure, authority)[1:] == ("TLSv1.3", "http/1.1")
    assert served(secure, authority, maximum_version=ssl.TLSVersion.TLSv1_2)[1:] == ("TLSv1.2", "http/1.1")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        old = trust(authority, minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", secure.port), wire.PATIENCE) as plain:
        with pytest.raises(ssl.SSLError, match="(?i)protocol version|unsupported protocol"):
            old.wrap_socket(plain, server_hostname="localhost")


def test_refused_upgrade_over_tls(secure):
    status, body, headers = secure.get("/v1/feed", {"Authorization": "Bearer x"})
    assert status == 401 and headers["content-type"] == "application/problem+json", body


def test_plain_text_on_the_tls_port(secure):
    with socket.create_connection(("127.0.0.1", secure.port), wire.PATIENCE) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        try:
            while piece := plain.recv(4096):
                answer += piece
        except ConnectionResetError:
            pass
    assert b"HTTP/" not in answer
    assert secure.get("/healthz")[0] == 200


def test_slow_handshakes_are_cut(secure, authority):
    hello = ssl.MemoryBIO()
    half = trust(authority).wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        half.do_handshake()
    silent = socket.create_connection(("127.0.0.1", secure.port), wire.PATIENCE)
    stuck = socket.create_connection(("127.0.0.1", secure.port), wire.PATIENCE)
    stuck.sendall(hello.read()[:100])
    # Also when TLS is done and HTTP does not come.
    mute = trust(authority).wrap_socket(
        socket.create_connection(("127.0.0.1", secure.port), wire.PATIENCE), server_hostname="localhost",
        suppress_ragged_eofs=True)
    for connection in (silent, stuck, mute):
        with connection:
            connection.settimeout(wire.PATIENCE)
            try:
                assert connection.recv(1) == b""
            except ConnectionResetError:
                pass


@pytest.mark.parametrize("how", ["--ca-file", "JOBFEED_CA_FILE", "SSL_CERT_FILE"])
@pytest.mark.parametrize("scheme", ["https", "wss"])
def test_tail_over_tls(secure, authority, how, scheme):
    url = secure.url.replace("https", scheme)
    user = f"{how}-{scheme}"
    arguments = ["--json", *(["--ca-file", str(authority.file)] if how == "--ca-file" else [])]
    tail = Tail(url, user, *arguments, **({how: str(authority.file)} if how[0] != "-" else {})).live()
    writer = secure.database.connect()
    thread = writer.execute("insert into thread (title, author) values ('t', %s) returning id", [user]).fetchone()[0]
    writer.execute("insert into job (assigned_to, path) values (%s, '/tls')", [thread])
    assert tail.change(lambda change: change.get("op") == "enter")["row"]["path"] == "/tls"
    tail.end(signal.SIGTERM)


def test_tail_does_not_trust_a_stranger(secure, tmp_path):
    stranger = Authority(tmp_path, "stranger")
    for arguments in ([], ["--ca-file", str(stranger.file)]):
        done = subprocess.run(
            [CLI, "tail", "--connect-timeout", "2", *arguments], capture_output=True, text=True, timeout=wire.PATIENCE,
            env={**os.environ, "JOBFEED_URL": secure.url, "JOBFEED_TOKEN": wire.token()})
        assert done.returncode == 69 and "no secure connection" in done.stderr and "CA file" in done.stderr, done.stderr
    assert wire.token().split(".")[2] not in done.stderr


def test_certificate_is_read_again(installed, gateways, authority):
    certificate, key = authority.issue("reloaded")
    first = authority.serial(certificate)
    gateway = gateways(installed, ready=False, tls_cert=certificate, tls_key=key)
    gateway.trust = trust(authority)
    gateway.wait_ready()
    assert served(gateway, authority)[0] == first
    with gateway.client(ssl=gateway.trust) as client:
        held = client.subscribe()
        # Bad files change nothing, and the log names them.
        good = certificate.read_bytes()
        for number, bad in enumerate([b"", good[:200], authority.issue("other")[0].read_bytes()]):
            certificate.write_bytes(bad)
            gateway.process.send_signal(signal.SIGHUP)
            until(lambda: gateway.stderr.count("The old certificate stays") == number + 1, "the complaint")
            assert served(gateway, authority)[0] == first
        complaints = [line for line in gateway.stderr.splitlines() if "The old certificate stays" in line]
        assert all(str(certificate) in line for line in complaints), complaints
        assert str(key) in complaints[-1], complaints
        certificate, key = authority.issue("reloaded")
        second = authority.serial(certificate)
        gateway.process.send_signal(signal.SIGHUP)
        until(lambda: served(gateway, authority)[0] == second, "the new certificate")
        # Open connections stay.
        assert client.ask({"type": "ping", "id": "p"}, "pong")["id"] == "p"
        assert held.state == "live"
    assert key.read_text().splitlines()[1] not in gateway.stderr


@pytest.fixture(scope="module")
def files(authority):
    """Names of files that certificates and keys can be taken for."""
    good, key = authority.issue("good")
    locked = authority.issue("locked", password=b"secret")
    expired = authority.issue("expired", days=-1)
    junk = authority.directory / "junk"
    junk.write_text("no certificate\n")
    both = authority.directory / "both.pem"
    both.write_bytes(good.read_bytes() + key.read_bytes())
    return {
        "good": good, "key": key, "locked": locked[1], "locked_cert": locked[0], "expired": expired[0],
        "expired_key": expired[1], "junk": junk, "both": both, "missing": authority.directory / "missing",
        "directory": authority.directory, "other_key": authority.issue("third")[1]}


@pytest.mark.parametrize(
    "certificate, key, complaint",
    [("good", None, "tls-cert is given without tls-key"), (None, "key", "tls-key is given without tls-cert"),
     ("missing", "key", "{missing}"), ("good", "missing", "{missing}"), ("directory", "key", "{directory}"),
     ("junk", "key", "{junk} holds no certificate"), ("key", "key", "{key} holds no certificate"),
     ("good", "junk", "{junk} holds no private key"), ("good", "good", "{good} holds no private key"),
     ("good", "other_key", "the key in {other_key} is not the key of the first certificate in {good}"),
     ("locked_cert", "locked", "the key in {locked} has a passphrase"),
     ("good", "key", None), ("both", "both", None), ("expired", "expired_key", None)])
def test_check_looks_at_the_certificate(house, files, certificate, key, complaint):
    environment = {"DATABASE_URL": house.database.dsn(), "JOBFEED_JWT_SECRET": wire.SECRET}
    if certificate:
        environment["JOBFEED_TLS_CERT"] = str(files[certificate])
    arguments = ["--tls-key", files[key]] if key else []
    code, out, errors = server("check", *arguments, **environment)
    if complaint:
        assert code == 78 and complaint.format(**files) in errors, errors
        assert server("serve", "--port", 0, *arguments, **environment)[0] == 78
    else:
        assert code == 0 and "tls       ok" in out, errors
        assert ("expired" in errors) == (certificate == "expired"), errors
    assert "Fatal error" not in errors
    assert files["key"].read_text().splitlines()[1] not in errors


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read the file")
def test_unreadable_key(house, files):
    environment = {"DATABASE_URL": house.database.dsn(), "JOBFEED_JWT_SECRET": wire.SECRET, "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [SERVER, "check", "--tls-cert", files["good"], "--tls-key", files["key"]], env=environment, user=65534, group=65534,
        extra_groups=[], capture_output=True, text=True, timeout=wire.PATIENCE)
    assert done.returncode == 78 and str(files["key"]) in done.stderr and "permission" in done.stderr.lower(), done.stderr


def test_expired_certificate_warns_at_the_start(installed, gateways, files, authority):
    gateway = gateways(installed, ready=False, tls_cert=files["expired"], tls_key=files["expired_key"])
    assert "expired at" in gateway.stderr and "warning" in gateway.stderr


# TLS to the database


PASSWORD = "correct%horse:battery@staple/9"


@pytest.fixture(scope="module")
def guarded(authority):
    """A cluster that takes one user by TLS and a SCRAM password only; its certificate is for db.test."""
    with private_cluster() as cluster:
        install(cluster.dsn())
        certificate, key = authority.issue("database", hosts=("db.test",))
        data = pathlib.Path(cluster.directory, "data")
        for path, name in ((certificate, "server.crt"), (key, "server.key")):
            (data / name).write_bytes(path.read_bytes())
            (data / name).chmod(0o600)
            if os.geteuid() == 0:
                shutil.chown(data / name, "postgres", "postgres")
        cluster.execute("alter system set ssl = on")
        cluster.execute("set password_encryption = 'scram-sha-256'; create role guarded login password "
                        f"'{PASSWORD}' in role jobfeed_gateway")
        rules = data / "pg_hba.conf"
        rules.write_text("hostssl all guarded 127.0.0.1/32 scram-sha-256\nhost all guarded all reject\n"
                         + rules.read_text())
        cluster.execute("select pg_reload_conf()")
        until(lambda: connects(cluster, authority), "TLS")
        yield cluster


def connects(cluster, authority):
    try:
        psycopg.connect(guarded_url(cluster, authority)).close()
        return True
    except psycopg.OperationalError:
        return False


def guarded_url(cluster, authority, password=PASSWORD, host="db.test", **parameters):
    parameters = {"hostaddr": "127.0.0.1", "sslmode": "verify-full", "sslrootcert": authority.file, **parameters}
    secret = ":" + urllib.parse.quote(password, safe="") if password else ""
    return f"postgresql://guarded{secret}@{host}:{cluster.port}/postgres?{urllib.parse.urlencode(parameters)}"


def test_tls_and_scram_to_the_database(guarded, authority, gateways, tmp_path):
    """By URL, and by libpq's environment and a password file."""
    passwords = tmp_path / "pgpass"
    passwords.write_text("*:*:*:guarded:" + PASSWORD.replace(":", "\\:") + "\n")
    passwords.chmod(0o600)
    environment = {
        "PGHOST": "db.test", "PGHOSTADDR": "127.0.0.1", "PGPORT": str(guarded.port), "PGUSER": "guarded",
        "PGDATABASE": "postgres", "PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(authority.file),
        "PGPASSFILE": str(passwords), "JOBFEED_JWT_SECRET": wire.SECRET}
    code, out, errors = server("check", **environment)
    assert code == 0 and "jobs" in out, errors
    gateway = gateways(guarded_url(guarded, authority))
    with gateway.client() as client:
        assert client.subscribe().state == "live"
    with psycopg.connect(guarded.dsn()) as connection:
        encrypted = connection.execute(
            "select count(*), count(*) filter (where s.ssl and a.usename = 'guarded') from pg_stat_activity a"
            " join pg_stat_ssl s using (pid) where a.application_name like 'jobfeed/%'").fetchone()
    assert encrypted[0] == encrypted[1] >= 3


@pytest.mark.parametrize(
    "change, complaint, advice",
    [({"sslrootcert": "{stranger}"}, "certificate verify failed", "sslrootcert"),
     ({"sslrootcert": "/nowhere/ca.pem"}, "/nowhere/ca.pem", "sslrootcert"),
     ({"host": "other.test"}, "does not match host name", "name that stands in the server's certificate"),
     ({"password": "wrong-pass-phrase"}, "password authentication failed", "percent-encoded"),
     ({"password": ""}, "no password supplied", "PGPASSFILE"),
     ({"sslmode": "disable"}, "pg_hba.conf", "hostssl")],
    ids=["authority", "no authority", "host name", "password", "no password", "plain text"])
@pytest.mark.parametrize("command", ["serve", "check"])
def test_refused_by_the_database(guarded, authority, tmp_path, change, complaint, advice, command):
    stranger = Authority(tmp_path, "stranger")
    change = {name: value.format(stranger=stranger.file) for name, value in change.items()}
    url = guarded_url(guarded, authority, **change)
    options = ["--port", 0] if command == "serve" else []
    code, out, errors = server(command, *options, DATABASE_URL=url, JOBFEED_JWT_SECRET=wire.SECRET, HOME=str(tmp_path))
    assert code == 78 and complaint in errors and advice in errors, errors
    for secret in (PASSWORD, urllib.parse.quote(PASSWORD, safe=""), change.get("password") or PASSWORD, wire.SECRET):
        assert secret not in errors + out
    assert len(errors) < 2000


def test_a_database_without_tls(house, authority):
    url = house.database.dsn() + "?sslmode=require"
    code, _, errors = server("check", DATABASE_URL=url, JOBFEED_JWT_SECRET=wire.SECRET)
    assert code == 78 and "does not support SSL" in errors and "switch ssl on" in errors, errors


# Pages of other origins


def upgrade(gateway, *headers, host=None, bearer="good"):
    """Asks for a WebSocket; status, content type and body of the answer."""
    host = f"127.0.0.1:{gateway.port}" if host is None else host
    lines = [
        "GET /v1/feed HTTP/1.1", f"Host: {host}", "Connection: Upgrade", "Upgrade: websocket",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        *([f"Authorization: Bearer {wire.token()}"] if bearer else []), *headers]
    connection = socket.create_connection(("127.0.0.1", gateway.port), wire.PATIENCE)
    if gateway.trust:
        connection = gateway.trust.wrap_socket(connection, server_hostname="localhost")
    with connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        if answer.status == 101:
            return 101, None, None
        return answer.status, answer.headers["content-type"], json.loads(answer.read())


@pytest.fixture(scope="module")
def choosy(house, tmp_path_factory):
    """A gateway in plain text that lists some origins."""
    options = {"allowed_origins": "https://App.Example.com, http://localhost:3000,https://port.example:443"}
    gateway = Gateway(house.database.dsn(), tmp_path_factory.mktemp("choosy"), options).start().wait_ready()
    yield gateway
    gateway.kill()


@pytest.mark.parametrize(
    "origin, host, forwarded, wanted",
    [(None, None, None, 101),
     # Its own host: by either scheme, unless a proxy says by which.
     ("http://feed.test", "feed.test", None, 101), ("https://feed.test", "feed.test", None, 101),
     ("https://feed.test", "feed.test", "https", 101), ("http://feed.test", "feed.test", "https", 403),
     ("http://feed.test", "feed.test", "http", 101),
     ("HTTP://Feed.Test", "fEED.tEST", None, 101),
     ("https://feed.test", "feed.test:443", None, 101), ("http://feed.test", "feed.test:80", None, 101),
     ("https://feed.test", "feed.test:80", None, 403),
     ("http://feed.test:8080", "feed.test:8080", None, 101), ("http://feed.test:8081", "feed.test:8080", None, 403),
     ("http://feed.test", "feed.test:8080", None, 403),
     # Not its own host, however alike.
     ("http://feed.test.evil.example", "feed.test", None, 403), ("http://evil.feed.test", "feed.test", None, 403),
     ("http://feed.test@evil.example", "feed.test", None, 403), ("ftp://feed.test", "feed.test", None, 403),
     ("feed.test", "feed.test", None, 403), ("http://feed.test/", "feed.test", None, 403),
     ("null", "feed.test", None, 403), ("null", "null", None, 403), ("", "feed.test", None, 403),
     ("http://", "", None, 403),
     # Listed.
     ("https://app.example.com", None, None, 101), ("https://APP.example.com", None, None, 101),
     ("http://app.example.com", None, None, 403), ("https://app.example.com:8443", None, None, 403),
     ("https://other.example.com", None, None, 403), ("http://localhost:3000", None, None, 101),
     ("http://localhost", None, None, 403), ("https://port.example", None, None, 101)])
def test_origins(choosy, origin, host, forwarded, wanted):
    headers = [] if origin is None else [f"Origin: {origin}"]
    headers += [f"X-Forwarded-Proto: {forwarded}"] if forwarded else []
    status, kind, problem = upgrade(choosy, *headers, host=host)
    assert status == wanted, problem
    if wanted == 403:
        assert kind == "application/problem+json"
        assert (problem["status"], problem["code"]) == (403, "forbidden") and "--allowed-origins" in problem["detail"]
        assert origin in ("", "http://") or origin not in problem["detail"]


@pytest.mark.parametrize("first", ["http://feed.test", "http://evil.example"])
def test_several_origins(choosy, first):
    status, kind, problem = upgrade(choosy, f"Origin: {first}", "Origin: http://feed.test", host="feed.test")
    assert status == 400 and "one Origin" in problem["detail"] and kind == "application/problem+json"
    assert upgrade(choosy, f"Origin: {first}, http://feed.test", host="feed.test")[0] == 403


def test_origin_before_token(choosy):
    """A page of somewhere else does not learn whether a token is good."""
    assert upgrade(choosy, "Origin: http://evil.example", "Authorization: Bearer x")[0] == 403


def test_own_origin_of_a_gateway_with_tls(secure):
    host = f"127.0.0.1:{secure.port}"
    assert upgrade(secure, f"Origin: https://{host}")[0] == 101
    assert upgrade(secure, f"Origin: http://{host}")[0] == 403


def test_all_origins(house, gateways):
    gateway = gateways(house.database, allowed_origins="https://app.example.com,*")
    for origin in ("http://evil.example", "null", "https://app.example.com"):
        assert upgrade(gateway, f"Origin: {origin}")[0] == 101


@pytest.mark.parametrize("origins", ["app.example.com", "https://app.example.com/", "https://*.example.com", "null",
                                     "https://", "https://user@app.example.com"])
def test_origins_that_no_page_has(house, origins):
    code, _, errors = server("check", "--allowed-origins", f"http://localhost:3000,{origins}",
                             DATABASE_URL=house.database.dsn(), JOBFEED_JWT_SECRET=wire.SECRET)
    assert code == 78 and "allowed-origins" in errors and origins in errors, errors


# Least privilege


def test_the_login_needs_nothing_but_the_role(house, gateways):
    gateway = gateways(house.database.dsn("gateway_login"))
    user = house.user()
    job = house.job(house.thread(user))
    with gateway.client(user) as client:
        assert list(client.subscribe().rows) == [str(job)]
    assert "superuser" not in gateway.stderr
    held = house.one("select rolsuper or rolcreaterole or rolcreatedb or rolbypassrls or rolreplication from pg_roles"
                     " where rolname = 'gateway_login'")
    assert held is False


def test_a_superuser_is_served_and_warned(house):
    # The house's gateway logs in as postgres.
    assert "postgres is a superuser" in house.gateway.stderr
    code, out, errors = server("check", DATABASE_URL=house.database.dsn(), JOBFEED_JWT_SECRET=wire.SECRET)
    assert code == 0 and "superuser" in errors and "superuser" not in out


# Hostile names and values

# The accent makes one character of itself and the quote, for whoever counts characters.
NAMES = ['"; drop table job; --', 'a"\u0301b"; select 1 --', "o'clock", "'\u0301; --", "a.b", "a\\b", "日本", "🚀", "$1", "%s %(x)s",
         "{x}", " ", "NULL", "x" * 63]
VALUES = ["'; drop table job; --", "\\'; drop table job; --", '"', '{"a"}', "{a,b}", "$1", "\u0301", "''", "a\"\u0301", "NULL",
          "😀\n\t", "eq.x", "%", "*" * 3, "not.is.null"]


def quoted(name):
    return psycopg.sql.Identifier(name).as_string()


@pytest.fixture(scope="module")
def hostile(house):
    """A feed whose schema, table, columns, keys, owners and values try to be SQL."""
    schema, table = 'we"ird\'; --', '"; drop table job; --\u0301'
    owner, status = 'ow"\u0301ner; --', "st'atus\\"
    columns = ", ".join(f"{quoted(name)} text" for name in NAMES)
    where = f"{quoted(schema)}.{quoted(table)}"
    house.run(f"create schema {quoted(schema)}")
    house.run(f"create table {where} (k text primary key, {quoted(owner)} text, {quoted(status)} text not null, {columns})")
    house.run("select jobfeed.attach('hostile', %s::regclass, status => %s, owner => %s)", where, status, quoted(owner))
    house.hostile = where
    house.hostile_owner, house.hostile_status = owner, status
    return house


def put(house, key, owner, status="s", **columns):
    row = {"k": key, house.hostile_owner: owner, house.hostile_status: status, **columns}
    places = ", ".join(["%s"] * len(row))
    names = ", ".join(map(quoted, row)).replace("%", "%%")
    house.run(f"insert into {house.hostile.replace('%', '%%')} ({names}) values ({places})", *row.values())


@pytest.mark.parametrize("name", NAMES)
def test_hostile_columns(hostile, name):
    user = hostile.user()
    with hostile.client(user) as client:
        everything = client.subscribe("hostile", key=("k",))
        assert everything.state == "live", everything.error
        early = [client.subscribe("hostile", key=("k",), filter=f"{name}=eq.{value}") for value in VALUES]
        assert all(held.state == "live" for held in early), [held.error for held in early if held.error]
        only = client.subscribe("hostile", key=("k",), columns=[name])
        listed = client.subscribe("hostile", key=("k",), filter=f'{name}=in.("; drop table job; --",x)')
        assert listed.state == "live", listed.error
        for value in VALUES:
            put(hostile, f"{user}/{value}", user, **{name: value})
        client.wait(lambda: len(everything.rows) == len(VALUES), "the rows")
        for held, value in zip(early, VALUES):
            client.wait(lambda: list(held.rows) == [f"{user}/{value}"], f"the row of {value!r}")
            # The same from the snapshot, where SQL filters.
            late = client.subscribe("hostile", key=("k",), filter=f"{name}=eq.{value}")
            assert late.rows == held.rows, late.error
        assert {row[name] for row in only.rows.values()} == set(VALUES) and listed.rows == {}
    assert hostile.one("select to_regclass('job') is not null")


@pytest.mark.parametrize("value", VALUES)
def test_hostile_keys_and_states(hostile, value):
    user = hostile.user()
    key = f"{value},{user}"
    with hostile.client(user) as client:
        early = client.subscribe(f"hostile/{key}", key=("k",))
        put(hostile, key, user, value)
        put(hostile, "other" + key, user, "s")
        client.wait(lambda: early.rows, "the row")
        late = client.subscribe(f"hostile/{key}", key=("k",))
        counts = client.subscribe("hostile#counts")
        assert list(late.rows) == list(early.rows) == [key]
        assert {s: n for s, n in counts.counts.items() if n} == {value: 1, "s": 1}
        if "," not in value:
            states = client.subscribe(f"hostile:{value}", key=("k",))
            assert list(states.rows) == [key], states.error
        resumed = client.subscribe("hostile", key=("k",), resume=early.cursor)
        assert resumed.state == "live" and resumed.answer["recovered"] is True
    assert hostile.one("select to_regclass('job') is not null")


USERS = ["alice'; drop table job; --", "alice', true); select set_config('jobfeed.access', 'operator", "jobfeed_operator", "postgres",
         "operator", "ALICE", "alice ", " alice", "alice\u0301", "\u200balice", "ali%", "_____", "*", "{alice}", '{"alice"}', "null",
         "alice\\", "alice\n", "😀", "a" * 8000, "alice\x01", "1", "0", "true"]


@pytest.mark.parametrize("user", USERS, ids=lambda user: repr(user[:30]))
def test_hostile_users(hostile, user):
    if not hostile.one("select exists (select from thread where author = 'alice')"):
        hostile.job(hostile.thread("alice"))
        put(hostile, "alice's", "alice")
    mine = hostile.job(hostile.thread(user))
    put(hostile, f"of {user[:100]}", user)
    with hostile.client(user, by="frame") as client:
        jobs, rows = client.subscribe(), client.subscribe("hostile", key=("k",))
        assert client.welcome()["user"] == user
        assert list(jobs.rows) == [str(mine)] and list(rows.rows) == [f"of {user[:100]}"]
        hostile.run("update job set path = '/changed'")
        client.wait(lambda: jobs.rows[str(mine)]["path"] == "/changed", "the update")
        assert [key for _, key, _, _ in jobs.log] == [str(mine)]


@pytest.mark.parametrize("user", ["", "alice\x00", "\x00", 7, True, None, ["alice"], {"a": "alice"}, "a" * (1 << 20)],
                         ids=lambda user: repr(user)[:20])
def test_impossible_users(house, user):
    bearer = wire.token(user, sub=user)
    if not isinstance(user, str) or len(user) < 100:
        assert house.gateway.get("/v1/feed", {"Authorization": f"Bearer {bearer}"})[0] == 401
    with house.client("alice", by="", bearer=bearer) as client:
        client.problems.clear()
        client.send({"type": "authenticate", "id": "0", "token": bearer})
        assert client.closed() == (1009 if isinstance(user, str) and len(user) > 100 else 4501)


# Accounts stay accounts


def forged(payload, header=None, sign=None):
    """A token as somebody makes it who has no key."""
    def part(value):
        text = value if isinstance(value, str) else json.dumps(value)
        return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()

    signed = part(header or {"alg": "HS256", "typ": "JWT"}) + "." + part(payload)
    signature = sign(signed.encode()) if sign else b""
    return signed + "." + base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


def hs256(secret):
    return lambda signed: hmac.digest(secret, signed, "sha256")


@pytest.fixture(scope="module")
def tempting(postgres, installed_template, tmp_path_factory):
    """A gateway that takes HS256 and RS256, and rows whose secrets an account may not see."""
    directory = tmp_path_factory.mktemp("tempting")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = directory / "public.pem"
    public.write_bytes(key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    with postgres.fresh_database(installed_template) as database:
        gateway = Gateway(database.dsn(), directory, {"jwt_public_key_file": public}).start().wait_ready()
        gateway.house = House(database, gateway)
        gateway.public = public.read_bytes()
        gateway.rsa = key
        yield gateway
        code = gateway.process.poll()
        gateway.kill()
        database.close()
        assert code is None, f"the gateway died with {code}: {gateway.stderr[-2000:]}"


def forgeries(gateway, user):
    now = time.time()
    mighty = {"sub": user, "access": "operator", "exp": now + 3600}
    account = {**mighty, "access": "account"}
    genuine = wire.token(user).split(".")
    raised = forged(mighty).split(".")
    none = b"0123456789abcdef" * 4
    return {
        "none": forged(mighty, {"alg": "none"}), "None": forged(mighty, {"alg": "None"}),
        "no alg": forged(mighty, {"typ": "JWT"}), "alg of another type": forged(mighty, {"alg": ["HS256"]}),
        "empty signature": forged(mighty), "other key": forged(mighty, sign=hs256(none)),
        "empty key": forged(mighty, sign=hs256(b"")), "zeros": forged(mighty, sign=hs256(bytes(64))),
        "HS256 by the public key": forged(mighty, sign=hs256(gateway.public)),
        "HS256 by the stripped public key": forged(mighty, sign=hs256(gateway.public.strip())),
        "RS256 by the secret": forged(mighty, {"alg": "RS256"}, hs256(wire.SECRET.encode())),
        "another alg of the same key": forged(mighty, {"alg": "ES256"}, hs256(wire.SECRET.encode())),
        "kid of a file": forged(mighty, {"alg": "HS256", "kid": "../../../dev/null"}, hs256(b"")),
        "kid of SQL": forged(mighty, {"alg": "HS256", "kid": "x' union select 'k"}, hs256(b"k")),
        "jwk": forged(mighty, {"alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}}, hs256(bytes(3))),
        "jku": forged(mighty, {"alg": "RS256", "jku": "http://127.0.0.1:1/jwks"}, hs256(none)),
        "x5u": forged(mighty, {"alg": "RS256", "x5u": "http://127.0.0.1:1/x"}, hs256(none)),
        "raised payload": ".".join([genuine[0], raised[1], genuine[2]]),
        "expired": wire.token(user, ttl=-1), "expired operator": wire.token(user, "operator", ttl=-1),
        "not yet": wire.token(user, nbf=now + 3600), "no exp": wire.token(user, exp=None),
        "no access": wire.token(user, access=None), "access by another name": wire.token(user, "Operator"),
        "access with a space": wire.token(user, "operator "), "unknown access": wire.token(user, "root"),
        "access in an object": wire.token(user, {"operator": True}), "access of a number": wire.token(user, 1),
        "encrypted": "a.b.c.d.e", "rubbish": "x", "empty": "", "dots": "..",
        "account by nobody": forged(account),
    }


@pytest.mark.parametrize("by", ["header", "protocol", "frame"])
def test_forged_tokens(tempting, by):
    for name, bearer in forgeries(tempting, "alice").items():
        if by == "frame":
            if not bearer:
                continue  # a command without its token; test_protocol.py
            with tempting.client(by="", bearer=bearer or "x") as client:
                client.send({"type": "authenticate", "id": "0", "token": bearer})
                code, frames = client.closed(), client.frames
                client.problems.clear()
            assert code == 4501, name
            assert [frame["type"] for frame in frames] == ["error"], name
            assert len(bearer) < 10 or bearer not in str(frames), name
            continue
        header = f"Authorization: Bearer {bearer}" if by == "header" else f"Sec-WebSocket-Protocol: jobfeed.v1, bearer.{bearer}"
        status, kind, problem = upgrade(tempting, header, bearer=None)
        assert status == 401 and kind == "application/problem+json", (name, status)
        assert len(bearer) < 10 or bearer not in str(problem), name


def commands(rng, gateway, user, cursors, forgery):
    """One random thing that an account may try."""
    other = gateway.house
    kind = rng.randrange(14)
    number = f"q{rng.randrange(6)}"
    if kind == 0:
        return "good", {"type": "authenticate", "id": "a", "token": wire.token(user, ttl=rng.randrange(60, 4000))}
    if kind == 1:
        return "bad", {"type": "authenticate", "id": "a", "token": rng.choice(forgery)}
    if kind == 2 and rng.randrange(4) == 0:
        return "fatal", {"type": "authenticate", "id": "a", "token": rng.choice(
            [wire.token("bob"), wire.token("bob", "operator"), wire.token(user, "operator"),
             wire.token(user, ["account", "operator"]), wire.token("root", "operator")])}
    if kind == 3:
        return None, {"type": "unsubscribe", "id": number}
    if kind == 4:
        other.run("update job set errors = %s where path like '/%%'", json.dumps([{"message": f"HIDDEN {rng.random()}"}]))
    if kind == 5:
        other.run("update job set payload = %s where path = '/bob'", json.dumps({"x": f"BOBS {rng.random()}"}))
    if kind == 6 and rng.randrange(3) == 0:
        # Everybody is reset, some of them while they are still asking.
        other.run("select jobfeed.attach('jobs', 'job', status => 'status', owner => 'assigned_to.author',"
                  " hidden => '{errors}', quiet => '{updated_at}', gauges => '{progress}')")
    channel = rng.choice(["jobs", "jobs#counts", "jobs:pending", "jobs:pending,failed", f"jobs/{other.bobs}", f"jobs/{other.mine}",
                          "thread", "jobs/%", "jobs:operator"])
    command = {"type": "subscribe", "id": number, "channel": channel}
    if rng.randrange(2):
        command["resume"] = rng.choice(cursors)
    if rng.randrange(4) == 0:
        command["columns"] = rng.choice([["errors"], ["status", "errors"], ["status"], ["*"], ["errors->x"], ["payload"]])
    if rng.randrange(4) == 0:
        command["filter"] = rng.choice(["errors=not.is.null", "errors->>message=like.HIDDEN*", "path=eq./bob", "assigned_to=eq.2",
                                        "path=like.*", "author=eq.bob", "assigned_to.author=eq.bob", "status=eq.pending&path=neq.x",
                                        "payload->>x=like.BOBS*"])
    for name, value in (("snapshot", False), ("limit", 1), ("max_rate", 5), ("user", "bob"), ("access", "operator"),
                        ("viewer", "operator"), ("hidden", []), ("token", wire.token("bob", "operator"))):
        if rng.randrange(10) == 0:
            command[name] = value
    return None, command


@pytest.mark.parametrize("seed", range(12))
def test_an_account_never_gets_an_operators_mask(tempting, seed):
    seed = int(os.environ.get("JOBFEED_SEED", seed))
    rng = random.Random(seed)
    house = tempting.house
    user = f"alice{seed}"
    house.mine = house.job(house.thread(user), path="/mine")
    house.bobs = house.job(house.thread("bob"), path="/bob", payload='{"x": "BOBS"}')
    house.run("update job set errors = '[{\"message\": \"HIDDEN\"}]'")
    with house.client("root", "operator") as root:
        seen = root.subscribe()
        # The test is worth nothing if nobody sees what it looks for.
        assert "HIDDEN" in str(seen.rows[str(house.mine)]["errors"]) and "BOBS" in str(seen.rows[str(house.bobs)]["payload"])
        cursors = [seen.cursor, seen.cursor[:-2], "x", "", seen.cursor[::-1]]
    forgery = list(forgeries(tempting, user).values())
    received, done, code = [], [], None
    with websockets.sync.client.connect(
            tempting.url.replace("http", "ws") + "/v1/feed", subprotocols=["jobfeed.v1"], max_size=None, proxy=None,
            additional_headers={"Authorization": f"Bearer {wire.token(user)}"}) as socket:
        try:
            for step in range(40):
                expected, command = commands(rng, tempting, user, cursors, forgery)
                done.append(command)
                at = len(received)
                socket.send(json.dumps(command))
                if rng.randrange(3) and not expected:
                    continue
                socket.send(json.dumps({"type": "ping", "id": f"p{step}"}))
                while not received or f'"p{step}"' not in received[-1]:
                    received.append(socket.recv(wire.PATIENCE))
                answers = [frame for frame in map(json.loads, received[at:]) if frame.get("id") == "a"]
                if expected == "good":
                    assert [frame["type"] for frame in answers] == ["authenticated"], (seed, command, answers)
                if expected == "bad":
                    assert {frame.get("code") for frame in answers} <= {"invalid_token", "missing_field", "invalid_field"} - {None}, \
                        (seed, command, answers)
                    assert answers, (seed, command)
                assert expected != "fatal", (seed, command, answers)
            # What is under way has to arrive, too.
            for id in (f"q{number}" for number in range(6)):
                socket.send(json.dumps({"type": "unsubscribe", "id": id}))
            socket.send(json.dumps({"type": "subscribe", "id": "last", "channel": "jobs"}))
            while '"live"' not in received[-1] or '"last"' not in received[-1]:
                received.append(socket.recv(wire.PATIENCE))
            house.run("update job set path = '/end' where id = %s", house.mine)
            while '"/end"' not in received[-1]:
                received.append(socket.recv(wire.PATIENCE))
        except websockets.exceptions.ConnectionClosed:
            while True:
                try:
                    received.append(socket.recv(wire.PATIENCE))
                except websockets.exceptions.ConnectionClosed:
                    break
            code = socket.close_code
            assert expected == "fatal", (seed, code, socket.close_reason, done[-3:])
            assert (code, socket.close_reason) == (4503, "forbidden"), (seed, done[-1])
    everything = "\n".join(received)
    assert json.loads(received[0])["access"] == "account"
    assert '"operator"' not in everything.replace('column \\"', ""), seed
    for frame in map(json.loads, received):
        if frame["type"] in ("snapshot", "changes"):
            text = json.dumps(frame)
            assert "HIDDEN" not in text and "BOBS" not in text and "/bob" not in text and '"errors"' not in text, (seed, frame)


# Revocation


def issued(user, access="account", ago=600, **claims):
    """A token that says when it was issued, and by what name."""
    return wire.token(user, access, iat=time.time() - ago, **claims)


def kick(database, *arguments):
    return server("kick", *arguments, DATABASE_URL=database.dsn())


def status(gateway, bearer):
    code, body, _ = gateway.get("/v1/feed", {"Authorization": f"Bearer {bearer}"})
    return code, json.loads(body)["detail"]


@pytest.fixture(scope="module")
def pair(postgres, installed_template, tmp_path_factory):
    """Two nodes of one database."""
    directory = tmp_path_factory.mktemp("pair")
    with postgres.fresh_database(installed_template) as database:
        nodes = [Gateway(database.dsn("gateway_login"), directory, {"node": f"node{number}"}).start() for number in (1, 2)]
        yield database, [node.wait_ready() for node in nodes]
        codes = [node.process.poll() for node in nodes]
        for node in nodes:
            node.kill()
        database.close()
        assert codes == [None, None], [node.stderr[-2000:] for node in nodes]


def test_kick_a_user_on_every_node(pair):
    database, nodes = pair
    old = issued("kicked")
    kicked = [node.client("kicked", by=by, bearer=bearer) for node in nodes
              for by, bearer in (("header", old), ("frame", issued("kicked", "operator")), ("header", wire.token("kicked")))]
    others = [node.client(user, bearer=issued(user)) for node in nodes for user in ("Kicked", "kicked ", "other")]
    for client in kicked + others:
        client.subscribe()
    code, out, errors = kick(database, "--user", "kicked", "--lasts", "1h")
    assert code == 0 and "kicked" in out and "1h" in out, errors
    for client in kicked:
        assert (client.closed(), client.close_reason) == (4504, "revoked")
    for node in nodes:
        for bearer in (old, wire.token("kicked"), issued("kicked", "operator")):
            assert status(node, bearer)[0] == 401 and "revoked" in status(node, bearer)[1]
        with node.client(by="", bearer=old) as client:
            client.send({"type": "authenticate", "id": "0", "token": old})
            assert client.closed() == 4501 and "revoked" in client.frames[0]["message"]
        # Whoever signs in anew is welcome.
        with node.client("kicked", bearer=issued("kicked", ago=-2)) as client:
            assert client.subscribe().state == "live"
    for client in others:
        assert client.ask({"type": "ping", "id": "p"}, "pong")
        client.close()


def test_kick_a_token(pair):
    database, nodes = pair
    first, second = issued("twice", jti="first '; --"), issued("twice", jti="second")
    gone = [node.client("twice", bearer=first) for node in nodes]
    kept = [node.client("twice", bearer=second) for node in nodes]
    assert kick(database, "--token-id", "first '; --")[0] == 0
    assert [client.closed() for client in gone] == [4504, 4504]
    for node, client in zip(nodes, kept):
        assert status(node, first)[0] == 401 and status(node, second)[0] == 426
        # A refresh cannot bring it back, and does not cost the session.
        assert client.ask({"type": "authenticate", "id": "a", "token": first}, "error")["code"] == "invalid_token"
        assert client.ask({"type": "authenticate", "id": "b", "token": second}, "authenticated")
        client.close()


def test_kick_after_a_refresh(pair):
    """The token that the session holds now counts, not the one that it began with."""
    database, nodes = pair
    with nodes[0].client("renewed", bearer=issued("renewed", jti="begin")) as client:
        client.ask({"type": "authenticate", "id": "a", "token": issued("renewed", jti="renewed")}, "authenticated")
        assert kick(database, "--token-id", "begin")[0] == 0
        until(lambda: status(nodes[0], issued("renewed", jti="begin"))[0] == 401, "the revocation")
        assert client.ask({"type": "ping", "id": "p"}, "pong")
        assert kick(database, "--token-id", "renewed")[0] == 0
        assert client.closed() == 4504


def test_kicks_that_commit_out_of_order(pair):
    database, nodes = pair
    late, early = database.connect(autocommit=False), database.connect()
    clients = {user: nodes[0].client(user, bearer=issued(user)) for user in ("late", "early")}
    late.execute("select jobfeed.kick(user_name => 'late')")
    early.execute("select jobfeed.kick(user_name => 'early')")
    assert clients["early"].closed() == 4504
    late.commit()
    assert clients["late"].closed() == 4504


def test_kick_ends(pair):
    database, nodes = pair
    bearer = issued("forgiven")
    assert kick(database, "--user", "forgiven", "--lasts", "2s")[0] == 0
    for node in nodes:
        until(lambda: status(node, bearer)[0] == 401, "the revocation")
    for node in nodes:
        until(lambda: status(node, bearer)[0] == 426, "its end")


def test_kick_holds_after_a_restart(installed, gateways):
    assert kick(installed, "--user", "alice")[0] == 0
    gateway = gateways(installed, ready=False)
    assert status(gateway, issued("alice"))[0] == 401
    gateway.kill()
    gateway.start()
    assert status(gateway, issued("alice"))[0] == 401 and status(gateway, issued("bob"))[0] == 426


@pytest.mark.parametrize(
    "arguments, user, wanted, complaint",
    [([], "postgres", 64, "either"), (["--user", "a", "--token-id", "b"], "postgres", 64, "either"),
     (["--user", ""], "postgres", 64, "empty"), (["--user", "a", "--lasts", "soon"], "postgres", 64, "--lasts"),
     (["--user", "a", "--lasts", "999999999999d"], "postgres", 64, "--lasts"),
     (["--user", "a"], "gateway_login", 78, "may not revoke"), (["--user", "a"], "app", 78, "revoke")])
def test_kick_refuses(house, arguments, user, wanted, complaint):
    code, out, errors = server("kick", *arguments, DATABASE_URL=house.database.dsn(user))
    assert code == wanted and complaint in errors and out == "", errors


def test_kick_without_jobfeed(database):
    code, _, errors = server("kick", "--user", "a", DATABASE_URL=database.dsn())
    assert code == 78 and "install" in errors, errors
    assert server("kick", "--user", "a", DATABASE_URL="postgres://postgres@127.0.0.1:1/x")[0] == 69


# Silence about secrets


@pytest.mark.parametrize("text", ['jwt-secret: "{secret}\nhost: [\n', "jwt-secret: {secret}: x\n", "jwt-secret: [{secret}\n",
                                  "jwt-secret: &{secret} *{secret}\n", "\tjwt-secret: {secret}\n", "{secret}", "- {secret}\n"])
def test_a_broken_configuration_file_is_not_quoted(house, tmp_path, text):
    file = tmp_path / "jobfeed.yml"
    file.write_text(text.format(secret=wire.SECRET))
    for command in ("check", "serve"):
        code, out, errors = server(command, "--config", file, DATABASE_URL=house.database.dsn())
        assert code == 78 and wire.SECRET not in errors + out, errors


def test_secrets_have_no_flag():
    for command in ("serve", "check", "token", "kick", "install"):
        help = server(command, "--help")[1]
        assert "--jwt-secret-file" in help or command in ("kick", "install")
        assert "--jwt-secret " not in help and "--database " not in help and "--database-url" not in help and "--password" not in help
        code, out, errors = server(command, "--jwt-secret", wire.SECRET)
        assert code == 64 and wire.SECRET not in out + errors


@pytest.mark.parametrize("level", [None, "debug"])
def test_nothing_planted_is_found(guarded, authority, gateways, level):
    """Every path that secrets take, and then a look at all that was said."""
    options = {"log_level": level} if level else {}
    gateway = gateways(guarded_url(guarded, authority), heartbeat_seconds=1, **options)
    planted = {
        "database password": PASSWORD, "quoted database password": urllib.parse.quote(PASSWORD, safe=""),
        "JWT secret": wire.SECRET, "payload": "planted-in-payload", "errors": "planted-in-errors", "path": "planted-in-path",
        "filter": "planted-in-filter", "command": "planted-in-command"}
    said = []

    def writer(statement, *parameters):
        with psycopg.connect(guarded.dsn(), autocommit=True) as connection:
            return connection.execute(statement, parameters or None)

    def row(user):
        with psycopg.connect(guarded.dsn(), autocommit=True) as connection:
            thread = connection.execute("insert into thread (title, author) values ('t', %s) returning id", [user]).fetchone()[0]
            return connection.execute(
                "insert into job (assigned_to, path, payload, errors) values (%s, '/planted-in-path', %s, %s) returning id",
                [thread, '{"x": "planted-in-payload"}', '[{"message": "planted-in-errors"}]']).fetchone()[0]

    user = f"user-{level}"
    job = row(user)
    good = wire.token(user)
    planted["good token"] = good.split(".")[2]
    for number, (name, bearer) in enumerate({
            "expired": wire.token(user, ttl=-1), "forged": wire.token(user, secret="x" * 64), "raised": good[:-6] + "AAAAAA",
            "without a user": wire.token(None, sub=None)}.items()):
        planted[f"token {name}"] = bearer.split(".")[2]
        said.append(str(upgrade(gateway, f"Authorization: Bearer {bearer}", bearer=None)))
        said.append(str(upgrade(gateway, f"Sec-WebSocket-Protocol: jobfeed.v1, bearer.{bearer}", bearer=None)))
        said.append(str(upgrade(gateway, f"Authorization: {bearer}", bearer=None)))
        said.append(str(gateway.get(f"/v1/feed?access_token={bearer}")))
        said.append(str(gateway.get(f"/nowhere?token={bearer}")))
        with gateway.client(by="", bearer=bearer) as client:
            client.send({"type": "authenticate", "id": "0", "token": bearer})
            client.closed()
            said += [client.close_reason, str(client.frames)]
    with gateway.client(user, bearer=good) as client:
        held = client.subscribe()
        assert client.ask({"type": "authenticate", "id": "x", "token": good[:-6] + "AAAAAA"}, "error")
        refusals = [
            client.ask({"type": "subscribe", "id": "f1", "channel": "jobs", "filter": "id=eq.planted-in-filter"}, "error"),
            client.ask({"type": "subscribe", "id": "f2", "channel": "jobs", "filter": "errors=eq.planted-in-filter"}, "error"),
            client.ask({"type": "planted-in-command", "id": "f3"}, "error"),
            client.ask({"type": "subscribe", "id": "f4", "channel": "planted-in-command"}, "error"),
            client.ask({"type": "authenticate", "id": "f5", "token": {"planted-in-command": 1}}, "error")]
        assert all(wire.SECRET not in str(refusal) for refusal in refusals)
        writer("select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'jobfeed/%'")
        writer("update job set payload = '{\"x\": \"planted-in-payload too\"}' where id = %s", job)
        client.wait(lambda: "too" in str(held.rows.get(str(job))), "the update")
        guarded.stop("immediate")
        try:
            until(lambda: gateway.get("/readyz")[0] == 503, "the loss")
            said.append(gateway.get("/readyz")[1])
            answer = client.subscribe()
            said.append(str(answer.error))
        finally:
            guarded.start()
        until(lambda: gateway.get("/readyz")[0] == 200, "the database")
        # A feed whose rows do not fit any more, with changes in the log that say so.
        writer("create table broken (k text primary key, owner text, status text)")
        try:
            writer("select jobfeed.attach('broken', 'broken', status => 'status', owner => 'owner')")
            broken = client.subscribe("broken", key=("k",))
            writer("begin; insert into broken values ('planted-in-path', %s, 'planted-in-payload');"
                   "delete from broken; alter table broken alter k type integer using 1; commit".replace("%s", f"'{user}'"))
            client.wait(lambda: broken.resets or broken.error, "the change of the feed")
            said += [str(broken.error)]
        finally:
            writer("select jobfeed.detach('broken')")
            writer("drop table broken")
        client.wait(lambda: broken.error, "the end of the feed")
        said.append(str(broken.error))
        client.send("planted-in-command: no JSON")
        assert client.closed() == 4500
        said.append(client.close_reason)
    arguments = pathlib.Path(f"/proc/{gateway.process.pid}/cmdline").read_bytes().decode()
    if os.geteuid() == 0:
        owner = os.stat(f"/proc/{gateway.process.pid}/environ")
        assert owner.st_mode & 0o077 == 0
    gateway.stop()
    everything = {"stderr": gateway.stderr, "command line": arguments, "answers": "\n".join(map(str, said))}
    assert "Lost the database" in gateway.stderr, "nothing was logged, so nothing was tested"
    for what, secret in planted.items():
        for where, text in everything.items():
            if (what, where) == ("command", "answers"):
                continue
            assert secret not in text, f"{what} in {where}: …{text[max(0, text.index(secret) - 200):][:400]}"
