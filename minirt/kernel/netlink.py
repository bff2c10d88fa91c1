# SPDX-License-Identifier: Apache-2.0
"""Requests of plan/netlink.py as the bytes that the kernel reads: netlink(7), rtnetlink(7), netlink attributes and
batches of nf_tables as linux/netlink.h and linux/netfilter/nfnetlink.h lay them out.

    struct nlmsghdr | header of the family | attributes, each {length, type, value}, padded to 4 bytes

Only what a container's birth needs; every number comes from the compiler (csrc/bindings). flat.py calls this with its
own table of words. Must not import runtime.
"""

from __future__ import annotations

from struct import Struct, pack

from minirt.errors import InvalidValue
from minirt.kernel._csrc import ffi, lib
from minirt.plan.netlink import Batch, Byte, Index, Ip, Mac, Request
from minirt.plan.step import Fd, Flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Literal

    from minirt.plan.netlink import Elements, Socket

_MESSAGE = Struct("@IHHII")  # struct nlmsghdr: len, type, flags, seq, pid
_ATTRIBUTE = Struct("@HH")  # struct nlattr: len, type
_IPV4, _IPV6 = Struct("@H2s4s8x"), Struct("@H2sI16sI")  # struct sockaddr_in, sockaddr_in6
_IFINFO = Struct("@BxHiII")
# type: struct and its fields in order
_HEADERS: dict[str, tuple[Struct, tuple[str, ...]]] = {
    "RTM_NEWLINK": (_IFINFO, ("ifi_family", "ifi_type", "ifi_index", "ifi_flags", "ifi_change")),
    "RTM_NEWADDR": (
        Struct("@BBBBI"),
        ("ifa_family", "ifa_prefixlen", "ifa_flags", "ifa_scope", "ifa_index"),
    ),
    "RTM_NEWROUTE": (
        Struct("@BBBBBBBBI"),
        ("rtm_family", "rtm_dst_len", "rtm_src_len", "rtm_tos", "rtm_table", "rtm_protocol", "rtm_scope", "rtm_type",
         "rtm_flags"),
    ),
    "RTM_NEWNSID": (Struct("@B3x"), ("rtgen_family",)),
}  # fmt: skip
_HEADERS["RTM_GETLINK"] = _HEADERS["RTM_NEWLINK"]
_HEADERS["RTM_DELLINK"] = _HEADERS["RTM_NEWLINK"]
_HEADERS["RTM_DELADDR"] = _HEADERS["RTM_NEWADDR"]
_HEADERS["RTM_DELROUTE"] = _HEADERS["RTM_NEWROUTE"]
_PREFIXED = {"VETH_INFO_PEER": bytes(_IFINFO.size)}  # attributes that hold a header of their own before the others
_PROTOCOLS = {"tcp": "IPPROTO_TCP", "udp": "IPPROTO_UDP", "sctp": "IPPROTO_SCTP"}
_FAMILIES = {"inet": "NFPROTO_INET", "bridge": "NFPROTO_BRIDGE"}
SEQUENCES = 1024  # one step's messages at most


def encode(request: Request | Batch, sequence: int, number: Callable[[str], int]) -> tuple[bytes, int]:
    """The message, and where in it the number of a descriptor belongs (0: nowhere). Batches take as many sequence
    numbers from `sequence` on as they have messages, SEQUENCES at most. InvalidValue: an address, or too much."""
    if type(request) is Batch:
        return _Writer(number).batch(request, sequence), 0
    return _Writer(number).request(request, sequence)  # type: ignore[arg-type]


def socket_address(socket: Socket) -> bytes:
    """struct sockaddr_in or sockaddr_in6."""
    port = socket.port.to_bytes(2, "big")
    if ":" in socket.address:
        return _IPV6.pack(lib.AF_INET6, port, 0, address(socket.address), 0)
    return _IPV4.pack(lib.AF_INET, port, address(socket.address))


