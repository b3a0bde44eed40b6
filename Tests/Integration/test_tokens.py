"""Tokens that others have issued: the recipes of docs/tokens.md, and keys that are fetched from a URL."""

import base64
import hmac
import http.client
import json
import re
import ssl
import threading
import time

import jwt
import pytest
import wire
from certificates import Authority
from conftest import ROOT, Gateway
from cryptography.hazmat.primitives import serialization
from issuer import PATH, Issuer, Key, forge
from test_metrics import Page
from test_security import server, until

PAGE = (ROOT / "docs" / "tokens.md").read_text()
RECIPES = {section.split("\n")[0]: section for section in re.split(r"^## ", PAGE, flags=re.M)[1:]}
# The payloads of the page are from this time.
THEN = 1_800_000_000


def blocks(title, language):
    return re.findall(rf"^```{language}\n(.*?)^```", RECIPES[title], re.M | re.S)


def payload(title, number=0):
    """As the page shows it, but of today."""
    claims = json.loads(blocks(title, "json")[number])
    shift = int(time.time()) - THEN
    return {name: value + shift if name in ("iat", "nbf", "exp") else value for name, value in claims.items()}


@pytest.fixture(scope="module")
def served(postgres, installed_template):
    with postgres.fresh_database(installed_template) as database:
        yield database
        database.close()


@pytest.fixture(scope="module")
def start(served, tmp_path_factory):
    """Starts a gateway with the keys of an issuer, or with those of a recipe, and nothing but them."""
    started = []
    directory = tmp_path_factory.mktemp("tokens")

    def start(issuer=None, recipe=None, number=0, secret=None, ready=True, **options):
        if recipe:
            text = blocks(recipe, "yaml")[number]
            if issuer:
                text, count = re.subn(r"^jwt-jwks-url: .*$", f"jwt-jwks-url: {issuer.url}", text, flags=re.M)
                assert count == 1, text
            options["config"] = directory / f"{recipe}-{len(started)}.yml"
            options["config"].write_text(text)
        elif issuer:
            options["jwt_jwks_url"] = issuer.url
        gateway = Gateway(served.dsn(), directory, options)
        gateway.environment = {"JOBFEED_JWT_SECRET": secret}
        started.append(gateway.start())
        return gateway.wait_ready() if ready else gateway

    yield start
    for gateway in started:
        code = gateway.process.poll()
        gateway.kill()
        assert code is None, f"a gateway died with {code}: {gateway.stderr[-2000:]}"
        # No token and no part of one in the log.
        assert "eyJ" not in gateway.stderr


def who(gateway, token):
    """Whom the gateway takes the token for."""
    with gateway.client(bearer=token) as client:
        welcome = client.welcome()
        return welcome["user"], welcome["access"]


def ask(gateway, token):
    """What the gateway answers to a token without an upgrade: 426 for a good one."""
    return gateway.get("/v1/feed", {"Authorization": f"Bearer {token}"})


def refused(gateway, token):
    """Why the gateway refuses the token."""
    status, body, _ = ask(gateway, token)
    assert status == 401, (status, body)
    return json.loads(body)["detail"]


def without(claims, *names):
    return {name: value for name, value in claims.items() if name not in names}


def shared(claims, secret, algorithm="HS256", **headers):
    return jwt.encode(claims, secret, algorithm, headers=headers)


# Recipes


def test_supabase(start):
    key = Key("6f1c2b3a-5d4e-4f60-8172-93a4b5c6d7e8")
    with Issuer(key) as issuer:
        gateway = start(issuer, "Supabase")
        user = payload("Supabase")
        assert who(gateway, key.sign(user)) == (user["sub"], "account")
        assert who(gateway, key.sign(user, role="service_role"))[1] == "operator"
        assert "aud" in refused(gateway, key.sign(user, aud="anon"))
        assert "iss" in refused(gateway, key.sign(user, iss="https://other.supabase.co/auth/v1"))
        for role in ("anon", "AUTHENTICATED", "admin", "", None, []):
            assert "role claim gives no access" in refused(gateway, key.sign(user, role=role))
        assert "role claim is an object" in refused(gateway, key.sign(user, role={"service_role": True}))
        assert "no sub claim" in refused(gateway, key.sign(user, sub=""))
        assert "sub claim is a number" in refused(gateway, key.forge({**user, "sub": 7}))
        # The shared secret is not known here, and the new API keys are no tokens.
        assert "accepted are ES256, EdDSA, RS256" in refused(gateway, shared(user, wire.SECRET))
        assert "no signed JWT" in refused(gateway, "sb_secret_0123456789abcdefghijklmnop")


