# SPDX-License-Identifier: Apache-2.0
"""Addresses and subnets, with Python's ipaddress as the oracle."""

from __future__ import annotations

import ipaddress
import random

import pytest

from minirt.errors import InvalidValue
from minirt.network import addresses

ADDRESSES = """0.0.0.0 1.2.3.4 127.0.0.1 172.17.0.2 255.255.255.255 :: ::1 fe80::1 fd00:1::2 2001:db8:0:0:1::1
2001:db8:1:2:3:4:5:6 ::ffff:1.2.3.4 0:0:1::1 ff02::1 1::""".split()
NO_ADDRESSES = """1.2.3 1.2.3.4.5 1.2.3.256 01.2.3.4 1.2.3.-4 1.2.3.4/8 a.b.c.d 1..2.3 : ::: 1::2::3 12345::
fe80::1%eth0 1.2.3.４ [::1] ::1/64 1.2.3.+4""".split()
SUBNETS = """10.0.0.0/8 10.1.0.0/16 10.1.2.0/24 10.1.2.4/30 10.1.2.4/31 10.1.2.4/32 0.0.0.0/0 172.16.0.0/12 fd00::/8
fd00:1::/64 fd00:1::/126 fd00:1::/127 fd00:1::/128 ::/0 fd00:1:0:8::/61""".split()


@pytest.mark.parametrize("text", ADDRESSES)
def test_addresses(text: str) -> None:
    known = ipaddress.ip_address(text)
    assert addresses.parse(text) == (known.max_prefixlen, int(known))
    assert addresses.packed(text) == known.packed
    if "ffff" not in text:  # where Python writes ::ffff:102:304
        assert addresses.canonical(text) == str(known)


@pytest.mark.parametrize("text", [*NO_ADDRESSES, "", " 1.2.3.4", "1.2.3.4\n", "::1\0"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InvalidValue):
        addresses.parse(text)


@pytest.mark.parametrize("text", SUBNETS)
def test_subnets(text: str) -> None:
    known = ipaddress.ip_network(text)
    assert addresses.split(text) == (known.max_prefixlen, int(known.network_address), known.prefixlen)
    assert addresses.canonical_subnet(text) == text
    assert addresses.prefix(text) == known.prefixlen


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("10.0.0.5/24", "it should be 10.0.0.0/24"),
        ("fd00:1::1/64", "it should be fd00:1::/64"),
        ("10.0.0.0/33", "at most 32"),
        ("fd00::/129", "at most 128"),
        ("10.0.0.0", "write it as"),
        ("10.0.0.0/", "write it as"),
        ("10.0.0.0/-1", "write it as"),
        ("10.0.0.0/8/8", "write it as"),
        ("10.0.0.0/255.0.0.0", "write it as"),
    ],
)
def test_what_is_no_subnet(text: str, said: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        addresses.split(text)
    assert f'"{text}"' in str(refused.value)
    assert said in refused.value.remedy


def test_two_subnets() -> None:
    for one in SUBNETS:
        for other in SUBNETS:
            first, second = ipaddress.ip_network(one), ipaddress.ip_network(other)
            same = first.version == second.version
            assert addresses.overlap(one, other) == first.overlaps(second)
            assert addresses.covers(one, other) == (same and second.subnet_of(first))  # type: ignore[arg-type]
        for address in ADDRESSES:
            assert addresses.contains(one, address) == (ipaddress.ip_address(address) in ipaddress.ip_network(one))


@pytest.mark.parametrize("text", [text for text in SUBNETS if ipaddress.ip_network(text).num_addresses <= 256])
def test_whom_a_subnet_has_room_for(text: str) -> None:
    """Every address of it that ipaddress calls a host's, in order, and then none."""
    hosts = [str(host) for host in ipaddress.ip_network(text).hosts()]
    if text == "fd00:1::/126":  # hosts() leaves out the last one there, which is none of IPv6's rules
        assert hosts[-1] == "fd00:1::3"
    assert addresses.first_host(text) == hosts[0]
    taken: set[str] = set()
    while (free := addresses.first_free(text, "", "", taken)) is not None:
        assert free == hosts[len(taken)]
        assert addresses.usable(text, free)
        taken.add(free)
    assert len(taken) == len(hosts)
    everyone = [str(address) for address in ipaddress.ip_network(text)]
    assert [address for address in everyone if addresses.usable(text, address)] == hosts


def test_a_range_of_a_subnet() -> None:
    subnet, gateway = "10.1.0.0/16", "10.1.5.1"
    assert addresses.first_free(subnet, "10.1.5.0/24", gateway, set()) == "10.1.5.0", "no host's only in a subnet"
    assert addresses.first_free(subnet, "10.1.5.0/24", gateway, {"10.1.5.0"}) == "10.1.5.2", "the gateway's is left out"
    assert addresses.first_free(subnet, "10.1.0.0/30", "10.1.0.1", set()) == "10.1.0.2"
    full = {f"10.1.255.{last}" for last in range(252, 255)}
    assert addresses.first_free(subnet, "10.1.255.252/30", gateway, full) is None, "the last one is the broadcast's"
    assert addresses.first_free("fd00:1::/64", "fd00:1::ff00/120", "fd00:1::1", set()) == "fd00:1::ff00"


def test_many_are_taken() -> None:
    subnet = "172.17.0.0/16"
    everyone = [str(host) for host in ipaddress.ip_network(subnet).hosts()]
    left = random.Random(7).choice(everyone[1000:])
    assert addresses.first_free(subnet, "", "172.17.0.1", set(everyone) - {left}) == left
    assert addresses.first_free(subnet, "", left, set(everyone) - {left}) is None


def test_macs() -> None:
    assert addresses.mac_of("172.17.0.2") == "02:42:ac:11:00:02"
    assert addresses.mac_bytes("02:42:AC:11:00:02") == bytes.fromhex("0242ac110002")
    assert addresses.link_local("02:42:ac:11:00:02") == "fe80::42:acff:fe11:2"
    assert addresses.link_local("52:54:00:12:34:56") == "fe80::5054:ff:fe12:3456"
    made = {addresses.random_mac() for _ in range(100)}
    assert len(made) == 100
    assert all(addresses.mac_bytes(one)[0] == 2 for one in made)


@pytest.mark.parametrize("text", ["", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "2:42:ac:11:0:2", "02-42-ac-11-00-02",
                                  "zz:42:ac:11:00:02", "+2:42:ac:11:00:02"])  # fmt: skip
def test_what_is_no_mac(text: str) -> None:
    with pytest.raises(InvalidValue):
        addresses.mac_bytes(text)
