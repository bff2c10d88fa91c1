# SPDX-License-Identifier: Apache-2.0
"""A DNS client that trusts nobody (RFC 1035, 4): one question over UDP or TCP from the current network namespace.

`ask` returns the Reply, `silent` says that nobody answered, `settled` asks until what comes is what is waited for. Must
not import minirt.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import NamedTuple

TYPES = {"A": 1, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28}
CODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}
PATIENCE_S = 3.0
SILENCE_S = 0.5
TRIES = 3


class Reply(NamedTuple):
    """code: NOERROR … answers: what was asked for, as text, sorted. truncated: ask again over TCP. size: in bytes."""

    code: str
    answers: list[str]
    truncated: bool = False
    size: int = 0


def encoded(name: str) -> bytes:
    labels = [label for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def question(name: str, kind: str, number: int) -> bytes:
    return struct.pack(">6H", number, 0x100, 1, 0, 0, 0) + encoded(name) + struct.pack(">2H", TYPES[kind], 1)


def ask(name: str, kind: str = "A", *, server: str, tcp: bool = False, patience_s: float = PATIENCE_S) -> Reply:
    """OSError (TimeoutError, ConnectionRefusedError) where there is no answer. Over UDP it asks TRIES times."""
    for attempt in range(TRIES):
        number = int.from_bytes(os.urandom(2), "big")
        try:
            message = _exchange(question(name, kind, number), server, tcp, patience_s)
        except TimeoutError:
            if attempt == TRIES - 1:
                raise
            continue
        assert message[:2] == struct.pack(">H", number), "an answer to another question"
        return decoded(message, TYPES[kind])
    raise AssertionError


def silent(name: str, *, server: str, tcp: bool = False) -> bool:
    """Whether the server says nothing at all, or closes the connection without a word."""
    try:
        _exchange(question(name, "A", 4711), server, tcp, SILENCE_S)
    except OSError:
        return True
    return False


def _exchange(message: bytes, server: str, tcp: bool, patience_s: float) -> bytes:
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as mine:
        mine.settimeout(patience_s)
        mine.connect((server, 53))
        if not tcp:
            mine.send(message)
            return mine.recv(1 << 16)
        mine.sendall(struct.pack(">H", len(message)) + message)
        size = struct.unpack(">H", _received(mine, 2))[0]
        return _received(mine, size)


def _received(mine: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = mine.recv(size - len(data))
        if not more:
            raise ConnectionResetError("it ended without an answer")
        data += more
    return data


def decoded(message: bytes, wanted: int) -> Reply:
    _, flags, questions, answers, _, _ = struct.unpack(">6H", message[:12])
    place = 12
    for _ in range(questions):
        place = _name(message, place)[1] + 4
    found = []
    for _ in range(answers):
        place = _name(message, place)[1]
        kind, _, _, size = struct.unpack(">2HIH", message[place : place + 10])
        place += 10
        if kind == wanted:
            found.append(_text(message, kind, place, size))
        place += size
    return Reply(CODES.get(flags & 15, str(flags & 15)), sorted(found), bool(flags & 0x200), len(message))


def _text(message: bytes, kind: int, place: int, size: int) -> str:
    data = message[place : place + size]
    if kind == TYPES["A"]:
        return socket.inet_ntop(socket.AF_INET, data)
    if kind == TYPES["AAAA"]:
        return socket.inet_ntop(socket.AF_INET6, data)
    return _name(message, place)[0] if kind == TYPES["PTR"] else data.hex()


def _name(message: bytes, place: int) -> tuple[str, int]:
    """(name, where it ends); names are compressed (RFC 1035, 4.1.4)."""
    labels, end = [], 0
    for _ in range(128):
        size = message[place]
        if size & 0xC0:
            end = end or place + 2
            place = struct.unpack(">H", message[place : place + 2])[0] & 0x3FFF
        elif size:
            labels.append(message[place + 1 : place + 1 + size].decode())
            place += 1 + size
        else:
            return ".".join(labels), end or place + 1
    raise AssertionError("a name that never ends")


def reverse(address: str) -> str:
    """The name under which an address is looked up (RFC 1035, 3.5; RFC 3596, 2.5)."""
    if ":" not in address:
        return ".".join(reversed(address.split("."))) + ".in-addr.arpa"
    return ".".join(reversed(socket.inet_pton(socket.AF_INET6, address).hex())) + ".ip6.arpa"
