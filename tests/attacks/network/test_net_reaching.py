# SPDX-License-Identifier: Apache-2.0
"""NET-01, NET-02, NET-04, NET-10: who reaches what he must not: a loopback port from the wire, a container by its own
address, another network's container, the host's loopback from a container.

Each with a control: the same packet gets through where a rule is missing or a plain DNAT rule stands in its place.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import exchange
import firewalls
import frames
import world as worlds
from boxes import Box, bridge_of, gateway_of
from runner import Minirt
from world import HOST, HOST6, HOST_MAC, NEIGHBOUR, Place, World

SUBNET = "172.17.0.0/16"  # of the default network, where no route of the host is in its way
NEIGHBOUR_MAC = "02:00:00:00:00:99"

LOOPBACKS = ["127.0.0.1", "::1"]


def arrives(frame: bytes, sender: Place, box: Box) -> bool:
    """A frame with MARK in it, sent to the host over the wire, gets into the container."""
    with box:
        listening = frames.Listener("eth0")
    with listening, sender:
        frames.throw("eth0", frame)
        return listening.marked()


def loopback_by_the_host(world: World) -> None:
    """The neighbour takes 127.0.0.1 for an address behind the host."""
    with world.neighbour:
        for name in ("all", "eth0"):
            worlds.sysctl(f"net.ipv4.conf.{name}.route_localnet", "1")
        worlds.ip(
            "route del local 127.0.0.1 dev lo table local",
            "route del local 127.0.0.0/8 dev lo table local",
            f"route add 127.0.0.1/32 via {HOST}",
        )


def test_net_01_a_loopback_port_from_the_wire(world: World, start: Callable[..., Box]) -> None:
    """NET-01 (moby 41872, 45610): the neighbour routes 127.0.0.1 by the host and connects to a port that is published
    there; TCP and UDP. The host itself connects."""
    box = start("web", "-p", "127.0.0.1:8080:80", "-p", "127.0.0.1:8080:80/udp")
    loopback_by_the_host(world)
    with world.neighbour:
        assert exchange.silent(("127.0.0.1", HOST), 8080, source=NEIGHBOUR)
    for protocol in ("tcp", "udp"):
        assert exchange.ask("127.0.0.1", 8080, protocol).name == "web"
    datagram = frames.udp4(NEIGHBOUR_MAC, HOST_MAC, NEIGHBOUR, "127.0.0.1", (4000, 8080))
    assert not arrives(datagram, world.neighbour, box)
    firewalls.nft(
        "table ip plain { chain rewrite { type nat hook prerouting priority dstnat;"
        f" ip daddr 127.0.0.1 udp dport 8080 dnat to {box.address4}:80; }}; }}"
    )
    assert arrives(datagram, world.neighbour, box), "the control: with a plain DNAT rule"


def test_net_01_loopback_ports_hear_lo_alone(start: Callable[..., Box]) -> None:
    """NET-01: with route_localnet=1, as Kubernetes' nodes have it, the kernel delivers what comes from the wire for
    127.0.0.1 to whoever listens there, unless he is bound to lo (SO_BINDTOIFINDEX). The control: a port of all
    addresses."""
    start("web", "-p", "127.0.0.1:8080:80", "-p", "[::1]:8080:80", "-p", "127.0.0.1:8080:80/udp", "-p", "8081:80")
    listed = subprocess.run(["ss", "-Htuln"], capture_output=True, text=True, check=True).stdout.split()
    assert {word for word in listed if word.endswith(":8080")} == {"127.0.0.1%lo:8080", "[::1]%lo:8080"}
    assert listed.count("127.0.0.1%lo:8080") == 2, "tcp and udp"
    assert "0.0.0.0:8081" in listed


def test_net_01_the_same_with_ipv6(world: World, start: Callable[..., Box]) -> None:
    """NET-01: published on ::1. A frame to ::1 from the wire is nobody's, and other addresses have no port."""
    start("web", "-p", "[::1]:8080:80", "-p", "8081:80")
    with world.neighbour:
        assert exchange.silent((HOST, HOST6), 8080)
        worlds.ip("route del local ::1 dev lo table local", f"route add ::1/128 via {HOST6}")
        assert exchange.silent("::1", (8080, 8081), source=world.neighbour.address6)
        assert exchange.ask(HOST6, 8081).name == "web", "the control: published everywhere"
    assert exchange.ask("::1", 8080).name == "web"


