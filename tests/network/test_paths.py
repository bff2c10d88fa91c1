# SPDX-License-Identifier: Apache-2.0
"""Who reaches whom through our two tables: real packets between containers, host, and the world round it (NET-02, 04,
10). Every refusal has its control: with our tables gone the same packet gets through."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import exchange
import firewalls
import namespaces
import room as rooms
import world as worlds
from minirt.model.network import Port
from world import HOST, HOST6, OUTSIDE, OUTSIDE6, World

WEB, SAME = 8080, 80


class Stage:
    """Two networks that lead out, an internal one, containers on each; a server listens in `web` on port 80."""

    def __init__(self, room: rooms.Room, world: World) -> None:
        self.room, self.world = room, world
        self.one, self.two = room.add(rooms.network(1, six=True)), room.add(rooms.network(2, six=True))
        self.inner = room.add(rooms.network(3, internal=True))
        self.web, self.peer = room.container(self.one), room.container(self.one)
        self.other, self.hidden = room.container(self.two), room.container(self.inner)
        room.publish(
            Port("tcp", "", WEB, SAME, self.web.address4, self.web.address6),
            Port("udp", "", WEB, SAME, self.web.address4, self.web.address6),
            Port("tcp", HOST, 81, SAME, self.web.address4),
            Port("tcp", HOST6, 81, SAME, "", self.web.address6),
        )


@pytest.fixture
def stage(here: namespaces.Namespace) -> Iterator[Stage]:
    with contextlib.ExitStack() as stack:
        world = stack.enter_context(worlds.around(here))
        made = Stage(stack.enter_context(rooms.make()), world)
        stack.enter_context(serving(made.web, "web", SAME, 53))
        yield made


@contextlib.contextmanager
def serving(place: worlds.Place | rooms.Container, name: str, *ports: int) -> Iterator[None]:
    """A server there, while the test goes on where it is."""
    with contextlib.ExitStack() as stack:
        with place:
            stack.enter_context(exchange.answering(name, *ports))
        yield


def open_gate(family: str, chain: str) -> None:
    firewalls.nft(f"flush chain {family} {rooms.TABLE} {chain}")


def without_our_rules() -> None:
    for family in ("inet", "bridge"):
        firewalls.nft(f"delete table {family} {rooms.TABLE}")


@pytest.mark.parametrize("bridged", ["0", "1"])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_published_ports(stage: Stage, protocol: str, bridged: str) -> None:
    """From outside, from a neighbour, from the host by its address, from another network, from the same network; the
    container itself goes by the proxy. Whether or not bridged frames come by our rules as well (br_netfilter)."""
    for name in ("iptables", "ip6tables"):
        Path(f"/proc/sys/net/bridge/bridge-nf-call-{name}").write_text(bridged)
    world = stage.world
    with exchange.answering("proxy", WEB):
        for address in (HOST, HOST6):
            for place in (world.outside, world.neighbour, world.host, stage.other, stage.peer):
                with place:
                    assert exchange.ask(address, WEB, protocol, b"?").name == "web", (address, place)
            with stage.web:
                assert exchange.ask(address, WEB, protocol, b"?").name == "proxy"


def test_a_port_of_one_address(stage: Stage) -> None:
    with stage.world.outside:
        assert exchange.ask(HOST, 81).name == "web"
        assert exchange.ask(HOST6, 81).name == "web"
    worlds.ip(f"address add 192.0.2.3/24 dev {worlds.UPLINK}")
    with stage.world.neighbour:
        assert exchange.silent("192.0.2.3", 81)
        assert exchange.ask("192.0.2.3", WEB).name == "web"


def test_who_is_seen(stage: Stage) -> None:
    """From outside: the client itself. From inside the host: the bridge. On the way out: the host."""
    world = stage.world
    with world.outside:
        assert exchange.ask(HOST, WEB).peer == OUTSIDE
        assert exchange.ask(HOST6, WEB).peer == OUTSIDE6
    with stage.peer:
        assert exchange.ask(HOST, WEB).peer == stage.one.gateway4
        assert exchange.ask(HOST6, WEB).peer == stage.one.gateway6
    with serving(world.outside, "outside", 80):
        with stage.web:
            assert exchange.ask(OUTSIDE, 80).peer == HOST
            assert exchange.ask(OUTSIDE6, 80).peer == HOST6
        with stage.other:
            assert exchange.ask(OUTSIDE, 80, "udp", b"?").peer == HOST


def test_no_way_in_by_routing(stage: Stage) -> None:
    """NET-02: a neighbour that routes the container's subnet over the host, to published ports and others."""
    world, web = stage.world, stage.web
    world.neighbour.route(stage.one.subnet4, HOST)
    world.neighbour.route(stage.one.subnet6, HOST6)
    with world.neighbour:
        assert exchange.silent((web.address4, web.address6), (SAME, 53))
    without_our_rules()
    with world.neighbour:
        assert exchange.ask(web.address4, SAME).name == "web"
        assert exchange.ask(web.address6, SAME).name == "web"


