"""An issuer of tokens on this machine, whose JWK set a test can rotate and whose server it can break."""

import base64
import contextlib
import http.server
import json
import threading
import time

import jwt
import jwt.algorithms
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

PATH = "/.well-known/jwks.json"


def forge(claims, sign, **header):
    """A token that PyJWT would not make."""
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    signed = part(json.dumps(header).encode()) + "." + part(json.dumps(claims).encode())
    return signed + "." + part(sign(signed.encode()))


class Key:
    """A key pair that signs tokens."""

    MAKERS = {
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "RS256": lambda: rsa.generate_private_key(65537, 2048),
        "EdDSA": ed25519.Ed25519PrivateKey.generate,
    }

    def __init__(self, name, algorithm="ES256"):
        self.name, self.algorithm = name, algorithm
        self.private = self.MAKERS[algorithm]()

    @property
    def jwk(self):
        kinds = {"ES256": jwt.algorithms.ECAlgorithm, "RS256": jwt.algorithms.RSAAlgorithm,
                 "EdDSA": jwt.algorithms.OKPAlgorithm}
        return {**kinds[self.algorithm].to_jwk(self.private.public_key(), as_dict=True), "kid": self.name,
                "alg": self.algorithm, "use": "sig"}

    def sign(self, claims=None, kid="", **more):
        """A token; `kid=None` names no key."""
        payload = {"sub": "alice", "access": "account", "exp": time.time() + 3600, **(claims or {}), **more}
        name = self.name if kid == "" else kid
        return jwt.encode(payload, self.private, self.algorithm, headers={"kid": name} if name is not None else {})

    def forge(self, claims):
        """What `sign` would not make."""
        sign = jwt.get_algorithm_by_name(self.algorithm).sign
        return forge(claims, lambda data: sign(data, self.private), alg=self.algorithm, kid=self.name)


class Issuer:
    """Serves `keys` at `url`; `answer`, if there is one, writes the whole response instead."""

    def __init__(self, *keys, tls=None):
        self.keys = list(keys)
        self.headers = {}
        self.answer = None
        self.requests = 0
        self.over = threading.Event()
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.requests += 1
                with contextlib.suppress(OSError):
                    (issuer.answer or Handler.keys)(self)

            def keys(self):
                self.reply(json.dumps({"keys": [key.jwk for key in issuer.keys]}).encode(), **issuer.headers)

            def reply(self, body, status=200, **headers):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}{PATH}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()

    # Ways to be broken

    def fails(self, status=500):
        self.answer = lambda request: request.reply(b"{}", status)

    def says(self, body, status=200, **headers):
        self.answer = lambda request: request.reply(body, status, **headers)

    def hangs(self):
        self.answer = lambda request: self.over.wait()

    def drips(self):
        """Sends the head at once, and then a byte now and then."""
        def answer(request):
            request.send_response(200)
            request.send_header("Content-Length", "100000")
            request.end_headers()
            while not self.over.wait(0.1):
                request.wfile.write(b" ")

        self.answer = answer

    def recovers(self):
        self.answer = None
