# SPDX-License-Identifier: Apache-2.0
"""Who reaches whom by address and by name: containers on one network and on several, the outside, the host, with the
flags that say how (--network, --ip, --mac-address, --network-alias, container:, macvlan, connect and disconnect).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

import dns
import exchange
import traces
import world as worlds
from boxes import Box, bridge_of, gateway_of
from runner import Minirt
from world import HOST, HOST6, NEIGHBOUR, OUTSIDE, OUTSIDE6, World


def hears(box: Box, address: str, port: int = 80, protocol: str = "tcp") -> exchange.Answer:
    with box:
        return exchange.ask(address, port, protocol)


def test_default_network(world: World, start: Callable[..., Box]) -> None:
    """Two containers, one host, one outside: by IPv4 all ways, by IPv6 between containers."""
    one, two = start("one"), start("two")
    for protocol in ("tcp", "udp"):
        assert hears(one, two.address4, protocol=protocol) == ("two", one.address4, b"")
        assert hears(one, two.address6, protocol=protocol) == ("two", one.address6, b"")
    with world.outside, exchange.answering("outside", 80), world.host, exchange.answering("host", 4000):
        assert hears(one, OUTSIDE) == ("outside", HOST, b"")
        assert hears(one, one.gateway, 4000) == ("host", one.address4, b"")
        assert hears(one, HOST, 4000) == ("host", one.address4, b"")
    assert exchange.ask(one.address4, 80).name == "one", "the host reaches a container"
    assert exchange.ask(one.address6, 80).name == "one"


PING = """
import socket, struct, sys
mine = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
mine.settimeout(5)
mine.sendto(struct.pack("!BBHHH", 8, 0, 0, 0, 1) + b"x" * int(sys.argv[2]), (sys.argv[1], 0))
print(len(mine.recv(1 << 16)) - 8)
"""


def test_ping(networked: Minirt, world: World, start: Callable[..., Box]) -> None:
    """By somebody without any capability (icmp(7), ping_group_range): the gateway, and the outside, with packets
    that do not fit one frame."""
    box = start("box", "--user", "65534", "--cap-drop", "ALL", command=("sleep", "1000"))
    for address, size in ((box.gateway, "56"), (OUTSIDE, "56"), (OUTSIDE, "8000")):
        assert networked.ok("exec", "box", exchange.PYTHON, "-ISc", PING, address, size) == size


def test_user_network_with_ipv6(networked: Minirt, world: World, start: Callable[..., Box]) -> None:
    """--ipv6: an address of each family, a way out in each (seen as the host's), names in each."""
    networked.ok("network", "create", "--ipv6", "both")
    one, two = start("one", "--network", "both"), start("two", "--network", "both", "--network-alias", "zwei")
    assert hears(one, two.address6) == ("two", one.address6, b"")
    with world.outside, exchange.answering("outside", 80):
        for protocol in ("tcp", "udp"):
            assert hears(one, OUTSIDE, protocol=protocol) == ("outside", HOST, b"")
            assert hears(one, OUTSIDE6, protocol=protocol) == ("outside", HOST6, b"")
    gateway = gateway_of(networked, "both", "inet")
    with one:
        for name in ("two", "zwei"):
            assert dns.ask(name, server=gateway).answers == [two.address4]
            assert dns.ask(name, "AAAA", server=gateway).answers == [two.address6]


def test_names_with_what_is_inside(networked: Minirt, start: Callable[..., Box]) -> None:
    """By name and alias, from a shell in a container, on a user network; the default one has no resolver."""
    networked.ok("network", "create", "net")
    start("web", "--network", "net", "--network-alias", "www")
    start("plain")
    run = "run", "--rm", "--rootfs", networked.rootfs
    greet = 'nc "$0" 80 </dev/null'
    for name in ("web", "www"):
        told = networked.ok(*run[:2], "--network", "net", *run[2:], "sh", "-c", greet, name)
        assert told.startswith("web "), name
    assert len(traces.processes("dnsmasq")) == 1


def test_several_networks(networked: Minirt, world: World, start: Callable[..., Box]) -> None:
    """A container on two networks reaches what is on either and is no way between them."""
    for name in ("left", "right"):
        networked.ok("network", "create", name)
    left, right = start("left", "--network", "left"), start("right", "--network", "right")
    both = start("both", "--network", "left", "--network", "right")
    assert {"eth0", "eth1"} <= set(both.interfaces())
    assert hears(both, left.address4).name == "left"
    assert hears(both, right.address4).name == "right"
    assert hears(left, both.address("eth0")).name == "both"
    assert hears(right, both.address("eth1")).name == "both"
    for name, other in (("left", left), ("right", right)):
        gateway = gateway_of(networked, name, "inet")
        with both:
            assert dns.ask(name, server=gateway).answers == [other.address4]
    with left:
        assert exchange.silent((right.address4, both.address("eth1")), 80)
    with world.outside, exchange.answering("outside", 80):
        assert hears(both, OUTSIDE).name == "outside"


def test_connect_and_disconnect(networked: Minirt, start: Callable[..., Box]) -> None:
    """A running container joins a second network and leaves it again; what it had stays."""
    networked.ok("network", "create", "net")
    box, peer, first = start("box"), start("peer", "--network", "net"), start("first")
    before, gateway = traces.count(networked), gateway_of(networked, "net", "inet")
    networked.ok("network", "connect", "--alias", "kiste", "net", "box")
    assert hears(box, peer.address4).name == "peer"
    with peer:
        assert exchange.ask(box.address("eth1"), 80).name == "box"
        assert dns.ask("kiste", server=gateway).answers == [box.address("eth1")]
    networked.ok("network", "disconnect", "net", "box")
    with box:
        assert exchange.silent(peer.address4, 80)
    assert hears(box, first.address4).name == "first"
    assert traces.count(networked) == before


def test_chosen_addresses(networked: Minirt, start: Callable[..., Box]) -> None:
    """--ip, --ip6 and --mac-address are what the kernel has; a second container with the same is refused."""
    networked.ok("network", "create", "--ipv6", "--subnet", "10.9.8.0/24", "--subnet", "fd00:98::/64", "net")
    chosen = "--ip", "10.9.8.77", "--ip6", "fd00:98::77", "--mac-address", "02:11:22:33:44:55"
    box, peer = start("box", "--network", "net", *chosen), start("peer", "--network", "net")
    assert (box.address4, box.address6, box.mac) == ("10.9.8.77", "fd00:98::77", "02:11:22:33:44:55")
    assert hears(peer, "10.9.8.77").name == hears(peer, "fd00:98::77").name == "box"
    for flag in range(0, 6, 2):
        words = "--network", "net", *chosen[flag : flag + 2], "--rootfs", str(networked.rootfs), "true"
        networked.fails("run", "--rm", *words, code=125, says=chosen[flag + 1])


def test_mtu(networked: Minirt, world: World, start: Callable[..., Box]) -> None:
    """--opt mtu is the bridge's and the container's; streams and datagrams larger than it arrive."""
    networked.ok("network", "create", "--opt", "com.docker.network.driver.mtu=1300", "small")
    box = start("box", "--network", "small", "-p", "8080:80", "-p", "8080:80/udp")
    assert box.interfaces()["eth0"]["mtu"] == 1300
    bridge = bridge_of(networked, "small")
    assert [link["mtu"] for link in traces.links() if link["ifname"] == bridge] == [1300]
    data = b"x" * 20_000
    with world.outside:
        assert exchange.ask(HOST, 8080, data=data).data == data
        assert exchange.ask(HOST, 8080, "udp", data).data == data


def test_none_host_and_others(networked: Minirt, world: World, start: Callable[..., Box]) -> None:
    """--network none: lo only. host: the host's own. container:X: X's, with its published ports and its addresses."""
    alone = start("alone", "--network", "none")
    assert set(alone.interfaces()) == {"lo"}
    assert hears(alone, "127.0.0.1").name == "alone"
    start("asHost", "--network", "host", ports=(4000,))
    with world.outside:
        assert exchange.ask(HOST, 4000).name == "asHost"
    box = start("box", "-p", "8081:81")
    guest = start("guest", "--network", "container:box", ports=(81,))
    assert guest.namespace.name == box.namespace.name
    with world.outside:
        assert exchange.ask(HOST, 8081).name == "guest"


@pytest.mark.parametrize("family", ["inet", "inet6"])
def test_hostname_of_the_host(networked: Minirt, start: Callable[..., Box], family: str) -> None:
    """--add-host name:host-gateway leads to what listens on the host."""
    networked.ok("network", "create", "--ipv6", "both")
    start("box", "--network", "both", "--add-host", "host.internal:host-gateway", "--add-host", "other:10.1.2.3")
    told = networked.ok("exec", "box", "cat", "/etc/hosts").splitlines()
    gateway = gateway_of(networked, "both", family)
    lines = [line.split() for line in told if line.split()[1:2] == ["host.internal"]]
    assert lines
    if family == "inet":
        assert [gateway, "host.internal"] in lines
    assert "10.1.2.3\tother" in told


def test_macvlan(networked: Minirt, world: World, start: Callable[..., Box]) -> None:
    """A macvlan network on the uplink: the container is on the wire itself, with an address of the wire's."""
    subnet = "--subnet", "192.0.2.0/24", "--gateway", worlds.ROUTER, "--ip-range", "192.0.2.128/28"
    made = networked("network", "create", "--driver", "macvlan", "--opt", f"parent={worlds.UPLINK}", *subnet, "wire")
    assert made.code == 0, repr(made)
    box = start("box", "--network", "wire")
    assert box.address4.startswith("192.0.2.1")
    with world.neighbour:
        assert exchange.ask(box.address4, 80) == ("box", NEIGHBOUR, b"")
    with world.outside, exchange.answering("outside", 80):
        assert hears(box, OUTSIDE) == ("outside", box.address4, b"")


def test_networks_of_two_roots(networked: Minirt, world: World, start: Callable[..., Box]) -> None:
    """Two minirts with their own --root on one host: two tables, two subnets, both work, and one's end leaves the other
    as it was."""
    other = Minirt(networked.root.parent / "root2", networked.state.parent / "state2", networked.rootfs)
    del other.environment["MINIRT_NETWORK"]
    box = start("box", "-p", "8080:80")
    try:
        assert other.ok("run", "--rm", "-p", "8081:80", "--rootfs", networked.rootfs, "hostname", "-i")
        other.fails("run", "--rm", "-p", "8080:80", "--rootfs", networked.rootfs, "true", code=125, says="8080")
        tables = {thing["table"]["name"] for thing in traces.ruleset() if "table" in thing}
        assert len([name for name in tables if name.startswith("minirt")]) == 2
    finally:
        assert other.close() == []
    with world.outside:
        assert exchange.ask(HOST, 8080).name == "box"
    assert box.address4.startswith("172.17.")


def test_large_datagrams(world: World, start: Callable[..., Box]) -> None:
    """60 000 bytes in one datagram, in fragments: through a published port, from a container to the outside, between
    containers, and through the proxy."""
    data = b"d" * 60_000
    one, two = start("one", "-p", "8080:80/udp"), start("two")
    with world.outside:
        assert exchange.ask(HOST, 8080, "udp", data).data == data
    assert exchange.ask("127.0.0.1", 8080, "udp", data).data == data
    with world.outside, exchange.answering("outside", 80), one:
        assert exchange.ask(OUTSIDE, 80, "udp", data).data == data
    with two:
        assert exchange.ask(one.address4, 80, "udp", data).data == data


def test_errors_come_back(world: World, start: Callable[..., Box]) -> None:
    """A closed port of a container is refused at once, not lost in silence: by its published port from outside, by the
    host, by a peer; and a port of the outside from a container."""
    start("box", "-p", "8080:81")
    peer = start("peer")
    with world.outside, pytest.raises(ConnectionRefusedError):
        exchange.ask(HOST, 8080)
    with peer:
        for address in (peer.gateway, OUTSIDE):
            with pytest.raises(ConnectionRefusedError):
                exchange.ask(address, 9)
