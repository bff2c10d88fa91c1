# SPDX-License-Identifier: Apache-2.0
"""What a registry sends, as a fuzzer makes it: answers beside http.client, addresses beside urllib.

What minirt accepts, another reader understands in the same way; minirt may refuse more.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable
from http.client import HTTPException, HTTPResponse
from urllib.parse import urljoin, urlsplit

from minirt.errors import MinirtError
from minirt.image.registry import address, challenge, http, refusal


class Wire:
    """A socket on which all that will ever come has come; it hands out `sizes` bytes at a time."""

    def __init__(self, data: bytes, sizes: Iterable[int]) -> None:
        self.data, self.sizes = data, iter(sizes)

    def recv(self, limit: int) -> bytes:
        size = min(limit, next(self.sizes))
        piece, self.data = self.data[:size], self.data[size:]
        return piece

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self.data)

    def sendall(self, data: bytes) -> None:
        pass

    def settimeout(self, seconds: float) -> None:
        pass

    def close(self) -> None:
        pass


def asked(data: bytes, sizes: Iterable[int]) -> tuple[int, dict[str, str], bytes] | None:
    """Status, fields and body of an answer; None if it is refused."""
    connection = http.Connection(Wire(data, sizes), "registry", 60.0, tls=False)  # type: ignore[arg-type]
    try:
        answer = connection.ask("GET", "/v2/", {})
        body = answer.read(1 << 20, "answer")
    except MinirtError:
        return None
    refusal.refusal(answer, "it", "registry")
    for one in challenge.parse(answer.headers.get("www-authenticate", "")):
        assert one.scheme == one.scheme.lower()
    return answer.status, answer.headers, body


def answers(data: bytes) -> None:
    """What a registry sends back: read the same in whatever pieces it comes, and as http.client reads it."""
    whole = asked(data, itertools.repeat(1 << 20))
    assert asked(data, itertools.cycle((1, 5, 2, 64))) == whole, "it depends on the pieces"
    if whole is None or whole[0] in (204, 304):  # these have no body whatever they say: http.client looks for chunks
        return
    theirs = HTTPResponse(Wire(data, ()), method="GET")  # type: ignore[arg-type]
    try:
        theirs.begin()
        body = theirs.read()
    except HTTPException as error:
        complaint = str(error)
    else:
        complaint = ""
    if complaint:
        assert "more than" in complaint, f"http.client refuses it: {complaint}"
        return
    if theirs.status >= 200:  # of the interim ones it knows 100 alone
        assert (theirs.status, body) == (whole[0], whole[2]), "http.client reads it in another way"


def addresses(data: bytes) -> None:
    """Where an answer sends us: the host is the one that urllib sees, and nothing can end the request line early."""
    text = data.decode("latin-1")
    base = address.split("https://registry.example:5000/v2/a/blobs/x?y")
    for read in (address.split, lambda text: address.join(base, text)):
        try:
            found = read(text)
        except MinirtError:
            continue
        assert found.scheme in ("http", "https")
        assert found.target.startswith("/")
        assert not any(letter <= " " or letter > "~" for letter in found.target + found.host)
        try:
            again = urlsplit(f"{found.scheme}://{found.netloc}{found.target}")
            assert (again.hostname, again.port or found.port) == (found.host, found.port)
            theirs = urlsplit(urljoin("https://registry.example:5000/v2/a/blobs/x?y", text.strip(" \t")))
            host, port = theirs.hostname, theirs.port
        except ValueError:
            continue  # an IPv6 address that no resolver will take either
        if "://" in text and theirs.scheme in ("http", "https"):
            assert (host, port or found.port) == (found.host, found.port), f"urllib goes to {host}:{port}"
