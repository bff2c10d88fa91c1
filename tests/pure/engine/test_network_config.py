# SPDX-License-Identifier: Apache-2.0
"""What `network create` is asked for: read, checked, and refused in Docker's words."""

from __future__ import annotations

import pytest

from minirt.engine import network_config
from minirt.engine.network_config import Request
from minirt.errors import InvalidValue

IDENTITY = "ab" * 32


def request(name: str = "back", **given: object) -> Request:
    wanted = Request(name)
    for field, value in given.items():
        assert hasattr(wanted, field)
        setattr(wanted, field, value)
    return wanted


def test_plain() -> None:
    made = network_config.network(request(), IDENTITY, 7)
    assert (made.name, made.driver, made.interface, made.created_ns) == ("back", "bridge", "mr-abababababab", 7)
    assert (made.subnet4, made.gateway4, made.subnet6, made.internal, made.mtu) == ("", "", "", False, 0)


def test_everything() -> None:
    made = network_config.network(
        request(
            subnets=["172.30.0.0/16", "fd00:7::/64"],
            gateways=["fd00:7::fe", "172.30.0.254"],
            ranges=["172.30.8.0/24"],
            internal=True,
            options=["com.docker.network.driver.mtu=1400", "com.docker.network.bridge.enable_icc=true"],
            labels=["a=b=c", "d"],
        ),
        IDENTITY,
        0,
    )
    assert (made.subnet4, made.gateway4, made.range4) == ("172.30.0.0/16", "172.30.0.254", "172.30.8.0/24")
    assert (made.subnet6, made.gateway6) == ("fd00:7::/64", "fd00:7::fe")
    assert (made.internal, made.mtu, made.labels) == (True, 1400, {"a": "b=c", "d": ""})


def test_first_address_is_the_gateway() -> None:
    made = network_config.network(request(subnets=["10.1.2.0/24", "fd00:0:0:1::/64"]), IDENTITY, 0)
    assert (made.gateway4, made.gateway6, made.subnet6) == ("10.1.2.1", "fd00:0:0:1::1", "fd00:0:0:1::/64")


def test_macvlan() -> None:
    made = network_config.network(
        request(driver="macvlan", options=["parent=eth0.7", "macvlan_mode=bridge"]), IDENTITY, 0
    )
    assert (made.driver, made.interface) == ("macvlan", "eth0.7")


def test_bridge_of_that_name() -> None:
    made = network_config.network(request(options=["com.docker.network.bridge.name=br-lab"]), IDENTITY, 0)
    assert made.interface == "br-lab"


