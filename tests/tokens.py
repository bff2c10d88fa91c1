# SPDX-License-Identifier: Apache-2.0
"""A token server as a registry wants it: the distribution project's token and OAuth2 protocols, RFC 6750, RFC 7519.

    GET  /token?service=…&scope=…      with Basic, or without where anonymous pulls are allowed
    POST /token                        grant_type=password or refresh_token, as after `login` with an identity token

It signs with RS256; the registry trusts `certificate`. What was asked is in `asked`, in order. A test changes
`lifetime_s`, `extra` (what else the answer holds) or `status` as it goes.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from certificates import openssl

ISSUER, SERVICE = "tests", "registry.test"


class Asked(NamedTuple):
    """One request: who asked (None: nobody), for which scopes, how. `agent` is the User-Agent."""

    method: str
    user: str | None
    scopes: tuple[str, ...]
    fields: dict[str, list[str]]
    agent: str


def encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def basic(header: str) -> tuple[str, str] | None:
    """User and password of an Authorization header."""
    kind, _, words = header.partition(" ")
    if kind.lower() != "basic":
        return None
    user, _, password = base64.b64decode(words).decode().partition(":")
    return user, password


class TokenServer:
    """`users`: user -> password. Without users everybody may do everything; with users, nobody else may do more
    than pull, and nothing at all unless `anonymous`."""

    def __init__(self, folder: Path, users: dict[str, str], anonymous: bool = True) -> None:
        self.users, self.anonymous = users, anonymous
        self.asked: list[Asked] = []
        self.lifetime_s = 300
        self.status = 200
        self.extra: dict[str, Any] = {}
        self.refresh: dict[str, str] = {}  # refresh token -> user
        self.key, self.certificate = folder / "token.key", folder / "token.crt"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.key, "-out", self.certificate,
                "-days", "2", "-subj", f"/CN={ISSUER}", "-addext", "basicConstraints=critical,CA:TRUE")  # fmt: skip
        self.key.chmod(0o600)
        self.chain = "".join(self.certificate.read_text().splitlines()[1:-1])

    def start(self, server_files: tuple[Path, Path] | None) -> str:
        """Serves from now on, with TLS if there are a certificate and a key; the realm."""

        class Handler(BaseHTTPRequestHandler):
            tokens = self
            protocol_version = "HTTP/1.1"
            do_GET = do_POST = lambda self: self.tokens.answer(self)
            log_message = lambda *_: None  # noqa: E731

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if server_files:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*server_files)
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        return f"{'https' if server_files else 'http'}://{self.host}/token"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def granted(self, user: str | None, scope: str) -> dict[str, Any] | None:
        """ "repository:library/debian:pull,push" as the claim that this user gets."""
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        wanted = actions.split(",")
        if self.users and user is None:
            wanted = [action for action in wanted if action == "pull" and self.anonymous]
        return {"type": kind, "name": name, "actions": wanted} if wanted else None

    def token(self, scopes: tuple[str, ...], user: str | None = None) -> str:
        """A signed token for these scopes."""
        now = int(time.time())
        claims = {
            "iss": ISSUER, "aud": SERVICE, "sub": user or "", "iat": now, "nbf": now - 5,
            "exp": now + self.lifetime_s, "jti": f"{time.monotonic_ns()}",
            "access": [claim for scope in scopes if (claim := self.granted(user, scope))],
        }  # fmt: skip
        head = {"typ": "JWT", "alg": "RS256", "x5c": [self.chain]}
        signed = b".".join(encoded(json.dumps(part).encode()) for part in (head, claims))
        signature = openssl("dgst", "-sha256", "-sign", self.key, data=signed)
        return b".".join([signed, encoded(signature)]).decode()

    def who(self, request: BaseHTTPRequestHandler, fields: dict[str, list[str]]) -> str | None:
        """The user who proved to be one; PermissionError if the proof is wrong."""
        known = None
        if header := request.headers.get("Authorization"):
            known = basic(header)
        elif fields.get("grant_type") == ["refresh_token"]:
            if (user := self.refresh.get(fields["refresh_token"][0])) is None:
                raise PermissionError
            return user
        elif fields.get("grant_type") == ["password"]:
            known = fields["username"][0], fields["password"][0]
        if known is None and (self.anonymous or not self.users):
            return None
        if known is None or (self.users and self.users.get(known[0]) != known[1]):
            raise PermissionError
        return known[0]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        query = urlsplit(request.path).query
        if request.command == "POST":
            query = request.rfile.read(int(request.headers["Content-Length"])).decode()
        fields = parse_qs(query)
        scopes = tuple(scope for words in fields.get("scope", []) for scope in words.split())
        status = self.status
        body: dict[str, Any] = {}
        user = None
        try:
            user = self.who(request, fields)
            token = self.token(scopes, user)
            body = {"token": token, "access_token": token, "expires_in": self.lifetime_s}
            if user and (fields.get("offline_token") == ["true"] or fields.get("access_type") == ["offline"]):
                body["refresh_token"] = f"refresh-{user}-{time.monotonic_ns()}"
                self.refresh[body["refresh_token"]] = user
        except PermissionError:
            status, body = 401, {"errors": [{"code": "UNAUTHORIZED", "message": "incorrect username or password"}]}
        self.asked.append(Asked(request.command, user, scopes, fields, request.headers.get("User-Agent", "")))
        data = json.dumps({**body, **self.extra}).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)
