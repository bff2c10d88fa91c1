# SPDX-License-Identifier: Apache-2.0
"""Subnets for networks: picked so that they collide with nothing on this host, or checked when they are asked for.

RFC 1918 for IPv4, in Docker's order; RFC 4193 for IPv6. Cold path: when a network is made. Must not import engine.
"""

from __future__ import annotations

import os

from minirt.errors import Conflict
from minirt.network import addresses, sysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

CANDIDATES = [f"172.{second}.0.0/16" for second in range(17, 32)]
CANDIDATES += [f"192.168.{third}.0/20" for third in range(0, 256, 16)]
_HALF_BITS = 1
"""A VPN that wants everything sets two routes of this length: they are a default route, and collide with nothing."""

has_ipv6 = sysctl.has_ipv6


def subnet4(used: Sequence[str]) -> str:
    """The first candidate that overlaps no network in `used`, no route and no address of this host.

    Conflict: there is none left.
    """
    busy = [subnet for subnet in used if ":" not in subnet]
    busy += [subnet for subnet, _ in routes() if ":" not in subnet]
    for candidate in CANDIDATES:
        if not any(addresses.overlap(candidate, subnet) for subnet in busy):
            return candidate
    raise Conflict(
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
        "choose one: minirt network create --subnet 10.99.0.0/16 NAME",
    )


def subnet6() -> str:
    """A unique local /64: fd, forty random bits, subnet 0 (RFC 4193, 3.2)."""
    return addresses.write(128, int.from_bytes(b"\xfd" + os.urandom(5), "big") << 80) + "/64"


def check(subnet: str, used: Sequence[str], routed: bool = True) -> None:
    """InvalidValue for what is no subnet, Conflict for one that overlaps a network in `used`, a route or an address.

    `routed` is false for macvlan: its subnet is the parent's, so the host has a route there.
    """
    addresses.split(subnet)
    for other in used:
        if addresses.overlap(subnet, other):
            raise _overlap(subnet, f"the network {other}")
    for other, what in routes() if routed else ():
        if addresses.overlap(subnet, other):
            raise _overlap(subnet, what)


def _overlap(subnet: str, what: str) -> Conflict:
    return Conflict(
        f"invalid pool request: Pool overlaps with other one on this address space: {subnet} with {what}",
        "choose another one: --subnet",
    )


def routes() -> list[tuple[str, str]]:
    """(subnet, what it is) of every route and address of this host, in all its tables; default routes are left out."""
    from pyroute2 import IPRoute

    found = []
    with IPRoute() as route:
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in route.get_links()}
        for message in route.get_addr():
            address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            subnet = _masked(address, message["prefixlen"])
            found.append((subnet, f"the address {address} of {names.get(message['index'], '?')}"))
        for message in (*route.get_routes(family=2), *route.get_routes(family=10)):  # AF_INET, AF_INET6
            target, length = message.get_attr("RTA_DST"), message["dst_len"]
            if target and length > _HALF_BITS:
                name = names.get(message.get_attr("RTA_OIF"), "")
                found.append((_masked(target, length), f"the route to {target}/{length} {name}".rstrip()))
    return [(subnet, what) for subnet, what in found if not _is_scope_of_link(subnet)]


def _masked(address: str, length: int) -> str:
    bits, value = addresses.parse(address)
    return f"{addresses.write(bits, value >> (bits - length) << (bits - length))}/{length}"


def _is_scope_of_link(subnet: str) -> bool:
    """fe80::/10 and ff00::/8 are on every interface anew."""
    return addresses.covers("fe80::/10", subnet) or addresses.covers("ff00::/8", subnet)