def address(text: str) -> bytes:
    """Four or sixteen bytes in network order (inet_pton(3)). InvalidValue: it is no address."""
    size, family = (16, lib.AF_INET6) if ":" in text else (4, lib.AF_INET)
    found = ffi.new("unsigned char[]", size)
    if "\0" in text or not text.isascii() or lib.inet_pton(family, text.encode(), found) != 1:
        raise InvalidValue(f"not an address: {text!r}")
    return bytes(ffi.buffer(found))


def mac_address(text: str) -> bytes:
    """Six bytes. InvalidValue: it is no MAC address."""
    try:
        found = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        found = b""
    if len(found) != 6 or text.count(":") != 5:
        raise InvalidValue(f"not a MAC address: {text!r}")
    return found


class _Writer:
    """One request in the making. number: words to numbers. descriptor: the offset of a descriptor's number."""

    __slots__ = ("number", "descriptor", "buffer")

    def __init__(self, number: Callable[[str], int]) -> None:
        self.number = number
        self.descriptor = 0
        self.buffer = bytearray()

    def request(self, request: Request, sequence: int) -> tuple[bytes, int]:
        found = _HEADERS.get(request.type)
        if found is None:
            raise InvalidValue(f"no such request: {request.type!r}")
        layout, fields = found
        if not set(request.header) <= set(fields):
            raise InvalidValue(f"no such field of {request.type}: {', '.join(set(request.header) - set(fields))}")
        start = self.begin(request.type, request.flags, sequence)
        self.buffer += layout.pack(*(self.integer(request.header.get(name, 0)) for name in fields))
        self.attributes(request.attributes)
        self.end(start)
        return bytes(self.buffer), self.descriptor

    def batch(self, batch: Batch, sequence: int) -> bytes:
        """Between its two marks. Only the last message asks for an acknowledgement: the kernel answers it once the
        whole transaction has been carried out; what fails is answered in any case."""
        if not 0 < len(batch) <= SEQUENCES - 2:
            raise InvalidValue(f"a batch of {len(batch)} messages")
        mark = pack("@BB", lib.AF_UNSPEC, lib.NFNETLINK_V0) + lib.NFNL_SUBSYS_NFTABLES.to_bytes(2, "big")
        self.mark("NFNL_MSG_BATCH_BEGIN", mark, sequence)
        for index, elements in enumerate(batch, 1):
            last = index == len(batch)
            start = len(self.buffer)
            self.elements(elements, sequence + index)
            flags = lib.NLM_F_REQUEST | (lib.NLM_F_ACK if last else 0)
            if elements.type == "NFT_MSG_NEWSETELEM":
                flags |= lib.NLM_F_CREATE
            kind = lib.NFNL_SUBSYS_NFTABLES << 8 | self.number(elements.type)
            _MESSAGE.pack_into(self.buffer, start, len(self.buffer) - start, kind, flags, sequence + index, 0)
        self.mark("NFNL_MSG_BATCH_END", mark, sequence + len(batch) + 1)
        return bytes(self.buffer)

    def begin(self, type_: str, flags: str, sequence: int) -> int:
        start = len(self.buffer)
        words = lib.NLM_F_REQUEST | lib.NLM_F_ACK | self.number(flags)
        self.buffer += _MESSAGE.pack(0, self.number(type_), words, sequence, 0)
        return start

    def end(self, start: int) -> None:
        self.buffer[start : start + 4] = pack("@I", len(self.buffer) - start)

    def mark(self, type_: str, body: bytes, sequence: int) -> None:
        size = _MESSAGE.size + len(body)
        self.buffer += _MESSAGE.pack(size, self.number(type_), lib.NLM_F_REQUEST, sequence, 0) + body

    def integer(self, value: object) -> int:
        return self.number(value) if isinstance(value, str) else int(value)  # type: ignore[call-overload]

    def attributes(self, attributes: Iterable[tuple[str, object]]) -> None:
        for name, value in attributes:
            self.attribute(self.number(name), value, _PREFIXED.get(name, b""))

    def attribute(self, type_: int, value: object, prefix: bytes = b"") -> None:
        start = len(self.buffer)
        self.buffer += b"\0\0\0\0" + prefix
        kind = type(value)
        if kind is tuple:
            self.attributes(value)  # type: ignore[arg-type]
        elif kind is Fd:
            self.descriptor = len(self.buffer)
            self.buffer += b"\xff\xff\xff\xff"
        else:
            self.buffer += self.value(kind, value)
        self.close(start, type_)

    def close(self, start: int, type_: int) -> None:
        size = len(self.buffer) - start
        if size > 0xFFFF:
            raise InvalidValue("more elements than one message can take")
        _ATTRIBUTE.pack_into(self.buffer, start, size, type_)
        self.buffer += bytes(-size % 4)

    def value(self, kind: type, value: object) -> bytes:
        if kind is str:
            return _text(value)  # type: ignore[arg-type]
        if kind is Ip:
            return address(value)  # type: ignore[arg-type]
        if kind is Mac:
            return mac_address(value)  # type: ignore[arg-type]
        if kind is Byte:
            return bytes((self.number(value),))  # type: ignore[arg-type]
        if kind is Flags or kind is int or kind is Index:
            return (self.integer(value) & 0xFFFFFFFF).to_bytes(4, _ORDER)
        raise InvalidValue(f"an attribute of no known type: {value!r}")

    def elements(self, elements: Elements, sequence: int) -> None:
        """The body of a message about the elements of one set. Numbers in attributes are in network order."""
        self.buffer += bytes(_MESSAGE.size)
        self.buffer += pack("@BBH", self.number(_FAMILIES.get(elements.family, elements.family)), lib.NFNETLINK_V0, 0)
        self.attribute(lib.NFTA_SET_ELEM_LIST_TABLE, elements.table)
        self.attribute(lib.NFTA_SET_ELEM_LIST_SET, elements.set)
        start = len(self.buffer)
        self.buffer += b"\0\0\0\0"
        width = len(elements.key)
        for values in elements.elements:
            if len(values) != width + len(elements.data):
                raise InvalidValue(f"not an element of {elements.set}: {values!r}")
            self.element(self.fields(elements.key, values), self.fields(elements.data, values[width:]))
        self.close(start, lib.NFTA_SET_ELEM_LIST_ELEMENTS | lib.NLA_F_NESTED)

    def element(self, key: bytes, data: bytes) -> None:
        nested, value = lib.NLA_F_NESTED, lib.NFTA_DATA_VALUE
        head, inner = _ATTRIBUTE.size, _ATTRIBUTE.pack
        body = inner(len(key) + 2 * head, lib.NFTA_SET_ELEM_KEY | nested) + inner(len(key) + head, value) + key
        if data:
            body += inner(len(data) + 2 * head, lib.NFTA_SET_ELEM_DATA | nested) + inner(len(data) + head, value) + data
        self.buffer += inner(len(body) + head, lib.NFTA_LIST_ELEM | nested) + body

    def fields(self, types: tuple[str, ...], values: tuple[str | int, ...]) -> bytes:
        """A concatenation: each field begins at a register of four bytes."""
        data = b""
        for type_, value in zip(types, values, strict=False):
            data += self.field(type_, value)
            data += bytes(-len(data) % 4)
        return data

    def field(self, type_: str, value: str | int) -> bytes:
        if type_ == "inet_service" and 0 <= int(value) <= 0xFFFF:
            return int(value).to_bytes(2, "big")
        text = str(value)
        if type_ == "ipv4_addr" or type_ == "ipv6_addr":
            return address(text)
        if type_ == "inet_proto" and text in _PROTOCOLS:
            return bytes((self.number(_PROTOCOLS[text]),))
        if type_ == "ether_addr":
            return mac_address(text)
        if type_ == "ifname" and len(text) < lib.IFNAMSIZ:
            return text.encode().ljust(lib.IFNAMSIZ, b"\0")
        raise InvalidValue(f"no {type_}: {text!r}")


_ORDER: Literal["little", "big"] = "little" if pack("@H", 1)[0] else "big"


def _text(text: str) -> bytes:
    """A string with its NUL."""
    if "\0" in text:
        raise InvalidValue(f"a NUL byte in {text!r}")
    return text.encode("utf-8", "surrogateescape") + b"\0"
