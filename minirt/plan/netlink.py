# SPDX-License-Identifier: Apache-2.0
"""Requests to the kernel's network half as values: rtnetlink(7) for links, addresses and routes, nf_tables for the
elements of nftables' sets (linux/netfilter/nf_tables.h).

Symbolic, as steps are: fields, attributes and flags by the kernel's names, addresses as text, descriptors as slots.
kernel/netlink.py makes bytes of them, plan/request_text.py a line. The step that sends one waits for its
acknowledgement, whose error is the step's. Pure; must not import kernel.
"""

from __future__ import annotations

from minirt.plan.step import Fd, Flags


class Index(int):
    """The number of an interface, shown by its name: Index(100, "eth0")."""

    name: str

    def __new__(cls, number: int, name: str) -> Index:
        self = super().__new__(cls, number)
        self.name = name
        return self


class Mac(str):
    """ "02:42:ac:11:00:02": six bytes."""

    __slots__ = ()


class Ip(str):
    """ "172.17.0.2" or "fd00::2": four or sixteen bytes."""

    __slots__ = ()


class Byte(Flags):
    """A number of eight bits in the kernel's words."""

    __slots__ = ()


class Socket:
    """struct sockaddr_in or sockaddr_in6: where a socket is bound."""

    __slots__ = ("address", "port")

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self.port = port

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Socket) and (other.address, other.port) == (self.address, self.port)

    def __hash__(self) -> int:
        return hash((self.address, self.port))


class Request:
    """One message of rtnetlink.

    type: "RTM_NEWLINK"; flags: "NLM_F_CREATE|NLM_F_EXCL", beside NLM_F_REQUEST and NLM_F_ACK, which every one has.
    header: fields of struct ifinfomsg, ifaddrmsg, rtmsg or rtgenmsg by name; one that is not named is 0.
    attributes: (name, value) in order; a value is str, int, Flags, Byte, Mac, Ip, Fd, or a tuple of more such pairs.
    At most one is an Fd: the number of that descriptor in the process that sends.
    """

    __slots__ = ("type", "flags", "header", "attributes")

    def __init__(
        self, type_: str, flags: str, header: dict[str, object], attributes: tuple[tuple[str, object], ...] = ()
    ) -> None:
        self.type = type_
        self.flags = flags
        self.header = header
        self.attributes = attributes

    def _key(self) -> tuple[object, ...]:
        return (self.type, self.flags, tuple(self.header.items()), self.attributes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Request) and other._key() == self._key()

    def __hash__(self) -> int:
        return hash(self._key())


class Elements:
    """Elements of one set or map of nftables, to be added or deleted.

    type: "NFT_MSG_NEWSETELEM" or "NFT_MSG_DELSETELEM". family: "inet", "bridge". key, data: what an element is made
    of, as nft(8) calls it: ("inet_proto", "inet_service"); data is () for a set. elements: the values of key, then of
    data, one behind the other: ("tcp", 8080, "172.17.0.2", 80).
    """

    __slots__ = ("type", "family", "table", "set", "key", "data", "elements")

    def __init__(
        self,
        type_: str,
        family: str,
        table: str,
        set_: str,
        key: tuple[str, ...],
        data: tuple[str, ...],
        elements: tuple[tuple[str | int, ...], ...],
    ) -> None:
        self.type = type_
        self.family = family
        self.table = table
        self.set = set_
        self.key = key
        self.data = data
        self.elements = elements

    def _key(self) -> tuple[object, ...]:
        return (self.type, self.family, self.table, self.set, self.key, self.data, self.elements)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Elements) and other._key() == self._key()

    def __hash__(self) -> int:
        return hash(self._key())


class Batch(tuple[Elements, ...]):
    """One transaction of nf_tables: all of it is done, or nothing."""

    __slots__ = ()


def named(request: Request) -> Fd | None:
    """The descriptor that a request speaks of."""
    return _descriptor(request.attributes)


def _descriptor(attributes: tuple[tuple[str, object], ...]) -> Fd | None:
    for _, value in attributes:
        found = value if isinstance(value, Fd) else _descriptor(value) if type(value) is tuple else None
        if found is not None:
            return found
    return None
