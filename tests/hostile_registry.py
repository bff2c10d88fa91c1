# SPDX-License-Identifier: Apache-2.0
"""A registry that speaks the OCI distribution specification 1.1 honestly, until a test tells it not to.

with Hostile() as server:
    server.put(sample_images.image(layer), "mine:1")        an OCI layout as {file name: bytes}
    server.on("GET /v2/.*/blobs/", misbehaviour.flip())     what to do instead: see misbehaviour.py
    server.seen                                             every request in order, with its headers
Plain sockets rather than http.server: it must be able to break every rule. Threads, loopback only, HTTP/1.1 with
kept-alive connections. A rule's act gets the Exchange and returns a Reply to send, or None if it has spoken itself;
the connection is closed then.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from distribution import Distribution, Reply, Seen


class Exchange(NamedTuple):
    """One request and where it came from."""

    server: Hostile
    seen: Seen
    connection: socket.socket

    def honest(self) -> Reply:
        return self.server.honest(self.seen)


Act = Callable[[Exchange], "Reply | None"]


class Rule:
    """`times`: for how many requests it holds; None: for all."""

    def __init__(self, pattern: str, act: Act, times: int | None) -> None:
        self.pattern = re.compile(pattern)
        self.act = act
        self.times = times


class Hostile(Distribution):
    """The server. `users`, `bearer`, `realm`: see Distribution. `tls`: (certificate, key). `name`: what it is called
    by; the address is 127.0.0.1. `sent`: bytes of bodies that left, by path."""

    def __init__(
        self,
        tls: tuple[Path, Path] | None = None,
        users: dict[str, str] | None = None,
        bearer: bool = False,
        realm: str = "",
        name: str = "127.0.0.1",
    ) -> None:
        super().__init__(users, bearer, realm)
        self.name = name
        self.tls = tls
        self.context: ssl.SSLContext | None = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*tls)
        self.not_http = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request"
        self.rules: list[Rule] = []
        self.seen: list[Seen] = []
        self.hellos = 0  # TLS handshakes begun
        self.refused = 0  # TLS handshakes that the client broke off
        self.plain: list[bytes] = []  # what came in clear where TLS was expected
        self.sent: dict[str, int] = {}
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.open: set[socket.socket] = set()
        self.threads: list[threading.Thread] = []

    def __enter__(self) -> Hostile:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self.listener.getsockname()[1])
        self.host = f"{self.name}:{self.port}"
        self.url = f"http{'s' if self.tls else ''}://{self.host}"
        self._thread(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for thread in self.threads:
            thread.join(10)

    def _thread(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self.threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """Dies in the middle of whatever it does."""
        self.closing.set()
        for one in [self.listener, *list(self.open)]:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.listener.close()

    # --- what it holds and what is asked -----------------------------------------------------------------------

    def on(self, pattern: str, act: Act, times: int | None = None) -> None:
        """Requests whose "METHOD /path" matches (re.match) are answered by `act`, the next `times` of them."""
        self.rules.insert(0, Rule(pattern, act, times))

    def behave(self) -> None:
        """Honest again, and nothing has been seen."""
        self.rules.clear()
        self.forget()

    def forget(self) -> None:
        self.seen.clear()
        self.sent.clear()
        self.hellos = self.refused = 0

    def asked(self, pattern: str) -> list[Seen]:
        return [one for one in list(self.seen) if re.match(pattern, one.line)]

    def body_bytes(self, pattern: str = ".*") -> int:
        """How many bytes of bodies went out for paths that match."""
        return sum(count for path, count in list(self.sent.items()) if re.match(pattern, path))

    # --- the connection --------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self._thread(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        self.open.add(connection)
        raw = connection
        try:
            connection.settimeout(60)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            first = connection.recv(4096, socket.MSG_PEEK)
            if first[:1] == b"\x16":
                self.hellos += 1
            elif self.context and first:
                self.plain.append(first)
            if self.context:
                try:
                    connection = self.context.wrap_socket(connection, server_side=True)
                except (ssl.SSLError, OSError):
                    self.refused += 1
                    return
                self.open.discard(raw)
                self.open.add(connection)
            with connection.makefile("rb") as stream:
                while self._exchange(connection, stream):
                    pass
        except (OSError, ValueError):
            pass
        finally:
            self.open.discard(connection)
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.close()

    def _exchange(self, connection: socket.socket, stream: Any) -> bool:
        """One request; whether the connection stays open."""
        words = stream.readline(65536).split()
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            if words:  # not HTTP, perhaps a TLS hello: what a Go server answers
                connection.sendall(self.not_http)
            return False
        headers: dict[str, str] = {}
        while line := stream.readline(65536).strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        target = urlsplit(words[1].decode())
        if headers.get("expect"):
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        seen = Seen(words[0].decode(), target.path, parse_qs(target.query), headers, _body(stream, headers))
        with self.lock:
            self.seen.append(seen)
            act = self._act(seen.line)
        exchange = Exchange(self, seen, connection)
        reply = act(exchange) if act else self.honest(seen)
        return reply is not None and self.send(exchange, reply)

    def _act(self, line: str) -> Act | None:
        for rule in self.rules:
            if rule.times != 0 and rule.pattern.match(line):
                if rule.times is not None:
                    rule.times -= 1
                return rule.act
        return None

    def send(self, exchange: Exchange, reply: Reply) -> bool:
        """Whether the connection can be used again."""
        connection, seen = exchange.connection, exchange.seen
        connection.sendall(reply.head())
        if seen.method == "HEAD":
            return reply.length != -1
        pieces = iter((reply.body,)) if isinstance(reply.body, bytes) else reply.body
        left = reply.cut_at
        for piece in pieces:
            for at in range(0, len(piece), 65536):
                part = piece[at : at + 65536] if left is None else piece[at : min(at + 65536, at + left)]
                connection.sendall(part)
                with self.lock:
                    self.sent[seen.path] = self.sent.get(seen.path, 0) + len(part)
                left = None if left is None else left - len(part)
                if left == 0:
                    return False
        return isinstance(reply.body, bytes) and reply.cut_at is None and reply.length == len(reply.body)


def _body(stream: Any, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        data = b""
        while size := int(stream.readline().split(b";")[0], 16):
            data += stream.read(size)
            stream.readline()
        stream.readline()
        return data
    return bytes(stream.read(int(headers.get("content-length", 0))))
