# SPDX-License-Identifier: Apache-2.0
"""NET-05, NET-06, NET-07: what a container with CAP_NET_RAW sends that is not its own to say (packet(7)).

One container sends, a second and the host's bridge listen. Each frame must be held back by the guard of the sender's
port; an honest frame behind it comes through, and with the guard's rules taken out every one of them does.
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
from boxes import Box, bridge_of, gateway_of
from runner import Minirt
from world import World

FOREIGN4, FOREIGN6, FOREIGN_MAC = "203.0.113.9", "2001:db8:9::9", "02:66:66:66:66:66"


class Wire:
    """Two containers on one user network with both families: `attacker`, `peer`; and the bridge between them."""

    def __init__(self, attacker: Box, peer: Box, bridge: str, gateway6: str) -> None:
        self.attacker, self.peer, self.bridge = attacker, peer, bridge
        self.mac, self.address4, self.address6 = attacker.mac, attacker.address4, attacker.address6
        self.gateway4, self.gateway6 = attacker.gateway, gateway6
        self.bridge_mac = Path(f"/sys/class/net/{bridge}/address").read_text().strip()

    def honest(self) -> bytes:
        return frames.arp(self.mac, sender=(self.mac, self.address4), asked=self.address4)

    def strays(self, forged: dict[str, bytes]) -> set[str]:
        """The names of those that arrive at the peer or at the host's bridge."""
        with frames.Listener(self.bridge) as host:
            with self.peer:
                peer = frames.Listener("eth0")
            with peer, self.attacker:
                frames.throw("eth0", *forged.values(), self.honest())
                seen = host.until(self.honest()) + peer.until(self.honest())
        return {name for name, frame in forged.items() if any(frames.same(frame, one) for one in seen)}

    def test(self, forged: dict[str, bytes]) -> None:
        """None of them arrives; without the guard all do."""
        assert self.strays(forged) == set()
        firewalls.open_gate("bridge", "prerouting")
        assert self.strays(forged) == set(forged), "the control"


@pytest.fixture
def wire(networked: Minirt, start: Callable[..., Box]) -> Wire:
    networked.ok("network", "create", "--ipv6", "both")
    attacker = start("attacker", "--network", "both", "--cap-add", "NET_RAW", "--cap-add", "NET_ADMIN")
    peer = start("peer", "--network", "both")
    return Wire(attacker, peer, bridge_of(networked, "both"), gateway_of(networked, "both", "inet6"))


def test_net_05_arp_in_the_name_of_others(wire: Wire) -> None:
    """NET-05: replies and requests that claim the gateway's address, a peer's, or one's own at another MAC, also with a
    VLAN tag of number 0, which receivers take as none."""
    mac, own = wire.mac, wire.address4
    forged = {
        "the gateway is me": frames.arp(mac, sender=(mac, wire.gateway4), asked=wire.gateway4),
        "the gateway is me, to the peer": frames.arp(
            mac, sender=(mac, wire.gateway4), asked=wire.peer.address4, target=wire.peer.mac
        ),
        "the peer is me": frames.arp(mac, sender=(mac, wire.peer.address4), asked=wire.peer.address4),
        "I am somebody else's MAC": frames.arp(mac, sender=(FOREIGN_MAC, own), asked=own),
        "asked in the peer's name": frames.arp(mac, sender=(mac, wire.peer.address4), asked=wire.gateway4, reply=False),
        "a foreign network's address": frames.arp(mac, sender=(mac, FOREIGN4), asked=FOREIGN4),
    }
    forged["the gateway is me, tagged"] = frames.tagged(forged["the gateway is me"])
    forged["the peer is me, tagged"] = frames.tagged(forged["the peer is me"])
    wire.test(forged)


