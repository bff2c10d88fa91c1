# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 messages on one connection (RFC 9112), read strictly and within bounds.

A head has at most 64 KiB and 200 fields, and is there within a deadline; a body is exactly as long as it was announced
or the connection is given up; a slow one must keep up a pace. An answer that two readers could read in
two ways (both lengths, a folded field, HTTP/0.9) is refused. Nothing is decompressed. By hand, on the sockets
themselves: the standard library's http.client costs 20 ms at import, urllib3 50, and neither has a deadline.
"""

from __future__ import annotations

import time

from minirt.errors import RegistryError
from minirt.image.registry.faults import Broken, Foreign, Silent
from minirt.image.registry.pace import Pace
from minirt.image.registry.span import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    import ssl
    from collections.abc import Iterable, Iterator
    from socket import socket

    Part = bytes | memoryview | Span
else:
    import _socket

CHUNK = 1 << 20
TLS_CHUNK = 1 << 18
SEND = 1 << 18
HEAD_LIMIT = 1 << 16
FIELDS_LIMIT = 200
INTERIM_LIMIT = 8
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Response:
    """Status and fields, names in lower case, then the body: taken once, by read() or chunks()."""

    __slots__ = ("status", "headers", "connection", "length", "chunked", "kept")

    def __init__(self, status: int, headers: dict[str, str], connection: Connection) -> None:
        self.status = status
        self.headers = headers
        self.connection = connection
        self.length: int | None = None  # None: until the connection ends
        self.chunked = False
        self.kept: bytes | None = None

    def read(self, limit: int, what: str) -> bytes:
        """The whole body of at most `limit` bytes, in the time that one request may take."""
        if self.kept is None:
            if self.length is not None and self.length > limit:
                self.connection.close()
                raise RegistryError(f"{what} is larger than the limit of {limit} bytes")
            parts, size = [], 0
            for part in self.chunks(self.connection.deadline):
                parts.append(part)
                size += len(part)
                if size > limit:
                    self.connection.close()
                    raise RegistryError(f"{what} is larger than the limit of {limit} bytes")
            self.kept = b"".join(parts)
        return self.kept

    def chunks(self, deadline: float = 0.0) -> Iterator[bytes]:
        """The body, up to 1 MiB at a time; the connection can be used again after the last of it."""
        connection = self.connection
        try:
            if self.chunked:
                yield from connection.take_chunked(deadline)
            elif self.length is None:
                yield from connection.take_rest(deadline)
            else:
                yield from connection.take(self.length, deadline)
        except BaseException:
            connection.close()
            raise
        connection.done()

    def discard(self) -> None:
        """Not interested: a short body is read to its end to keep the connection, a long one closes it."""
        try:
            self.read(CHUNK >> 4, "body")
        except RegistryError:
            self.connection.close()


class Connection:
    """One connection to `where` (for messages). `idle` while another request may be sent on it."""

    __slots__ = (
        "socket",
        "where",
        "timeout_s",
        "deadline",
        "idle",
        "stays",
        "absolute",
        "extra",
        "heard",
        "_tls",
        "_rest",
    )

    def __init__(self, socket: socket | ssl.SSLSocket, where: str, timeout_s: float, tls: bool) -> None:
        self.socket = socket
        self.where = where
        self.timeout_s = timeout_s
        self.deadline = 0.0
        self.idle = True
        self.stays = False
        self.absolute = ""  # by a proxy: the request's target begins with it
        self.extra: dict[str, str] = {}  # … and these fields are for it
        self.heard = False  # whether anything came since the request was sent
        self._tls = tls
        self._rest = b""

    def done(self) -> None:
        """An answer has been taken to its end: the connection waits for the next request, or is closed."""
        if self.stays and not self._rest:
            self.idle = True
        else:
            self.close()

    def close(self) -> None:
        self.idle = self.stays = False
        self.socket.close()

    def wake(self) -> None:
        """Ends what another thread waits for on it. Below TLS: SSLSocket.shutdown() forgets that there is TLS, and the
        other thread would read on in cipher text."""
        try:
            _socket.socket.shutdown(self.socket, _socket.SHUT_RDWR)
        except OSError:
            pass

    def is_stale(self) -> bool:
        """Whether the other side has hung up meanwhile, or said something that nobody asked for."""
        import select

        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        if not poll.poll(0):
            return False
        if not self._tls:
            return True
        try:  # a session ticket may wait here
            self.socket.settimeout(0)
            self.socket.recv(1)
            return True
        except OSError as error:
            return type(error).__name__ != "SSLWantReadError"

    # --- asking ------------------------------------------------------------------------------------------------

    def ask(self, method: str, target: str, headers: dict[str, str], body: Iterable[Part] = ()) -> Response:
        """Sends one request and reads the head of its answer. Broken where the connection fails."""
        self.idle = self.heard = False
        lines = [
            f"{method} {self.absolute}{target} HTTP/1.1",
            *(f"{n}: {v}" for n, v in {**headers, **self.extra}.items()),
        ]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        try:
            self.socket.settimeout(self.timeout_s)
            unsent = self._send(head, body)
            self.deadline = time.monotonic() + self.timeout_s
            response = self._answer(method)
            if unsent:  # it did not want the rest
                self.stays = False
            return response
        except TimeoutError:
            self.close()
            raise Silent(f"{self.where} does not answer within {self.timeout_s:.0f} s") from None
        except OSError as error:
            self.close()
            raise Broken(f"the connection to {self.where} breaks off: {_reason(error)}") from None
        except BaseException:
            self.close()
            raise

    def _send(self, head: bytes, body: Iterable[Part]) -> bool:
        """Whether the other side closed before it had everything: then its answer says why."""
        try:
            self.socket.sendall(head)
            for chunk in body:
                if isinstance(chunk, Span):
                    if not self._tls:
                        chunk.send(self.socket.fileno(), self.timeout_s)
                        continue
                    chunk = bytes(chunk)
                view = memoryview(chunk)
                for start in range(0, len(view), SEND):
                    self.socket.sendall(view[start : start + SEND])
        except (BrokenPipeError, ConnectionResetError):
            return True
        return False

    # --- the head ----------------------------------------------------------------------------------------------

    def _answer(self, method: str) -> Response:
        for _ in range(INTERIM_LIMIT):
            status, headers = self._head()
            if status == 101:
                raise RegistryError(f"{self.where} changes the protocol unasked")
            if status >= 200:
                break
        else:
            raise RegistryError(f"{self.where} sends interim answers without end")
        response = Response(status, headers, self)
        self._frame(method, response)
        return response

    def _head(self) -> tuple[int, dict[str, str]]:
        data = self._rest
        while (end := data.find(b"\r\n\r\n")) < 0:
            if data and not data.startswith(b"HTTP/1."[: len(data)]):
                break
            if len(data) > HEAD_LIMIT:
                raise RegistryError(f"the answer's head from {self.where} is larger than {HEAD_LIMIT} bytes")
            if b"\n\n" in data or b"\n\r\n" in data:
                raise RegistryError(f"malformed answer from {self.where}: a line of its head does not end in CR LF")
            piece = self._recv(HEAD_LIMIT)
            if not piece:
                raise Broken(f"{self.where} closed the connection without an answer")
            self.heard = True
            data += piece
        if end < 0 or end > HEAD_LIMIT or not data.startswith(b"HTTP/1."):
            raise Foreign(f"{self.where} does not answer in HTTP/1.1")
        self._rest = data[end + 4 :]
        return self._parse(data[:end])

    def _parse(self, head: bytes) -> tuple[int, dict[str, str]]:
        """status-line = "HTTP/1." DIGIT SP 3DIGIT [SP reason]; field-line = token ":" OWS value OWS"""
        first, *lines = head.split(b"\r\n")
        version, _, rest = first.partition(b" ")
        digits, reason = rest[:3], rest[3:]
        if version not in (b"HTTP/1.1", b"HTTP/1.0") or len(digits) != 3 or not digits.isdigit():
            raise Foreign(f"malformed answer from {self.where}: its status line")
        if reason[:1] not in (b"", b" ") or not _printable(reason):
            raise Foreign(f"malformed answer from {self.where}: its status line")
        if not 100 <= int(digits) <= 599:
            raise RegistryError(f"malformed answer from {self.where}: its status is {int(digits)}")
        if len(lines) > FIELDS_LIMIT:
            raise RegistryError(f"malformed answer from {self.where}: more fields than the limit of {FIELDS_LIMIT}")
        headers: dict[str, str] = {":version": version.decode()}
        for line in lines:
            name, colon, value = line.partition(b":")
            value = value.strip(b" \t")
            if not colon or not name or not _TOKEN.issuperset(name) or not _printable(value):
                raise RegistryError(f"malformed answer from {self.where}: a field of its head")
            key, text = name.decode().lower(), value.decode("latin-1")
            if key in headers and key in ("content-length", "location", "content-type", "docker-content-digest"):
                if headers[key] != text:
                    raise RegistryError(f"malformed answer from {self.where}: two different fields {key!r}")
            else:
                headers[key] = f"{headers[key]}, {text}" if key in headers else text
        return int(digits), headers

    def _frame(self, method: str, response: Response) -> None:
        """How long the body is (RFC 9112, section 6.3), and whether the connection stays."""
        headers = response.headers
        version = headers.pop(":version")
        options = headers.get("connection", "").lower()
        self.stays = version == "HTTP/1.1" and "close" not in options
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if length is not None:
            if not (length.isascii() and length.isdigit() and len(length) <= 18):
                raise RegistryError(f"malformed answer from {self.where}: its Content-Length")
            response.length = int(length)
        if coding is not None:
            if coding.lower() != "chunked" or length is not None:
                raise RegistryError(f"malformed answer from {self.where}: its Transfer-Encoding")
            response.chunked = True
        if method == "HEAD" or response.status in (204, 304):
            response.chunked, response.length, response.kept = False, 0, b""
            self.done()
        elif response.length is None and not response.chunked:
            self.stays = False

    # --- the body ----------------------------------------------------------------------------------------------

    def take(self, size: int, deadline: float = 0.0) -> Iterator[bytes]:
        """Exactly `size` bytes."""
        left = size
        pace = Pace(self, deadline)
        while left:
            piece = self._piece(left, pace)
            if not piece:
                raise Broken(f"{self.where} closed the connection {left} bytes before the end")
            left -= len(piece)
            yield piece

    def take_rest(self, deadline: float = 0.0) -> Iterator[bytes]:
        pace = Pace(self, deadline)
        while piece := self._piece(CHUNK, pace):
            yield piece

    def take_chunked(self, deadline: float = 0.0) -> Iterator[bytes]:
        """RFC 9112, section 7.1; extensions and trailers are read past."""
        while True:
            line = self._line(deadline)
            digits = line.partition(b";")[0].strip(b" \t")
            if not 0 < len(digits) <= 15 or digits.strip(b"0123456789abcdefABCDEF"):
                self.close()
                raise RegistryError(f"malformed answer from {self.where}: the size of a chunk")
            size = int(digits, 16)
            if not size:
                break
            yield from self.take(size, deadline)
            if self._line(deadline):
                self.close()
                raise RegistryError(f"malformed answer from {self.where}: a chunk is longer than it says")
        for _ in range(FIELDS_LIMIT):
            if not self._line(deadline):
                return
        self.close()
        raise RegistryError(f"malformed answer from {self.where}: trailers without end")

    def _line(self, deadline: float) -> bytes:
        pace = Pace(self, deadline or time.monotonic() + self.timeout_s)
        data = self._rest
        while (end := data.find(b"\r\n")) < 0:
            if len(data) > 4096:
                self.close()
                raise RegistryError(f"malformed answer from {self.where}: a line between chunks")
            self._rest = b""
            piece = self._piece(HEAD_LIMIT, pace)
            if not piece:
                raise Broken(f"{self.where} closed the connection inside of a body")
            data += piece
        self._rest = data[end + 2 :]
        return data[:end]

    def _piece(self, limit: int, pace: Pace) -> bytes:
        """Some bytes of a body; none at its end. Broken where it is too slow or the connection fails."""
        if self._rest:
            piece, self._rest = self._rest[:limit], self._rest[limit:]
            return piece
        pace.begin()
        try:
            piece = self._fill(min(limit, TLS_CHUNK)) if self._tls else self.socket.recv(min(limit, CHUNK))
        except TimeoutError:
            self.close()
            raise Broken(f"{self.where} did not go on within {self.timeout_s:.0f} s") from None
        except OSError as error:
            self.close()
            raise Broken(f"the connection to {self.where} breaks off: {_reason(error)}") from None
        pace.end(len(piece))
        return piece

    def _fill(self, size: int) -> bytes:
        """TLS hands out records of 16 KiB: as many as make `size`, or what came within a second."""
        buffer = bytearray(size)
        view, filled, until = memoryview(buffer), 0, time.monotonic() + 1
        while filled < size:
            count = self.socket.recv_into(view[filled:])
            filled += count
            if not count or time.monotonic() > until:
                break
        return bytes(view[:filled])

    def _recv(self, size: int) -> bytes:
        """Some bytes before the deadline of the request."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.socket.settimeout(left)
        return self.socket.recv(size)


def _printable(value: bytes) -> bool:
    return all(byte >= 32 and byte != 127 or byte == 9 for byte in value)


def _reason(error: OSError) -> str:
    """The kernel's or TLS's words, without numbers and file names of the library."""
    return getattr(error, "reason", None) or error.strerror or type(error).__name__