@pytest.mark.parametrize("who", ["neighbour", "outside"])
def test_net_02_a_container_by_its_own_address(world: World, start: Callable[..., Box], who: str) -> None:
    """NET-02: a route to the containers' subnet by the host, made by the neighbour, or by the router for somebody
    outside: neither an unpublished nor a published port answers there, by TCP or UDP. The published one does at the
    host's address."""
    box = start("web", "-p", "8080:80", ports=(80, 81))
    box.mine.ok("run", "-d", "--name", "other", "--rootfs", box.mine.rootfs, "sleep", "1000")
    place, via = (world.neighbour, world.neighbour) if who == "neighbour" else (world.outside, world.router)
    via.route(SUBNET, HOST)
    with place:
        assert exchange.silent(box.address4, (80, 81))
        assert exchange.ask(HOST, 8080) == ("web", place.address4, b"")
    firewalls.open_gate("inet", "forward")
    with place:
        assert exchange.ask(box.address4, 81).name == "web", "the control: without our forward chain"


def test_net_02_the_same_with_ipv6(networked: Minirt, world: World, start: Callable[..., Box]) -> None:
    """NET-02: containers on a network with IPv6 have global addresses that the neighbour can route to."""
    networked.ok("network", "create", "--ipv6", "--subnet", "2001:db8:77::/64", "six")
    box = start("web", "--network", "six", "-p", "8080:80", ports=(80, 81))
    world.neighbour.route("2001:db8:77::/64", HOST6)
    with world.neighbour:
        assert exchange.silent(box.address6, (80, 81))
        assert exchange.ask(HOST6, 8080).name == "web"
    firewalls.open_gate("inet", "forward")
    with world.neighbour:
        assert exchange.ask(box.address6, 81).name == "web", "the control: without our forward chain"


def test_net_02_in_a_containers_name(world: World, start: Callable[..., Box]) -> None:
    """NET-02: a datagram from the wire whose source is a container's address does not reach another container."""
    box, peer = start("web", "-p", "8080:80/udp"), start("peer")
    forged = frames.udp4(NEIGHBOUR_MAC, HOST_MAC, peer.address4, box.address4, (4000, 80))
    published = frames.udp4(NEIGHBOUR_MAC, HOST_MAC, peer.address4, HOST, (4001, 8080))
    assert not arrives(forged, world.neighbour, box)
    assert not arrives(published, world.neighbour, box), "nor by a published port"
    honest = frames.udp4(NEIGHBOUR_MAC, HOST_MAC, NEIGHBOUR, HOST, (4002, 8080))
    assert arrives(honest, world.neighbour, box), "the control: in one's own name"
    firewalls.open_gate("inet", "forward")
    assert arrives(forged, world.neighbour, box), "the control: without our forward chain"


@pytest.mark.parametrize("networks", [("bridge", "a"), ("a", "bridge"), ("a", "b")])
def test_net_04_networks_are_apart(
    networked: Minirt, world: World, start: Callable[..., Box], networks: tuple[str, str]
) -> None:
    """NET-04: a container of one network does not reach one of another by its address, whether the port is published
    or not; by the host's address it reaches what is published, as anybody does. Within one network all is open."""
    for name in {*networks} - {"bridge"}:
        networked.ok("network", "create", name)
    server = start("server", "--network", networks[0], "-p", "8080:80", ports=(80, 81))
    client, friend = start("client", "--network", networks[1]), start("friend", "--network", networks[0])
    with client:
        assert exchange.silent((server.address4, server.gateway), (80, 81))
        assert exchange.ask(HOST, 8080).name == "server"
    with friend:
        assert exchange.ask(server.address4, 81) == ("server", friend.address4, b"")
    firewalls.open_gate("inet", "forward")
    with client:
        assert exchange.ask(server.address4, 81).name == "server", "the control: without our forward chain"