def test_net_05_addresses_and_macs_of_others(wire: Wire) -> None:
    """NET-05: IPv4 and IPv6 packets with a source that is not the sender's, and frames from another MAC."""
    mac, own, peer = wire.mac, wire.address4, wire.peer
    forged = {
        "the peer's address": frames.udp4(mac, wire.bridge_mac, peer.address4, wire.gateway4),
        "the gateway's address": frames.udp4(mac, peer.mac, wire.gateway4, peer.address4),
        "an address from elsewhere": frames.udp4(mac, wire.bridge_mac, FOREIGN4, wire.gateway4),
        "the host's loopback": frames.udp4(mac, wire.bridge_mac, "127.0.0.1", wire.gateway4),
        "another MAC": frames.udp4(FOREIGN_MAC, peer.mac, own, peer.address4),
        "the bridge's MAC": frames.udp4(wire.bridge_mac, peer.mac, own, peer.address4),
        "the peer's IPv6 address": frames.udp6(mac, wire.bridge_mac, peer.address6, wire.gateway6),
        "IPv6 from elsewhere": frames.udp6(mac, wire.bridge_mac, FOREIGN6, wire.gateway6),
        "IPv6 with another MAC": frames.udp6(FOREIGN_MAC, peer.mac, wire.address6, peer.address6),
        "the gateway's link-local": frames.udp6(mac, peer.mac, frames.link_local(wire.bridge_mac), peer.address6),
    }
    forged["from elsewhere, tagged"] = frames.tagged(forged["an address from elsewhere"])
    wire.test(forged)


def test_net_05_neighbours_of_ipv6(wire: Wire) -> None:
    """NET-05: neighbour advertisements for an address that is not the sender's, whatever their source."""
    mac, peer = wire.mac, wire.peer

    def said(sender: str, about: str, hidden: bool = False) -> bytes:
        message = frames.advertised_neighbour(about, mac)
        return frames.icmp6(mac, frames.ALL_NODES_MAC, sender, frames.ALL_NODES, message, hidden)

    gateway_local = frames.link_local(wire.bridge_mac)
    wire.test(
        {
            "the gateway is me": said(wire.address6, wire.gateway6),
            "the gateway's link-local is me": said(wire.address6, gateway_local),
            "the peer is me": said(wire.address6, peer.address6),
            "the peer is me, from my link-local": said(frames.link_local(mac), peer.address6),
            "in the gateway's own name": said(gateway_local, gateway_local),
            "behind options": said(wire.address6, wire.gateway6, hidden=True),
        }
    )


def test_net_06_routers_and_redirects(wire: Wire) -> None:
    """NET-06 (CVE-2020-13401): router advertisements, redirects and DHCPv6 answers, from one's own addresses and from
    others', plain and behind an extension header."""
    mac, local = wire.mac, frames.link_local(wire.mac)
    router, other = frames.advertised_router("2001:db8:666::"), frames.link_local(wire.bridge_mac)

    def said(sender: str, message: bytes, hidden: bool = False) -> bytes:
        return frames.icmp6(mac, frames.ALL_NODES_MAC, sender, frames.ALL_NODES, message, hidden)

    forged = {
        "a router": said(local, router),
        "a router behind options": said(local, router, hidden=True),
        "the gateway says it is no more": said(other, frames.advertised_router("2001:db8:666::", 0)),
        "a redirect": said(local, frames.redirect(local, FOREIGN6)),
        "a redirect by the gateway": said(other, frames.redirect(local, FOREIGN6)),
        "a DHCPv6 server": frames.udp6(mac, wire.peer.mac, wire.address6, wire.peer.address6, (547, 546)),
        "a DHCP server": frames.udp4(mac, frames.BROADCAST, wire.address4, "255.255.255.255", (67, 68)),
    }
    forged["a router, tagged"] = frames.tagged(forged["a router"])
    wire.test(forged)


def test_net_06_the_host_does_not_listen(wire: Wire) -> None:
    """NET-06: even without the guard no route and no address of the host comes from a container's advertisement."""
    for name, value in (("accept_ra", "0"), ("accept_redirects", "0"), ("autoconf", "0")):
        assert Path(f"/proc/sys/net/ipv6/conf/{wire.bridge}/{name}").read_text().strip() == value, name

    def table() -> bytes:
        show = ["route", "show", "table", "all"], ["address", "show", "dev", wire.bridge]
        return b"".join(subprocess.run(["ip", "-6", *words], capture_output=True, check=True).stdout for words in show)

    before = table()
    firewalls.open_gate("bridge", "prerouting")
    message = frames.advertised_router("2001:db8:666::")
    local = frames.link_local(wire.mac)
    advertised = frames.icmp6(wire.mac, frames.ALL_NODES_MAC, local, frames.ALL_NODES, message)
    assert wire.strays({"a router": advertised}) == {"a router"}, "the control: it arrives"
    assert table() == before
    assert b"2001:db8:666" not in before