def test_supabase_with_the_shared_secret(start):
    gateway = start(recipe="Supabase", number=1, secret=wire.SECRET)
    user, service = payload("Supabase"), payload("Supabase", 1)
    for header in ({}, {"kid": "Yq3rkV0n1m2b3c4d"}):
        assert who(gateway, shared(user, wire.SECRET, **header)) == (user["sub"], "account")
        assert who(gateway, shared(service, wire.SECRET, **header)) == ("service_role", "operator")
        anon = {**service, "role": "anon"}
        assert "role claim gives no access" in refused(gateway, shared(anon, wire.SECRET, **header))
    # Only operators may be nobody.
    assert "no sub claim" in refused(gateway, shared({**service, "role": "authenticated"}, wire.SECRET))
    assert "signature" in refused(gateway, shared(service, wire.SECRET[::-1]))


def test_supabase_in_migration(start):
    key = Key("new")
    with Issuer(key) as issuer:
        gateway = start(issuer, "Supabase", secret=wire.SECRET)
        user = payload("Supabase")
        for token in (key.sign(user), shared(user, wire.SECRET), shared(user, wire.SECRET, kid="old")):
            assert who(gateway, token) == (user["sub"], "account")
        assert "signature" in refused(gateway, shared(user, "another secret that is long enough to be one"))


def test_fluxbase(start):
    gateway = start(recipe="Fluxbase", secret=wire.SECRET)
    user, service = payload("Fluxbase"), payload("Fluxbase", 1)
    assert who(gateway, shared(user, wire.SECRET)) == (user["sub"], "account")
    assert who(gateway, shared(service, wire.SECRET)) == ("service_role", "operator")
    assert who(gateway, shared({**user, "role": "admin"}, wire.SECRET)) == (user["sub"], "account")
    assert who(gateway, shared({**user, "role": "dashboard_admin"}, wire.SECRET)) == (user["sub"], "operator")
    for claims in (user, service):
        refresh = {**claims, "token_type": "refresh"}
        assert "token_type claim is not access" in refused(gateway, shared(refresh, wire.SECRET))
    anonymous = {**user, "role": "anon", "is_anonymous": True}
    for claims in (anonymous, {**service, "role": "anon"}, without(user, "role"), {**user, "role": "tenant"}):
        assert "role claim gives no access" in refused(gateway, shared(claims, wire.SECRET))
    assert "iss" in refused(gateway, shared({**user, "iss": "supabase"}, wire.SECRET))


def test_surrealdb(start):
    gateway = start(recipe="SurrealDB", secret=wire.SECRET)
    user = payload("SurrealDB")

    def token(**more):
        return shared({**user, **more}, wire.SECRET, "HS512")

    assert who(gateway, token()) == ("r0r71n5hkxu1d2763y9x", "account")
    assert who(gateway, token(AC="operator"))[1] == "operator"
    for identifier in ("user:⟨4f2c1d3e-5a6b⟩", "user:`4f2c1d3e-5a6b`"):
        assert who(gateway, token(ID=identifier)) == ("4f2c1d3e-5a6b", "account")
    for identifier in ("admin:r0r71n5hkxu1d2763y9x", "root", "user:⟨7⟩", "user:u'018f6f3e-6c0e-7c3e-8b7e'"):
        assert "ID claim is not a record of the table user" in refused(gateway, token(ID=identifier))
    assert "DB claim is not main" in refused(gateway, token(DB="other"))
    assert "NS claim is not main" in refused(gateway, shared(without(user, "NS"), wire.SECRET, "HS512"))
    assert "AC claim gives no access" in refused(gateway, token(AC="api"))
    # A system user's: no access method, and the name of no record.
    root = {**without(user, "AC"), "ID": "root"}
    assert "AC claim gives no access" in refused(gateway, shared(root, wire.SECRET, "HS512"))


