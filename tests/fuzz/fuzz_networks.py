# SPDX-License-Identifier: Apache-2.0
"""What people write about networks and ports, as a fuzzer makes it: flags beside ipaddress, and each read, written and
read again.
"""

from __future__ import annotations

import contextlib
import ipaddress

from minirt.engine import network_config, network_flags
from minirt.engine.network_config import Request
from minirt.engine.options import RunOptions
from minirt.errors import InvalidValue

IDENTITY = "ab" * 32
NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-:")


def networks(data: bytes) -> None:
    """-p, --expose, --network and the flags of `network create`: one of them by the first byte."""
    if not data:
        return
    text = data[1:].decode("utf-8", "surrogateescape")
    play = (published, exposed, attached, created, addressed)[data[0] % 5]
    with contextlib.suppress(InvalidValue):
        play(text)


def published(text: str) -> None:
    found = network_flags.publication(text)
    assert 1 <= len(found) <= 65535
    for one in found[:8]:
        assert one.protocol in network_flags.PROTOCOLS
        assert 1 <= one.container_port <= 65535 and 0 <= one.host_port <= one.host_last <= 65535
        assert not one.host_address or str(ipaddress.ip_address(one.host_address))
        host = f"{one.host_port}-{one.host_last}" if one.host_last != one.host_port else str(one.host_port)
        where = f"[{one.host_address}]:" if one.host_address else ""
        (again,) = network_flags.publication(f"{where}{host}:{one.container_port}/{one.protocol}")
        assert again.key() == one.key()


def exposed(text: str) -> None:
    for one in network_flags.exposed([text], {"ExposedPorts": {text: {}}})[:8]:
        number, _, protocol = one.partition("/")
        assert 1 <= int(number) <= 65535 and protocol in ("tcp", "udp", "sctp")


def attached(text: str) -> None:
    """Nothing that means more in a resolver's files, a path or a row is let through."""
    for one in network_flags.wanted(RunOptions(network=[text])):
        for name in (one.network, *one.aliases):
            assert name and NAME.issuperset(name)
        assert [network_flags.written(again) for again in network_flags.wanted(RunOptions(network=[text]))] == [
            network_flags.written(one)
        ]
        (same,) = network_flags.wanted(RunOptions(network=[network_flags.written(one)]))
        assert (same.network, same.aliases, same.mac) == (one.network, one.aliases, one.mac)
        assert (same.address4, same.address6) == (one.address4, one.address6)


def created(text: str) -> None:
    """Words by lines: the name, then --subnet, --gateway, --ip-range and -o by turns."""
    name, *words = text.split("\n")
    request = Request(name)
    request.subnets, request.gateways = words[0::4], words[1::4]
    request.ranges, request.options = words[2::4], words[3::4]
    made = network_config.network(request, IDENTITY, 0)
    assert NAME.issuperset(made.name) and NAME.issuperset(made.interface) and 0 < len(made.interface) <= 15
    for subnet, gateway in ((made.subnet4, made.gateway4), (made.subnet6, made.gateway6)):
        assert bool(subnet) == bool(gateway)
        assert not subnet or ipaddress.ip_address(gateway) in ipaddress.ip_network(subnet)
    if made.range4:
        inner, outer = ipaddress.IPv4Network(made.range4), ipaddress.IPv4Network(made.subnet4)
        assert inner.subnet_of(outer)


def addressed(text: str) -> None:
    """An address is one for us if and only if it is one for ipaddress."""
    version, plain = network_flags.canonical(text)
    try:
        theirs = ipaddress.ip_address(text)
    except ValueError:
        assert not version, f"{text!a} is no address"
        return
    if "%" not in text:
        assert version == theirs.version
        assert ipaddress.ip_address(plain) == theirs