def test_net_04_internal_networks(networked: Minirt, world: World, start: Callable[..., Box]) -> None:
    """NET-04, --internal: no way out and no way in, not even by a default route of the container's own making; its own
    containers reach one another."""
    networked.ok("network", "create", "--internal", "cell")
    prisoner = start("prisoner", "--network", "cell", "--cap-add", "NET_ADMIN")
    mate, free = start("mate", "--network", "cell"), start("free", "-p", "8080:80")
    with world.outside, exchange.answering("outside", 80), world.host:
        with prisoner:
            assert exchange.silent(world.outside.address4, 80)
        prisoner.route(f"default via {gateway_of(networked, 'cell', 'inet')}")
        with prisoner:
            assert exchange.silent((world.outside.address4, free.address4), 80)
            assert exchange.silent(HOST, 8080), "not by the host's published port either"
            assert exchange.ask(mate.address4, 80).name == "mate"
        with free:
            assert exchange.silent(prisoner.address4, 80)
            assert exchange.ask(world.outside.address4, 80).name == "outside", (
                "the control: a network that is not internal"
            )


def test_net_10_the_hosts_loopback(world: World, start: Callable[..., Box]) -> None:
    """NET-10: from a container nothing reaches what listens on the host's 127.0.0.1, its own or a published
    port: not by the gateway, nor by packets to 127.0.0.1 themselves. What listens on all addresses is reached by the
    gateway, as with Docker."""
    box = start("box", "--cap-add", "NET_RAW", "--cap-add", "NET_ADMIN")
    start("web", "-p", "127.0.0.1:8080:80", "-p", "127.0.0.1:8080:80/udp")
    bridge = bridge_of(box.mine, "bridge")
    gateway, bridge_mac = box.gateway, Path(f"/sys/class/net/{bridge}/address").read_text().strip()
    assert Path(f"/proc/sys/net/ipv4/conf/{bridge}/route_localnet").read_text() == "0\n"
    assert Path("/proc/sys/net/ipv4/conf/all/route_localnet").read_text() == "0\n"
    with exchange.answering("private", 4000, address="127.0.0.1"), exchange.answering("public", 5000), box:
        assert exchange.silent((gateway, HOST), (4000, 8080))
        for protocol in ("tcp", "udp"):
            for address in (gateway, HOST):
                assert exchange.ask(address, 5000, protocol) == ("public", box.address4, b"")
        for name in ("all", "eth0"):
            worlds.sysctl(f"net.ipv4.conf.{name}.route_localnet", "1")
        worlds.ip(
            "route del local 127.0.0.1 dev lo table local",
            "route del local 127.0.0.0/8 dev lo table local",
            f"route add 127.0.0.1/32 via {gateway}",
        )
        assert exchange.silent("127.0.0.1", (4000, 8080), source=box.address4)
    knock = frames.udp4(box.mac, bridge_mac, box.address4, "127.0.0.1", (4000, 4000))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as private:
        private.bind(("127.0.0.1", 4000))
        private.settimeout(exchange.SILENCE_S)
        for name, value in (("all", "0"), (bridge, "1")):  # even where somebody has opened the host's own door
            worlds.sysctl(f"net.ipv4.conf.{name}.route_localnet", value)
            with box:
                frames.throw("eth0", knock)
            with pytest.raises(TimeoutError):
                private.recv(1000)
        firewalls.open_gate("inet", "arrival")
        with box:
            frames.throw("eth0", knock)
        assert private.recv(1000) == frames.MARK, "the control: route_localnet, and nobody who minds"
