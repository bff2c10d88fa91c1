# SPDX-License-Identifier: Apache-2.0
"""Subnets: picked beside whatever this host has already, and refused where they collide."""

from __future__ import annotations

import ipaddress

import pytest

import namespaces
import world as worlds
from minirt.errors import Conflict, InvalidValue
from minirt.network import pool


def test_dockers_order(here: namespaces.Namespace) -> None:
    used: list[str] = []
    for _ in pool.CANDIDATES:
        used.append(pool.subnet4(used))
    assert used[:2] == ["172.17.0.0/16", "172.18.0.0/16"]
    assert used[14:17] == ["172.31.0.0/16", "192.168.0.0/20", "192.168.16.0/20"]
    assert used[-1] == "192.168.240.0/20"
    with pytest.raises(Conflict, match="could not find an available, non-overlapping IPv4 address pool"):
        pool.subnet4(used)


@pytest.mark.parametrize(
    ("lines", "picked"),
    [
        (("address add 172.17.3.4/24 dev away",), "172.18.0.0/16"),
        (("address add 172.17.3.4/32 dev away",), "172.18.0.0/16"),
        (("route add 172.17.9.0/24 dev away",), "172.18.0.0/16"),
        (("route add 172.16.0.0/14 dev away",), "172.20.0.0/16"),
        (("route add 172.17.0.0/16 dev away table 77",), "172.18.0.0/16"),
        (("route add blackhole 172.16.0.0/12",), "192.168.0.0/20"),
        (("route add default dev away",), "172.17.0.0/16"),
        (("route add 0.0.0.0/1 dev away", "route add 128.0.0.0/1 dev away"), "172.17.0.0/16"),
        (("route add fd00::/8 dev away",), "172.17.0.0/16"),
        (("address add 172.17.0.1/16 dev quiet",), "172.18.0.0/16"),
    ],
)
def test_beside_what_the_host_has(here: namespaces.Namespace, lines: tuple[str, ...], picked: str) -> None:
    worlds.ip("link add away type bridge", "link set away up", "link add quiet type bridge", *lines)
    assert pool.subnet4(["10.0.0.0/8", "fd00:5::/64"]) == picked


def test_ipv6(here: namespaces.Namespace) -> None:
    made = {pool.subnet6() for _ in range(20)}
    assert len(made) == 20
    assert all(ipaddress.ip_network(one).subnet_of(ipaddress.ip_network("fd00::/8")) for one in made)  # type: ignore[arg-type]
    assert pool.has_ipv6()
    worlds.sysctl("net.ipv6.conf.all.disable_ipv6", "1")
    assert not pool.has_ipv6()


def test_what_was_asked_for(here: namespaces.Namespace) -> None:
    worlds.ip(
        "link add away type bridge",
        "link set away up",
        "address add 10.5.0.1/16 dev away",
        "route add default dev away",
    )
    pool.check("10.6.0.0/16", ["10.7.0.0/16"])
    pool.check("fd00:7::/64", ["10.7.0.0/16"])
    for subnet, used, said in (
        ("10.5.9.0/24", [], "the address 10.5.0.1 of away"),
        ("10.0.0.0/8", [], "the address 10.5.0.1 of away"),
        ("10.6.0.0/16", ["10.6.128.0/17"], "the network 10.6.128.0/17"),
    ):
        with pytest.raises(Conflict, match="Pool overlaps with other one on this address space") as refused:
            pool.check(subnet, used)
        assert said in str(refused.value)
    pool.check("10.5.0.0/16", [], routed=False)
    with pytest.raises(Conflict):
        pool.check("10.5.0.0/16", ["10.5.0.0/24"], routed=False)
    with pytest.raises(InvalidValue):
        pool.check("10.5.0.1/16", [])
