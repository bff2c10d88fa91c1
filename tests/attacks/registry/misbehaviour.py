# SPDX-License-Identifier: Apache-2.0
"""What a hostile or broken registry does instead of what it should: acts for Hostile.on (tests/hostile_registry.py).

Each takes what it needs and returns the act. `altered` changes an honest answer, `status` and `raw` replace it, the
rest speaks for itself.
"""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Callable, Iterator

from distribution import Reply, refuse
from hostile_registry import Act, Exchange

TICK_S = 0.05


def altered(change: Callable[[Reply], None]) -> Act:
    """The honest answer after `change`; Content-Length follows a body that grew or shrank."""

    def act(exchange: Exchange) -> Reply:
        reply = exchange.honest()
        change(reply)
        if isinstance(reply.body, bytes) and reply.cut_at is None and reply.length == reply.told:
            reply.length = len(reply.body)
        return reply

    return act


def flip(at: int = -1) -> Act:
    """One bit of one byte of the body is wrong."""

    def change(reply: Reply) -> None:
        assert isinstance(reply.body, bytes)
        if reply.body:
            place = at % len(reply.body)
            reply.body = reply.body[:place] + bytes([reply.body[place] ^ 1]) + reply.body[place + 1 :]

    return altered(change)


def body(data: bytes | Callable[[bytes], bytes]) -> Act:
    """Another body, with all headers that the honest one has; Content-Length is the new one's."""

    def change(reply: Reply) -> None:
        assert isinstance(reply.body, bytes)
        reply.body = data if isinstance(data, bytes) else data(reply.body)

    return altered(change)


def headers(**changes: str | None) -> Act:
    """Other headers: "_" stands for "-"; None takes one away."""

    def change(reply: Reply) -> None:
        for key, value in changes.items():
            name = key.replace("_", "-")
            for old in [one for one in reply.headers if one.lower() == name.lower()]:
                del reply.headers[old]
            if value is not None:
                reply.headers[name] = value

    return altered(change)


def cut(share: float) -> Act:
    """The connection is closed after this share of the body that was promised."""

    def change(reply: Reply) -> None:
        assert isinstance(reply.body, bytes)
        reply.cut_at = int(len(reply.body) * share)

    return altered(change)


def length(factor: float, add: int = 0) -> Act:
    """Content-Length lies about the body, and the connection ends with the body."""

    def change(reply: Reply) -> None:
        assert isinstance(reply.body, bytes)
        reply.length = int(len(reply.body) * factor) + add

    return altered(change)


def status(code: int, message: str = "no", error: str = "UNKNOWN", **more: str) -> Act:
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return lambda exchange: refuse(code, error, named, message)


def redirect(code: int, place: str) -> Act:
    """To `place`; "{path}" in it is the path that was asked for."""
    return lambda exchange: Reply(code, b"", {"Location": place.replace("{path}", exchange.seen.path)})


def no_ranges(exchange: Exchange) -> Reply:
    """As a server that knows no Range: 200 and everything."""
    return exchange.server.honest(exchange.seen._replace(headers={}))


def other_range(move: int) -> Act:
    """206, but from elsewhere than asked, and it says so."""

    def act(exchange: Exchange) -> Reply:
        def moved(found: re.Match[str]) -> str:
            return f"bytes={max(int(found[1]) + move, 0)}-"

        asked = re.sub(r"bytes=(\d+)-", moved, exchange.seen.headers.get("range", "bytes=0-"))
        return exchange.server.honest(exchange.seen._replace(headers={"range": asked}))

    return act


def endless(media_type: str = "application/json", code: int = 200, piece: bytes = b" " * 65536) -> Act:
    """A body without a length and without an end."""

    def pieces(exchange: Exchange) -> Iterator[bytes]:
        while not exchange.server.closing.is_set():
            yield piece

    return lambda exchange: Reply(code, pieces(exchange), {"Content-Type": media_type})


def sized(size: int, code: int = 200, start: bytes = b"{", media_type: str = "application/json") -> Act:
    """A body of `size` bytes that its Content-Length announces."""

    def pieces() -> Iterator[bytes]:
        yield start
        for at in range(len(start), size, 1 << 16):
            yield b" " * min(1 << 16, size - at)

    def act(exchange: Exchange) -> Reply:
        reply = Reply(code, pieces(), {"Content-Type": media_type})
        reply.length = size
        return reply

    return act


def bomb(size: int) -> Act:
    """Content-Encoding: gzip, and `size` bytes of blanks behind it."""
    data = gzip.compress(b"{" + b" " * size)
    return lambda exchange: Reply(200, data, {"Content-Encoding": "gzip", "Content-Type": "application/json"})


def raw(data: bytes) -> Act:
    """These bytes, whatever they are, and the end."""

    def act(exchange: Exchange) -> None:
        exchange.connection.sendall(data)

    return act


def trickle(head: bytes, piece: bytes = b" ") -> Act:
    """`head` at once, then one `piece` every TICK_S for ever."""

    def act(exchange: Exchange) -> None:
        exchange.connection.sendall(head)
        while not exchange.server.closing.wait(TICK_S):
            exchange.connection.sendall(piece)

    return act


def slowly(exchange: Exchange) -> None:
    """The honest answer, a byte each TICK_S."""
    reply = exchange.honest()
    assert isinstance(reply.body, bytes)
    for at in range(len(data := reply.head() + reply.body)):
        exchange.connection.sendall(data[at : at + 1])
        if exchange.server.closing.wait(TICK_S):
            return


def silence(exchange: Exchange) -> None:
    """Nothing, for ever."""
    exchange.server.closing.wait()


def held(share: float) -> Act:
    """This share of the body, and then nothing, the connection open."""

    def act(exchange: Exchange) -> None:
        reply = exchange.honest()
        assert isinstance(reply.body, bytes)
        exchange.connection.sendall(reply.head() + reply.body[: int(len(reply.body) * share)])
        exchange.server.closing.wait()

    return act


def paced(bytes_per_s: float, piece: int = 65536) -> Act:
    """The honest answer at this pace: long enough for something to happen meanwhile."""

    def act(exchange: Exchange) -> Reply:
        reply = exchange.honest()
        assert isinstance(reply.body, bytes)
        whole = reply.body

        def pieces() -> Iterator[bytes]:
            for at in range(0, len(whole), piece):
                yield whole[at : at + piece]
                time.sleep(piece / bytes_per_s)

        reply.body = pieces()
        return reply

    return act