def test_auth0(start):
    key, next_key = Key("MjQ1RUQ0", "RS256"), Key("OTk3RDdC", "RS256")
    with Issuer(key, next_key) as issuer:
        gateway = start(issuer, "Auth0")
        user, roles = payload("Auth0"), "https://example.com/roles"
        for signer in (key, next_key):
            assert who(gateway, signer.sign(user)) == ("auth0|5f7c8ec7c33c6c004bbafe82", "account")
        assert who(gateway, key.sign(without(user, roles)))[1] == "account"
        assert who(gateway, key.sign({**user, roles: ["editor", "job-operator"]}))[1] == "operator"
        # The same claim under another name is another claim.
        assert who(gateway, key.sign(user, roles=["job-operator"]))[1] == "account"
        assert "roles claim is a boolean" in refused(gateway, key.sign({**user, roles: True}))
        # An ID token is for the client, not for the API.
        assert "aud" in refused(gateway, key.sign(user, aud="my_client_id"))
        assert "iss" in refused(gateway, key.sign(user, iss="https://TENANT.eu.auth0.com"))
        assert "no sub claim" in refused(gateway, key.forge(without(user, "sub")))


def test_clerk(start):
    key = Key("ins_2zR6wKpOiUyTrEwQaSdFgHjKlZx", "RS256")
    with Issuer(key) as issuer:
        gateway = start(issuer, "Clerk")
        user = payload("Clerk")
        assert who(gateway, key.sign(user)) == (user["sub"], "account")
        assert who(gateway, key.sign(without(user, "metadata", "o")))[1] == "account"
        assert who(gateway, key.sign(user, metadata={"role": "job-operator"}))[1] == "operator"
        # An organisation's admin is no operator.
        assert who(gateway, key.sign(user, o={"rol": "job-operator"}, org_role="job-operator"))[1] == "account"
        assert "sts claim is not active" in refused(gateway, key.sign(user, sts="pending"))
        assert "azp claim is not https://app" in refused(gateway, key.sign(user, azp="https://evil.example"))
        assert "role claim is an object" in refused(gateway, key.sign(user, metadata={"role": {"job-operator": 1}}))
        assert "expired" in refused(gateway, key.sign(user, exp=time.time() - 1))
        tenants = start(issuer, "Clerk", jwt_user_claim="o.id")
        assert who(tenants, key.sign(user)) == (user["o"]["id"], "account")
        assert "no o.id claim" in refused(tenants, key.sign(without(user, "o")))
        assert who(start(issuer, "Clerk", jwt_user_claim="org_id"), key.sign(user, org_id="org_1"))[0] == "org_1"


def test_every_recipe_has_a_test():
    mine = "\n".join(name for name in globals() if name.startswith("test_"))
    for title in RECIPES:
        if blocks(title, "yaml"):
            assert f"test_{title.lower()}" in mine


def test_every_option_of_the_page_is_in_operations():
    operations = (ROOT / "docs" / "operations.md").read_text()
    for option in set(re.findall(r"\bjwt-[a-z-]+[a-z]", PAGE)):
        assert f"`{option}`" in operations, option


# Keys that are fetched


def test_rotation(start, served):
    old, new = Key("a"), Key("b", "RS256")
    with Issuer(old) as issuer:
        gateway = start(issuer)
        writer = served.connect()
        thread = writer.execute("insert into thread (title, author) values ('t', 'rotated') returning id").fetchone()[0]
        with gateway.client(bearer=old.sign(sub="rotated", iat=time.time())) as held:
            subscription = held.subscribe()
            # Published ahead of its use, and then the only one.
            issuer.keys = [old, new]
            until(lambda: ask(gateway, new.sign())[0] == 426, "the new key")
            assert ask(gateway, old.sign())[0] == 426
            issuer.keys = [new]
            unknown = Key("c").sign()
            until(lambda: ask(gateway, unknown)[0] and ask(gateway, old.sign())[0] == 401, "the end of the old key")
            assert "does not have (any more)" in refused(gateway, old.sign())
            assert who(gateway, new.sign()) == ("alice", "account")
            # Whoever is connected stays, and goes on with a token of the new key.
            writer.execute("insert into job (assigned_to, path) values (%s, '/rotated')", [thread])
            held.wait(lambda: any(row["path"] == "/rotated" for row in subscription.rows.values()))
            held.send({"type": "authenticate", "id": "r", "token": new.sign(sub="rotated")})
            held.wait(lambda: any(frame["type"] == "authenticated" for frame in held.frames))
        metrics = Page(gateway)
        assert metrics("jobfeed_jwks_keys") == 1
        assert metrics("jobfeed_jwks_unknown_keys_total") >= 2
        assert metrics("jobfeed_jwks_fetches_total", outcome="ok") == issuer.requests


