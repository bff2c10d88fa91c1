# SPDX-License-Identifier: Apache-2.0
"""One question to the kernel and its answers, over netlink(7), rtnetlink(7) and nfnetlink.

For the few questions on the way of a `run`, where pyroute2 (130 ms) is too dear: is this bridge there, are our rules
there. Everything else about networks goes through pyroute2. Must not import socket (it imports enum) or anything of
minirt.
"""

from __future__ import annotations

from _socket import AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW, socket
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12  # linux/netlink.h
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR, NLM_F_DUMP = 1, 4, 0x10, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
_NESTED, _NET_BYTEORDER = 0x8000, 0x4000  # NLA_F_NESTED, NLA_F_NET_BYTEORDER

Channel = socket
BYTE_ORDER: Literal["little", "big"] = "little" if Struct("=H").pack(1)[0] else "big"
_HEADER = Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE = Struct("=HH")  # struct nlattr: length, type
_ERRNO = Struct("=i")
_ANSWER_BYTES = 1 << 16  # what the kernel writes at once into a dump; it takes a reader's size as a hint


class Interrupted(OSError):
    """What was dumped changed meanwhile (NLM_F_DUMP_INTR): the answer may be missing something."""


def attribute(kind: int, data: bytes) -> bytes:
    """struct nlattr with its padding to four bytes."""
    size = _ATTRIBUTE.size + len(data)
    return _ATTRIBUTE.pack(size, kind) + data + bytes(-size % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | _NESTED, b"".join(attributes))


def attributes(data: bytes | memoryview, offset: int = 0) -> dict[int, bytes]:
    """{type: data} of what follows a message's own header of `offset` bytes."""
    found = {}
    while offset + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, offset)
        if size < _ATTRIBUTE.size:
            break
        found[kind & ~(_NESTED | _NET_BYTEORDER)] = bytes(data[offset + _ATTRIBUTE.size : offset + size])
        offset += (size + 3) & ~3
    return found


def ask(protocol: int, kind: int, body: bytes, flags: int = 0) -> list[bytes]:
    """The bodies of the answers to one request, in the calling thread's network namespace.

    OSError with the errno of a negative acknowledgement; Interrupted for a dump that is not to be trusted.
    """
    channel = open_socket(protocol)
    try:
        return exchange(channel, kind, body, flags)
    finally:
        channel.close()


def open_socket(protocol: int) -> Channel:
    return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)


def exchange(channel: Channel, kind: int, body: bytes, flags: int = 0) -> list[bytes]:
    """The same on a socket of the caller's, for several requests in a row: `ask` without opening one each time."""
    if not flags & NLM_F_DUMP:
        flags |= NLM_F_ACK
    size = _HEADER.size + len(body)
    channel.send(_HEADER.pack(size, kind, flags | NLM_F_REQUEST, 1, 0) + body)
    found, broken = [], False
    for answer, answer_flags, data in _received(channel):
        broken = broken or bool(answer_flags & NLM_F_DUMP_INTR)
        if answer in (NLMSG_ERROR, NLMSG_DONE):
            errno = -_ERRNO.unpack_from(data)[0] if len(data) >= _ERRNO.size else 0
            if errno:
                raise OSError(errno, f"netlink request {kind}")
            break
        found.append(data)
    if broken:
        raise Interrupted
    return found


def _received(channel: Channel) -> Iterator[tuple[int, int, bytes]]:
    """(type, flags, body) of one message after the other, without end: the reader knows the last one."""
    while True:
        block = channel.recv(_ANSWER_BYTES)
        offset = 0
        while offset + _HEADER.size <= len(block):
            size, kind, flags, _, _ = _HEADER.unpack_from(block, offset)
            yield kind, flags, block[offset + _HEADER.size : offset + size]
            offset += (max(size, _HEADER.size) + 3) & ~3