def test_networks_are_apart(stage: Stage) -> None:
    """NET-04: neither the other network's containers nor its gateway, where its names are served."""
    web, other = stage.web, stage.other
    with exchange.answering("host", 5300):
        with other:
            assert exchange.silent((web.address4, web.address6), SAME)
            assert exchange.silent((stage.one.gateway4, stage.one.gateway6, stage.inner.gateway4), 5300)
            assert exchange.ask(stage.two.gateway4, 5300).name == "host"
            assert exchange.ask(stage.two.gateway6, 5300, "udp", b"?").name == "host"
            assert exchange.ask(HOST, 5300).name == "host"
        without_our_rules()
        with other:
            assert exchange.ask(web.address4, SAME).name == "web"
            assert exchange.ask(stage.one.gateway4, 5300).name == "host"


def test_the_resolver_stays_the_networks_own(stage: Stage) -> None:
    """A published port 53 of every address is not what a container finds at its own gateway; elsewhere it is."""
    stage.room.publish(*(Port(kind, "", 53, 53, stage.web.address4, stage.web.address6) for kind in ("tcp", "udp")))
    with exchange.answering("resolver", 53):
        for protocol in ("tcp", "udp"):
            with stage.other:
                assert exchange.ask(stage.two.gateway4, 53, protocol, b"?").name == "resolver"
                assert exchange.ask(stage.two.gateway6, 53, protocol, b"?").name == "resolver"
                assert exchange.ask(HOST, 53, protocol, b"?").name == "web"
            with stage.world.outside:
                assert exchange.ask(HOST, 53, protocol, b"?").name == "web"


def test_a_gateway_is_nothing_to_the_wire(stage: Stage) -> None:
    """What listens on a bridge's address, a resolver above all, is not there for neighbours who route to it."""
    world = stage.world
    world.neighbour.route(stage.one.subnet4, HOST)
    world.neighbour.route(stage.inner.subnet4, HOST)
    world.neighbour.route(stage.one.subnet6, HOST6)
    places = stage.one.gateway4, stage.one.gateway6, stage.inner.gateway4
    with exchange.answering("host", 5300):
        for address in places:
            assert exchange.ask(address, 5300).name == "host", "the host itself"
        with world.neighbour:
            assert exchange.silent(places, 5300)
        without_our_rules()
        with world.neighbour:
            assert exchange.ask(stage.one.gateway4, 5300).name == "host"


def test_an_internal_network_has_no_way_out(stage: Stage) -> None:
    world, hidden = stage.world, stage.hidden
    second = stage.room.container(stage.inner)
    with serving(world.outside, "outside", 80):
        with hidden:
            worlds.ip(f"route add default via {stage.inner.gateway4}")  # what root inside may well do
            assert exchange.silent((OUTSIDE, stage.web.address4), 80)
            assert exchange.silent(HOST, WEB), "another container's published port is a way out too"
        with serving(second, "second", 80), hidden:
            assert exchange.ask(second.address4, 80).name == "second"
        without_our_rules()
        firewalls.nft("table ip control { chain out { type nat hook postrouting priority srcnat; masquerade; }; }")
        with hidden:
            assert exchange.ask(OUTSIDE, 80).name == "outside"


def test_the_hosts_loopback_is_the_hosts(stage: Stage) -> None:
    """NET-10: also where somebody has set route_localnet."""
    Path(f"/proc/sys/net/ipv4/conf/{stage.one.interface}/route_localnet").write_text("1")
    with exchange.answering("host", 5300, address="127.0.0.1"):
        with stage.web:
            Path("/proc/sys/net/ipv4/conf/eth0/route_localnet").write_text("1")
            worlds.ip(
                f"route add 127.0.0.1 via {stage.one.gateway4} table 100",
                "rule add pref 1 lookup local",
                "rule del pref 0 lookup local",
                "rule add pref 0 to 127.0.0.1 lookup 100",
            )
            source = stage.web.address4
            assert exchange.silent("127.0.0.1", (5300, WEB), source=source)
        open_gate("inet", "arrival")
        with stage.web:
            assert exchange.ask("127.0.0.1", 5300, source=(source, 0)).name == "host"


def test_nobody_outside_is_a_peer(stage: Stage) -> None:
    """A sender on the wire with a container's address as source, to a published port."""
    world, spoofed = stage.world, stage.one.subnet4[:-4] + "200"
    for interface in ("all", worlds.UPLINK):
        worlds.sysctl(f"net.ipv4.conf.{interface}.rp_filter", "0")
    with world.neighbour:
        worlds.ip(f"address add {spoofed}/32 dev eth0")
    with stage.web:
        before = seen()
        with world.neighbour:
            assert exchange.silent(HOST, WEB, "udp", source=spoofed)
        assert seen() == before
    open_gate("inet", "forward")
    with stage.web:
        with world.neighbour:
            exchange.silent(HOST, WEB, "udp", source=spoofed)
        assert seen() == before + 1


def seen() -> int:
    """Datagrams that a socket of the current namespace has got (proc(5), net/snmp)."""
    rows = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Udp:")]
    return int(rows[1][rows[0].index("InDatagrams")])