def test_a_flood_of_invented_keys(start):
    key = Key("a")
    with Issuer(key) as issuer:
        gateway = start(issuer)
        until(lambda: ask(gateway, key.sign())[0] == 426, "the keys")
        stranger, before, begun = Key("x"), issuer.requests, time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=wire.PATIENCE)
        answers = set()
        for number in range(500):
            token = stranger.sign(kid=f"invented {number}")
            connection.request("GET", "/v1/feed", headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            answers.add(response.status)
            response.read()
        connection.close()
        # 503 as long as the key may have been published since the last fetch.
        assert answers <= {401, 503}
        # One each five seconds, however long it took.
        assert issuer.requests - before <= 1 + (time.monotonic() - begun) / 5
        assert ask(gateway, key.sign())[0] == 426


def test_a_gateway_starts_without_its_keys(start):
    key = Key("a")
    with Issuer(key) as issuer:
        issuer.fails(503)
        gateway = start(issuer, ready=False)
        status, body, _ = until(
            lambda: (answer := gateway.get("/readyz"))[1].count("HTTP 503") and answer, "the reason in /readyz")
        assert status == 503 and issuer.url in json.loads(body)["detail"]
        assert gateway.get("/healthz")[0] == 200
        status, body, headers = ask(gateway, key.sign())
        problem = json.loads(body)
        assert (status, problem["code"]) == (503, "unavailable"), body
        assert 1 <= int(headers["retry-after"]) <= 60
        with gateway.client(by="frame", bearer=key.sign()) as client:
            assert client.closed() == 1013
            error = next(frame for frame in client.frames if frame["type"] == "error")
            assert (error["code"], error["retry"]) == ("unavailable", True)
        issuer.recovers()
        gateway.wait_ready()
        assert who(gateway, key.sign()) == ("alice", "account")
        assert Page(gateway)("jobfeed_jwks_fetches_total", outcome="refused") >= 1
        assert gateway.stderr.count("cannot be had: it answered HTTP 503") == 1


def test_old_keys_stay_in_use(start):
    key, new = Key("a"), Key("b")
    with Issuer(key) as issuer:
        gateway = start(issuer)
        with gateway.client(bearer=key.sign()) as client:
            client.welcome()
            issuer.hangs()
            # Those who ask for an unknown key may come again; the others do not notice.
            def notes():
                assert ask(gateway, new.sign())[0] == 503
                return json.loads(gateway.get("/readyz")[1])["notes"]

            waiting = threading.Thread(target=until, args=(notes, "the note"))
            waiting.start()
            while waiting.is_alive():
                assert ask(gateway, key.sign())[0] == 426
                waiting.join(0.2)
            assert "did not answer within 5 s" in notes()[0]
            assert gateway.get("/readyz")[0] == 200
            # A refresh that cannot be judged leaves the open connection as it is.
            client.send({"type": "authenticate", "id": "r", "token": new.sign()})
            client.wait(lambda: any(frame.get("code") == "unavailable" for frame in client.frames))
            issuer.keys = [new]
            issuer.recovers()
            until(lambda: ask(gateway, new.sign())[0] == 426, "the new key")
            client.send({"type": "ping", "id": "p"})
            client.wait(lambda: any(frame["type"] == "pong" for frame in client.frames))


def check(served, url, *arguments):
    return server("check", "--jwt-jwks-url", url, *arguments, DATABASE_URL=served.dsn())


def test_servers_that_give_no_keys(served):
    """All at once: some take as long as the gateway waits."""
    good = json.dumps({"keys": [Key("a").jwk]}).encode()
    elsewhere = {"Location": "http://jobfeed.invalid" + PATH}
    cases = {
        "it answered HTTP 404": lambda issuer: issuer.fails(404),
        "it did not answer within 5 s": lambda issuer: issuer.hangs(),
        "it did not answer within 5 s ": lambda issuer: issuer.drips(),
        "it has more than 256 KiB": lambda issuer: issuer.says(good + b" " * (257 << 10)),
        "it holds no keys": lambda issuer: issuer.says(b"<html>sign in</html>"),
        "it holds no keys ": lambda issuer: issuer.says(b'{"keys":[]}'),
        "it holds no keys  ": lambda issuer: issuer.says(b"[" * 100_000),
        "it holds no key for ES256, EdDSA, RS256": lambda issuer: issuer.says(b'{"keys":[{"kty":"oct","k":"c2Vj"}]}'),
        "it redirects to where it should not": lambda issuer: issuer.says(b"", 302, **elsewhere),
        "it redirects to where it should not ": lambda issuer: issuer.says(b"", 302),
        "it redirects more than 3 times": lambda issuer: issuer.says(b"", 307, Location=PATH),
    }
    issuers, answers = [], {}
    try:
        for message, break_it in cases.items():
            issuers.append(Issuer())
            break_it(issuers[-1])
        threads = [
            threading.Thread(target=lambda message=message, issuer=issuer: answers.update(
                {message: check(served, issuer.url)}))
            for message, issuer in zip(cases, issuers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        for issuer in issuers:
            issuer.__exit__()
    for message in cases:
        code, _, complaint = answers[message]
        assert code == 69 and f"cannot be had: {message.strip()}" in complaint, (message, complaint)


def test_redirects_are_followed(served):
    with Issuer(Key("a")) as issuer:
        issuer.answer = lambda request: request.keys() if request.path == "/keys" else request.reply(
            b"", 301, Location="/keys")
        code, out, complaint = check(served, issuer.url)
        assert code == 0 and f"jwks      ok, 1 keys from {issuer.url}" in out, complaint
        assert "neither jwt-issuer nor jwt-audience is set" in complaint
        assert "neither" not in check(served, issuer.url, "--jwt-audience", "us")[2]


def test_nobody_is_there(served):
    with Issuer() as issuer:
        url = issuer.url
    code, _, complaint = check(served, url + "?apikey=planted")
    assert code == 69 and f"{url} cannot be had: nobody answers there" in complaint and "planted" not in complaint


def test_keys_over_tls(served, start, tmp_path):
    key, authority = Key("a"), Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("issuer", hosts=("localhost",)))
    with Issuer(key, tls=context) as issuer:
        gateway = start(issuer, jwt_jwks_ca_file=authority.file)
        assert who(gateway, key.sign()) == ("alice", "account")
        code, _, complaint = check(served, issuer.url)
        assert code == 69 and "its certificate is not accepted" in complaint, complaint
        # A certificate for another name.
        code, _, complaint = check(
            served, issuer.url.replace("localhost", "127.0.0.1"), "--jwt-jwks-ca-file", authority.file)
        assert code == 69 and "certificate" in complaint, complaint


@pytest.mark.parametrize("arguments, message", [
    (["--jwt-jwks-url", "http://auth.example.com/jwks"], "has to be https"),
    (["--jwt-jwks-url", "auth.example.com"], "is no URL"),
    (["--jwt-jwks-url", "https://user:planted@auth.example.com/"], "holds a password"),
    (["--jwt-jwks-url", "https://auth.example.com/", "--jwt-jwks-ca-file", "/nowhere"], "holds no certificates"),
    (["--jwt-jwks-url", "https://auth.example.com/", "--jwt-algorithms", "HS256"], "none that keys at a URL"),
    (["--jwt-issuer", ""], "option jwt-issuer is empty"), (["--jwt-audience", " , "], "jwt-audience names nothing"),
    (["--jwt-operator-values", "*"], "would make everybody an operator"),
    (["--jwt-account-values", "operator"], "stands in jwt-account-values and in jwt-operator-values"),
    (["--jwt-required-claims", "token_type"], "write NAME=VALUE"),
    (["--jwt-user-table", ""], "jwt-user-table is empty"),
])
def test_options_that_cannot_be_meant(served, arguments, message):
    code, _, complaint = server("check", *arguments, DATABASE_URL=served.dsn(), JOBFEED_JWT_SECRET=wire.SECRET)
    assert code == 78 and message in complaint and "planted" not in complaint, complaint


def test_a_public_key_signs_nothing(start):
    """RFC 8725, sections 2.1 and 3.1."""
    es, rs = Key("es"), Key("rs", "RS256")
    with Issuer(es, rs) as issuer:
        gateway = start(issuer, secret=wire.SECRET)
        for key in (es, rs):
            public = key.private.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            jwk = json.dumps(key.jwk).encode()
            for secret in (public, public.strip(), jwk, key.jwk.get("x", key.jwk.get("n")).encode()):
                token = forge(
                    {"sub": "alice", "access": "operator", "exp": time.time() + 60},
                    lambda data, secret=secret: hmac.digest(secret, data, "sha256"), alg="HS256", kid=key.name)
                assert "signature" in refused(gateway, token)
        # A key of the set is used for its own algorithm alone, whatever the token says.
        for signer, named in ((es, rs), (rs, es)):
            assert "does not have" in refused(gateway, signer.sign(kid=named.name))
        assert who(gateway, es.sign(kid=None)) == who(gateway, rs.sign(kid=None)) == ("alice", "account")
        stranger = Key("es")
        assert "signature" in refused(gateway, stranger.sign())
        assert "signature" in refused(gateway, stranger.sign(kid=None))