def test_net_05_from_inside_a_container(networked: Minirt, start: Callable[..., Box]) -> None:
    """NET-05: the same from a process in a container: without CAP_NET_RAW, which is the default, there is no socket for
    it; with it the frames go nowhere."""
    peer = start("peer")
    plain = start("plain", command=("sleep", "1000"))
    sending = frames.send("eth0", frames.arp(plain.mac, sender=(plain.mac, plain.gateway), asked=plain.gateway))
    assert "PermissionError" in networked("exec", "plain", *sending).stderr
    raw = start("raw", "--cap-add", "NET_RAW", command=("sleep", "1000"))
    forged = frames.arp(raw.mac, sender=(raw.mac, raw.gateway), asked=raw.gateway)
    honest = frames.arp(raw.mac, sender=(raw.mac, raw.address4), asked=raw.address4)
    with peer:
        listening = frames.Listener("eth0")
    with listening:
        networked.ok("exec", "raw", *frames.send("eth0", forged, honest))
        assert not any(frames.same(forged, one) for one in listening.until(honest))


def test_net_05_everybody_keeps_his_traffic(wire: Wire, world: World) -> None:
    """NET-05: after all that poison the peer still finds the gateway and the attacker's own traffic goes on."""
    mac = wire.mac
    poison = [
        frames.arp(mac, sender=(mac, wire.gateway4), asked=wire.peer.address4, target=wire.peer.mac),
        frames.arp(mac, sender=(mac, wire.peer.address4), asked=wire.gateway4, target=wire.bridge_mac),
    ]
    with world.outside, exchange.answering("outside", 80):
        with wire.attacker:
            frames.throw("eth0", *poison * 50)
        for box in (wire.peer, wire.attacker):
            with box:
                assert exchange.ask(world.outside.address4, 80).name == "outside"
        with wire.attacker:
            assert exchange.ask(wire.peer.address4, 80).name == "peer"
            assert exchange.ask(wire.peer.address6, 80).name == "peer"


def test_net_07_no_ipv6_where_there_is_none(networked: Minirt, start: Callable[..., Box]) -> None:
    """NET-07 (CVE-2024-32473): on a network without IPv6 neither the container nor the bridge has a link-local address,
    and a service of the host on [::] is not reached by one that the container makes up."""
    networked.ok("network", "create", "four")
    box = start("box", "--network", "four", "--cap-add", "NET_RAW", "--cap-add", "NET_ADMIN")
    bridge = bridge_of(networked, "four")
    assert [one["family"] for one in box.interfaces()["eth0"]["addr_info"]] == ["inet"]
    assert Path(f"/proc/sys/net/ipv6/conf/{bridge}/disable_ipv6").read_text().strip() == "1"
    assert bridge not in [line.split()[-1] for line in Path("/proc/net/if_inet6").read_text().splitlines()]
    bridge_mac = Path(f"/sys/class/net/{bridge}/address").read_text().strip()
    target = frames.link_local(bridge_mac)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as service:
        service.bind(("::", 4000))
        service.settimeout(exchange.SILENCE_S)
        packet = frames.udp6(box.mac, bridge_mac, frames.link_local(box.mac), target, (4000, 4000))
        with box:
            frames.throw("eth0", packet)
        with pytest.raises(TimeoutError):
            service.recv(1000)
        with box, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"four", (box.gateway, 4000))
        assert service.recv(1000) == b"four", "the control"


def test_net_07_the_control_with_ipv6(wire: Wire) -> None:
    """NET-07, the control: where the network has IPv6 the same service is reached by the bridge's own address."""
    with exchange.answering("host", 4000), wire.attacker:
        assert exchange.ask(wire.gateway6, 4000).name == "host"
