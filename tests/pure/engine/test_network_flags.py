# SPDX-License-Identifier: Apache-2.0
"""The grammar of -p, --expose, --network and its kin: what each text means, and Docker's words for what is wrong."""

from __future__ import annotations

import pytest

from minirt.engine import network_flags
from minirt.engine.options import RunOptions, settle
from minirt.errors import InvalidValue


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", [("tcp", "", 0, 0, 80)]),
        ("8080:80", [("tcp", "", 8080, 8080, 80)]),
        ("8080:80/udp", [("udp", "", 8080, 8080, 80)]),
        ("8080:80/TCP", [("tcp", "", 8080, 8080, 80)]),
        ("8080:80/", [("tcp", "", 8080, 8080, 80)]),
        (":80", [("tcp", "", 0, 0, 80)]),
        ("0:80", [("tcp", "", 0, 0, 80)]),
        ("127.0.0.1:8080:80", [("tcp", "127.0.0.1", 8080, 8080, 80)]),
        ("127.0.0.1::80", [("tcp", "127.0.0.1", 0, 0, 80)]),
        ("0.0.0.0:8080:80", [("tcp", "0.0.0.0", 8080, 8080, 80)]),
        ("[::1]:8080:80", [("tcp", "::1", 8080, 8080, 80)]),
        ("::1:8080:80", [("tcp", "::1", 8080, 8080, 80)]),
        ("[fd00:0:0::1]::80/udp", [("udp", "fd00::1", 0, 0, 80)]),
        ("8000-8001:80-81", [("tcp", "", 8000, 8000, 80), ("tcp", "", 8001, 8001, 81)]),
        ("80-81", [("tcp", "", 0, 0, 80), ("tcp", "", 0, 0, 81)]),
        ("8000-8010:80", [("tcp", "", 8000, 8010, 80)]),
        ("target=80,published=8080", [("tcp", "", 8080, 8080, 80)]),
        ("published=53,target=5353,protocol=udp,mode=host", [("udp", "", 53, 53, 5353)]),
        ("65535:65535", [("tcp", "", 65535, 65535, 65535)]),
    ],
)
def test_publications(text: str, expected: list[tuple[str, str, int, int, int]]) -> None:
    assert [one.key() for one in network_flags.publication(text)] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no port specified: <empty>"),
        ("8080:", "no port specified: 8080:<empty>"),
        ("/udp", "no port specified: /udp<empty>"),
        ("abc", "invalid containerPort: abc"),
        ("8080:abc", "invalid containerPort: abc"),
        ("8080:0", "invalid containerPort: 0"),
        ("8080:65536", "invalid containerPort: 65536"),
        ("8080:-1", "invalid containerPort: -1"),
        ("8080:81-80", "invalid containerPort: 81-80"),
        ("8080:80-", "invalid containerPort: 80-"),
        ("8080:8 0", "invalid containerPort: 8 0"),
        ("8080:٨٠", "invalid containerPort: "),
        ("abc:80", "invalid hostPort: abc"),
        ("65536:80", "invalid hostPort: 65536"),
        ("70000-70001:80", "invalid hostPort: 70000-70001"),
        ("9-8:80", "invalid hostPort: 9-8"),
        ("8080:80/icmp", "invalid proto: icmp"),
        ("8080:80/sctp", "invalid proto: sctp"),
        ("localhost:8080:80", "invalid IP address: localhost"),
        ("1.2.3:8080:80", "invalid IP address: 1.2.3"),
        ("256.0.0.1:8080:80", "invalid IP address: 256.0.0.1"),
        ("[::g]:8080:80", "invalid IP address: ::g"),
        ("1:2:3:4", "invalid IP address: 1:2"),
        ("8000-8002:80-81", "invalid ranges specified for container and host Ports: 80-81 and 8000-8002"),
        ("8000:80-81", "invalid ranges specified for container and host Ports: 80-81 and 8000"),
        ("target=80,nope=1", "invalid publish opts: unknown field 'nope'"),
        ("target=80,published", "invalid publish opts format (should be name=value but got 'published')"),
        ("published=80", "no port specified"),
    ],
)
def test_bad_publications(text: str, message: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        network_flags.publication(text)
    assert caught.value.message.startswith(message)
    assert caught.value.remedy and caught.value.message.isprintable()


def test_publish_all() -> None:
    """-P publishes what -p leaves out, each on a port of its own; the same -p twice counts once."""
    found = network_flags.ports(["8080:80", "8080:80"], True, ["80/tcp", "80/udp", "443/tcp", "9/sctp"])
    assert [(one.protocol, one.host_port, one.container_port) for one in found] == [
        ("tcp", 8080, 80), ("udp", 0, 80), ("tcp", 0, 443),
    ]  # fmt: skip
    assert len(network_flags.ports(["8080:80"], False, ["80/tcp", "443/tcp"])) == 1


def test_exposed_ports() -> None:
    image: dict[str, object] = {"ExposedPorts": {"443/tcp": {}, "53/udp": {}, "x": {}, "0/tcp": {}, "9": {}}}
    assert network_flags.exposed(["80", "7000-7001/udp"], image) == [
        "9/tcp", "53/udp", "80/tcp", "443/tcp", "7000/udp", "7001/udp",
    ]  # fmt: skip
    for bad, message in (
        ("80:80", "invalid port format for --expose: 80:80"),
        ("x", "invalid range format for --expose: x"),
        ("0", "invalid range format for --expose: 0"),
        ("80/x", "invalid proto: x"),
    ):
        with pytest.raises(InvalidValue, match=message):
            network_flags.exposed([bad], {})


def test_networks() -> None:
    options = RunOptions(network=["back", "name=front,alias=web,alias=www,ip=172.30.0.5,ip6=fd00:0::5"], ip="10.0.0.7")
    options.mac_address, options.network_alias = "02-00-00-00-00-0A", ["api"]
    back, front = network_flags.wanted(options)
    assert (back.network, back.address4, back.mac, back.aliases) == ("back", "10.0.0.7", "02:00:00:00:00:0a", ["api"])
    assert (front.network, front.address4, front.address6) == ("front", "172.30.0.5", "fd00::5")
    assert (front.aliases, front.mac) == (["web", "www"], "")
    assert network_flags.mode(options) == ("bridge", "")


def test_modes() -> None:
    for word, mode in (("none", ("none", "")), ("host", ("host", "")), ("container:web", ("container", "web"))):
        options = RunOptions(network=[word])
        assert network_flags.mode(options) == mode
        assert network_flags.wanted(options) == []
    assert network_flags.wanted(RunOptions(network=["default"]))[0].network == "bridge"
    assert network_flags.mode(RunOptions()) == ("none", "")


def test_stored_word_of_before() -> None:
    """Containers whose options hold one word for their network, or none, keep what they had."""
    assert network_flags.mode(RunOptions(network="host")) == ("host", "")
    assert network_flags.mode(RunOptions(network="")) == ("none", "")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"network": [""]}, "no name set for network"),
        ({"network": ["alias=x"]}, "network name/id is not specified"),
        ({"network": ["name=a,b"]}, "invalid field b"),
        ({"network": ["name=a,color=red"]}, "invalid field key color"),
        ({"network": ["name=a,driver-opt=x=y"]}, "driver-opt is not supported yet"),
        ({"network": ["a/b"]}, "network a/b not found"),
        ({"network": ["a\nb"]}, r"network a\nb not found"),
        ({"network": ["a", "name=a,alias=x"]}, 'network "a" is specified multiple times'),
        ({"network": ["a", "none"]}, "cannot attach both user-defined and non-user-defined network-modes"),
        ({"network": ["container:"]}, "--network: invalid NETWORK mode: container:"),
        ({"network": ["name=a,ip=1.2"]}, "invalid IPv4 address: 1.2"),
        ({"network": ["a"], "ip": "fd00::1"}, "invalid IPv4 address: fd00::1"),
        ({"network": ["a"], "ip": "0.0.0.0"}, "invalid IPv4 address: 0.0.0.0"),
        ({"network": ["a"], "ip6": "10.0.0.1"}, "invalid IPv6 address: 10.0.0.1"),
        ({"network": ["name=a,ip=10.0.0.1"], "ip": "10.0.0.2"}, "both --ip and per-network IPv4 address"),
        ({"network": ["name=a,alias=b"], "network_alias": ["c"]}, "both --network-alias and per-network alias"),
        ({"network": ["a"], "mac_address": "02:00"}, "02:00 is not a valid mac address"),
        ({"network": ["a"], "mac_address": "01:00:00:00:00:01"}, "is not a valid mac address"),
        ({"network": ["a"], "mac_address": "00:00:00:00:00:00"}, "is not a valid mac address"),
        ({"network": ["a"], "network_alias": ["b c"]}, "invalid network alias: b c"),
        ({"network": ["none"], "network_alias": ["b"]}, "network-scoped aliases are only supported for user-defined"),
        ({"network": ["bridge"], "network_alias": ["b"]}, "network-scoped aliases are only supported for user-defined"),
        ({"network": ["a", "name=default,alias=b"]}, "network-scoped aliases are only supported for user-defined"),
        ({"network": ["host"], "ip": "10.0.0.1"}, "user specified IP address is supported on user defined networks"),
        ({"network": ["host"], "mac_address": "02:00:00:00:00:01"}, "mac-address and the network mode"),
        ({"network": ["container:x"], "publish": ["80"]}, "port publishing and the container type network mode"),
        ({"network": ["container:x"], "publish_all": True}, "port publishing and the container type network mode"),
        ({"network": ["container:x"], "expose": ["80"]}, "port exposing and the container type network mode"),
        ({"network": ["container:x"], "hostname": "y"}, "hostname and the network mode"),
        ({"network": ["container:x"], "dns": ["1.1.1.1"]}, "dns and the network mode"),
        ({"network": ["container:x"], "add_host": ["a:1.1.1.1"]}, "custom host-to-IP mapping and the network mode"),
        ({"publish": ["nope"]}, "invalid containerPort: nope"),
        ({"expose": ["nope"]}, "invalid range format for --expose: nope"),
        ({"dns": ["one"]}, 'invalid argument "one" for "--dns" flag: IP address is not correctly formatted: one'),
        ({"dns_search": ["a b"]}, 'invalid argument "a b" for "--dns-search" flag: a b is not a valid domain'),
        ({"dns_option": ["a\nnameserver x"]}, 'for "--dns-option" flag'),
    ],
)
def test_bad_options(given: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        settle(RunOptions(**given), {})
    assert message in caught.value.message


def test_network_of_the_environment() -> None:
    for given, environment, expected in (
        ([], {}, ["bridge"]),
        ([], {"MINIRT_NETWORK": "none"}, ["none"]),
        ([], {"MINIRT_NETWORK": ""}, ["bridge"]),
        (["host"], {"MINIRT_NETWORK": "none"}, ["host"]),
    ):
        options = RunOptions(network=given)
        settle(options, environment)
        assert options.network == expected


def test_macs() -> None:
    for text in ("02:42:AC:11:00:02", "02-42-ac-11-00-02", "0242.ac11.0002"):
        assert network_flags.mac(text) == "02:42:ac:11:00:02"


def test_written_is_read_again() -> None:
    """`network connect` writes down what it was asked for, in the words of --network."""
    for text in ("back", "name=back,alias=a,alias=b,ip=10.0.0.2,ip6=fd00::2,mac-address=02:00:00:00:00:01"):
        (one,) = network_flags.wanted(RunOptions(network=[text]))
        assert network_flags.written(one) == text


def test_names() -> None:
    assert network_flags.names(RunOptions(network=["name=a,alias=b", "c"])) == ["a", "c"]
    assert network_flags.names(RunOptions(network=["host"])) == ["host"]
    assert network_flags.names(RunOptions(network=["container:x"])) == ["container"]