SUBNET = {"subnets": ["172.30.0.0/16"]}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "bridge"}, "operation is not permitted on predefined bridge network"),
        ({"name": "host"}, "operation is not permitted on predefined host network"),
        ({"name": ""}, "invalid network name: "),
        ({"name": "-x"}, "invalid network name: -x"),
        ({"name": "a b"}, "invalid network name: a b"),
        ({"name": "a:b"}, "invalid network name: a:b"),
        ({"name": "a/../b"}, "invalid network name: a/../b"),
        ({"name": "x" * 256}, "invalid network name: "),
        ({"name": IDENTITY}, "invalid network name: "),
        ({"driver": "overlay"}, 'could not find a network driver plugin "overlay"'),
        ({"subnets": ["172.30.0.0"]}, "invalid subnet 172.30.0.0: invalid CIDR block notation"),
        ({"subnets": ["172.30.0.0/33"]}, "invalid subnet 172.30.0.0/33: invalid CIDR block notation"),
        ({"subnets": ["172.30/16"]}, "invalid subnet 172.30/16: invalid CIDR block notation"),
        ({"subnets": [""]}, "invalid subnet : invalid CIDR block notation"),
        ({"subnets": ["172.30.0.1/16"]}, "invalid subnet 172.30.0.1/16: it should be 172.30.0.0/16"),
        ({"subnets": ["172.30.0.0/31"]}, "it has no room for a gateway and a container"),
        ({"subnets": ["127.0.0.0/16"]}, "no container can have addresses of it"),
        ({"subnets": ["0.0.0.0/0"]}, "no container can have addresses of it"),
        ({"subnets": ["224.0.0.0/8"]}, "no container can have addresses of it"),
        ({"subnets": ["fe80::/64"]}, "no container can have addresses of it"),
        ({"subnets": ["10.0.0.0/8", "10.1.0.0/16"]}, "a network has one IPv4 subnet"),
        ({"gateways": ["172.30.0.1"]}, "every ip-range or gateway must have a corresponding subnet"),
        ({**SUBNET, "gateways": ["fd00::1"]}, "no matching subnet for gateway fd00::1"),
        ({**SUBNET, "gateways": ["172.31.0.1"]}, "parent subnet 172.30.0.0/16 doesn't contain this address"),
        ({**SUBNET, "gateways": ["172.30.0.0"]}, "it names the whole of 172.30.0.0/16"),
        ({**SUBNET, "gateways": ["172.30.255.255"]}, "it names the whole of 172.30.0.0/16"),
        ({**SUBNET, "gateways": ["172.30.0"]}, "invalid gateway 172.30.0: invalid address"),
        ({**SUBNET, "gateways": ["172.30.0.1", "172.30.0.2"]}, "invalid gateway 172.30.0.2: a network has one"),
        ({"ranges": ["172.30.1.0/24"]}, "every ip-range or gateway must have a corresponding subnet"),
        ({"subnets": ["fd00::/64"], "ranges": ["172.30.1.0/24"]}, "no matching subnet for range 172.30.1.0/24"),
        ({**SUBNET, "ranges": ["172.30.1.0/x"]}, "invalid ip-range 172.30.1.0/x: invalid CIDR block notation"),
        ({**SUBNET, "ranges": ["172.30.1.1/24"]}, "invalid ip-range 172.30.1.1/24: it should be 172.30.1.0/24"),
        ({**SUBNET, "ranges": ["172.0.0.0/8"]}, "CIDR block is bigger than its parent subnet 172.30.0.0/16"),
        ({**SUBNET, "ranges": ["172.31.1.0/24"]}, "parent subnet 172.30.0.0/16 doesn't contain ip-range"),
        ({"subnets": ["fd00::/64"], "ranges": ["fd00::/80"]}, "not supported for IPv6"),
        ({"options": ["mtu=67"]}, "invalid mtu 67"),
        ({"options": ["mtu=65536"]}, "invalid mtu 65536"),
        ({"options": ["mtu=x"]}, "invalid mtu x"),
        ({"options": ["mtu=1200"], "ipv6": True}, "invalid mtu 1200: IPv6 needs 1280 at least"),
        ({"options": ["foo=bar"]}, "network option foo=bar is not supported"),
        ({"options": ["parent=eth0"]}, "network option parent=eth0 is not supported"),
        ({"options": ["com.docker.network.bridge.enable_icc=false"]}, "enable_icc=false is not supported"),
        ({"options": ["com.docker.network.bridge.name=x/y"]}, "invalid interface name: x/y"),
        ({"options": ["com.docker.network.bridge.name=all"]}, "invalid interface name: all"),
        ({"options": ["com.docker.network.bridge.name=abcdefghijklmnop"]}, "invalid interface name: abcdefghijklmnop"),
        ({"driver": "macvlan"}, "a macvlan network needs an interface of the host"),
        ({"driver": "macvlan", "options": ["parent=eth 0"]}, "invalid interface name: eth 0"),
        ({"driver": "macvlan", "options": ["parent=eth0"], "internal": True}, "a macvlan network cannot be internal"),
        ({"labels": ["=x"]}, "invalid label format: '=x'"),
    ],
)
def test_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        network_config.network(request(**given), IDENTITY, 0)  # type: ignore[arg-type]
    assert message in caught.value.message
    assert caught.value.message.isprintable()
