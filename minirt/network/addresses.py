# SPDX-License-Identifier: Apache-2.0
"""Internet and Ethernet addresses as text and as numbers: inet_pton(3), CIDR (RFC 4632, RFC 4291), EUI-64 (RFC 4291 A).

An address is (bits, value): 32 or 128 bits, and the number. A subnet is "172.17.0.0/16". What is written here is
written as inet_ntop(3) writes it, so that two texts are equal when their addresses are. Pure; must not import
ipaddress (7 ms): the way of a `run` leads through here.
"""

from __future__ import annotations

import os

from minirt.errors import InvalidValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Set


def parse(address: str) -> tuple[int, int]:
    """(32 or 128, the number). InvalidValue for anything that inet_pton(3) refuses."""
    value = _number6(address) if ":" in address else _number4(address)
    if value is None:
        raise InvalidValue(f'"{address}" is not an IP address')
    return (128 if ":" in address else 32), value


def _number4(text: str) -> int | None:
    """Four decimal numbers below 256, no leading zeros."""
    parts = text.split(".")
    value = 0
    for part in parts:
        if not (part.isascii() and part.isdigit()) or int(part) > 255 or (len(part) > 1 and part[0] == "0"):
            return None
        value = value << 8 | int(part)
    return value if len(parts) == 4 else None


def _number6(text: str) -> int | None:
    from _socket import AF_INET6, inet_pton

    try:
        return int.from_bytes(inet_pton(AF_INET6, text), "big")
    except (OSError, ValueError, UnicodeError):
        return None


def write(bits: int, value: int) -> str:
    if bits == 32:
        return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"
    from _socket import AF_INET6, inet_ntop

    return inet_ntop(AF_INET6, value.to_bytes(16, "big"))


def canonical(address: str) -> str:
    """The one spelling: "::1" for "0:0::1"."""
    return write(*parse(address))


def packed(address: str) -> bytes:
    """As it stands in a packet: 4 or 16 bytes."""
    bits, value = parse(address)
    return value.to_bytes(bits // 8, "big")


def split(subnet: str) -> tuple[int, int, int]:
    """(bits, the first address's number, prefix length). InvalidValue, also for "10.0.0.5/24"."""
    address, slash, length = subnet.partition("/")
    if not slash or not (length.isascii() and length.isdigit()):
        raise InvalidValue(f'invalid subnet "{subnet}"', "write it as 10.1.0.0/16 or fd00:1::/64")
    bits, value = parse(address)
    prefix_bits = int(length)
    if prefix_bits > bits:
        raise InvalidValue(f'invalid subnet "{subnet}"', f"its prefix has at most {bits} bits")
    first = value >> (bits - prefix_bits) << (bits - prefix_bits)
    if first != value:
        raise InvalidValue(f'invalid subnet "{subnet}"', f"it should be {write(bits, first)}/{prefix_bits}")
    return bits, first, prefix_bits


def prefix(subnet: str) -> int:
    """16 of "172.17.0.0/16"."""
    return int(subnet.rpartition("/")[2])


def canonical_subnet(subnet: str) -> str:
    bits, first, prefix_bits = split(subnet)
    return f"{write(bits, first)}/{prefix_bits}"


def contains(subnet: str, address: str) -> bool:
    bits, first, prefix_bits = split(subnet)
    family, value = parse(address)
    return family == bits and value >> (bits - prefix_bits) == first >> (bits - prefix_bits)


def covers(subnet: str, inner: str) -> bool:
    """Whether all of `inner` lies in `subnet`."""
    return prefix(inner) >= prefix(subnet) and contains(subnet, inner.partition("/")[0])


def overlap(one: str, other: str) -> bool:
    """Two subnets either lie one within the other or have nothing in common."""
    return covers(one, other) or covers(other, one)


def usable(subnet: str, address: str) -> bool:
    """Whether a host of this subnet can have it: not the network's own address and not the broadcast's (RFC 3021:
    a /31 has neither; RFC 4291, 2.6.1: the first address of an IPv6 subnet belongs to its routers)."""
    bits, first, prefix_bits = split(subnet)
    family, value = parse(address)
    if family != bits or value >> (bits - prefix_bits) != first >> (bits - prefix_bits):
        return False
    lowest, highest = _bounds(bits, first, prefix_bits)
    return lowest <= value <= highest


def _bounds(bits: int, first: int, prefix_bits: int) -> tuple[int, int]:
    """The lowest and the highest address that a host can have."""
    last = first + (1 << (bits - prefix_bits)) - 1
    if bits - prefix_bits < 2:
        return first, last
    return first + 1, last - (bits == 32)


def first_host(subnet: str) -> str:
    """The gateway where none was given: 172.17.0.1 of 172.17.0.0/16."""
    bits, first, prefix_bits = split(subnet)
    return write(bits, _bounds(bits, first, prefix_bits)[0])


def first_free(subnet: str, range_: str, gateway: str, taken: Set[str]) -> str | None:
    """The lowest address of `range_` ("" = the whole subnet) that is a host's, not the gateway's and not taken.

    `taken`: texts as `write` writes them. None: all are taken.
    """
    bits, first, prefix_bits = split(subnet)
    lowest, highest = _bounds(bits, first, prefix_bits)
    if range_:
        bits, first, prefix_bits = split(range_)
        lowest = max(lowest, first)
        highest = min(highest, first + (1 << (bits - prefix_bits)) - 1)
    while lowest <= highest:
        address = write(bits, lowest)
        if address not in taken and address != gateway:
            return address
        lowest += 1
    return None


def mac_of(address4: str) -> str:
    """02:42:ac:11:00:02 of 172.17.0.2: locally administered, and nobody else's on the same bridge."""
    return "02:42:" + parse(address4)[1].to_bytes(4, "big").hex(":")


def random_mac() -> str:
    """Locally administered, unicast (IEEE 802, 8.2)."""
    return "02:" + os.urandom(5).hex(":")


def mac_bytes(mac: str) -> bytes:
    """Six bytes of "02:42:ac:11:00:02"; InvalidValue for anything else."""
    parts = mac.split(":")
    digits = set("0123456789abcdefABCDEF")
    if len(parts) != 6 or any(len(part) != 2 or not digits.issuperset(part) for part in parts):
        raise InvalidValue(f'"{mac}" is not an Ethernet address', "write it as 02:42:ac:11:00:02")
    return bytes(int(part, 16) for part in parts)


def link_local(mac: str) -> str:
    """The address that the kernel gives an interface by itself: fe80::/64 and the EUI-64 of its MAC (RFC 4291 A)."""
    octets = mac_bytes(mac)
    identifier = bytes((octets[0] ^ 2,)) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return write(128, 0xFE80 << 112 | int.from_bytes(identifier, "big"))
