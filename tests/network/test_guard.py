# SPDX-License-Identifier: Apache-2.0
"""The guard on a container's veth, frame by frame: what may leave it, and what may not (NET-05, NET-06, NET-07).

The attacker owns its namespace and writes frames of any form. The judge is a packet socket on the victim's interface:
what it sees has passed. Each frame that must not pass has the same test as control, with the guard taken away.
"""

from __future__ import annotations

import json
import struct
import subprocess

import pytest

import firewalls
import frames
import room as rooms
import world as worlds
from frames import ALL_NODES, ALL_NODES_MAC, BROADCAST

OTHER_MAC = "02:42:0a:4d:01:63"


class Scene:
    """An attacker and a victim on one network that has IPv6."""

    def __init__(self, room: rooms.Room, six: bool = True) -> None:
        self.net = room.add(rooms.network(six=six))
        self.attacker, self.victim = room.container(self.net), room.container(self.net)

    def passes(self, *sent: bytes) -> list[bytes]:
        """Those that arrive. The last one is a datagram that may pass: it comes behind all others."""
        mine, other = self.attacker, self.victim
        last = frames.udp4(mine.mac, BROADCAST, mine.address4, "255.255.255.255", (9, 9))
        with other:
            listener = frames.Listener("eth0")
        with listener:
            with mine:
                frames.throw("eth0", *sent, last)
            found = listener.until(last)
        return [one for one in sent if one in found or one[:12] + one[16:] in found]  # a tag lies beside its frame

    def known(self) -> int:
        """How many addresses the bridge has learnt."""
        return len(self.table())

    def table(self) -> list[dict[str, str]]:
        """bridge(8), fdb: those that were not put in by the kernel itself."""
        words = ["bridge", "-j", "fdb", "show", "br", self.net.interface]
        shown = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
        return [one for one in shown if one.get("state") != "permanent"]

    def port_of(self, mac: str) -> str:
        """Behind which port the bridge believes this MAC."""
        return next((one["ifname"] for one in self.table() if one["mac"] == mac), "")


@pytest.fixture
def scene(room: rooms.Room) -> Scene:
    return Scene(room)


def good(scene: Scene) -> dict[str, bytes]:
    me, you = scene.attacker, scene.victim
    mine = frames.link_local(me.mac)
    unsolicited = frames.advertised_neighbour(me.address6, me.mac)
    asking = struct.pack("!BBHI16s", 135, 0, 0, 0, frames.ip6(me.address6))
    report = struct.pack("!BBHHHBBH16s", 143, 0, 0, 0, 1, 4, 0, 0, frames.ip6("ff02::fb"))
    return {
        "a datagram": frames.udp4(me.mac, you.mac, me.address4, you.address4),
        "a broadcast": frames.udp4(me.mac, BROADCAST, me.address4, "255.255.255.255"),
        "an ARP request": frames.arp(me.mac, sender=(me.mac, me.address4), asked=you.address4, reply=False),
        "an ARP reply": frames.arp(me.mac, sender=(me.mac, me.address4), asked=you.address4, target=you.mac),
        "gratuitous ARP": frames.arp(me.mac, sender=(me.mac, me.address4), asked=me.address4),
        "an ARP probe": frames.arp(me.mac, sender=(me.mac, "0.0.0.0"), asked="10.77.1.9", reply=False),
        "a v6 datagram": frames.udp6(me.mac, you.mac, me.address6, you.address6),
        "link-local": frames.udp6(me.mac, you.mac, mine, frames.link_local(you.mac)),
        "its own NA": frames.icmp6(me.mac, you.mac, me.address6, you.address6, unsolicited),
        "NA of its link-local": frames.icmp6(
            me.mac, ALL_NODES_MAC, mine, ALL_NODES, frames.advertised_neighbour(mine, me.mac)
        ),
        "DAD": frames.icmp6(me.mac, "33:33:ff:00:00:02", "::", "ff02::1:ff00:2", asking),
        "an MLD report": frames.icmp6(me.mac, "33:33:00:00:00:16", "::", "ff02::16", report, hidden=True),
    }


def bad(scene: Scene) -> dict[str, bytes]:
    me, you, net = scene.attacker, scene.victim, scene.net
    mine, router = frames.link_local(me.mac), frames.advertised_router("2001:db8:bad::")
    return {
        "another MAC": frames.udp4(OTHER_MAC, you.mac, me.address4, you.address4),
        "another IPv4 source": frames.udp4(me.mac, you.mac, "10.77.1.99", you.address4),
        "the gateway's IPv4 source": frames.udp4(me.mac, you.mac, net.gateway4, you.address4),
        "source 0.0.0.0": frames.udp4(me.mac, BROADCAST, "0.0.0.0", "255.255.255.255", (68, 67)),
        "a DHCP offer": frames.udp4(me.mac, you.mac, me.address4, you.address4, (67, 68)),
        "ARP for the gateway": frames.arp(me.mac, sender=(me.mac, net.gateway4), asked=you.address4),
        "ARP with another's MAC": frames.arp(me.mac, sender=(OTHER_MAC, me.address4), asked=you.address4),
        "ARP of IEEE 802 for the gateway": hardware(
            frames.arp(me.mac, sender=(me.mac, net.gateway4), asked="10.77.1.3")
        ),
        "an ARP reply from 0.0.0.0": frames.arp(me.mac, sender=(me.mac, "0.0.0.0"), asked=you.address4),
        "reverse ARP": retyped(frames.arp(me.mac, sender=(me.mac, me.address4), asked=you.address4), 0x8035),
        "priority-tagged ARP for the gateway": frames.tagged(
            frames.arp(me.mac, sender=(me.mac, net.gateway4), asked=you.address4)
        ),
        "tagged IPv4": frames.tagged(frames.udp4(me.mac, you.mac, "10.77.1.99", you.address4), 7),
        "802.1ad": retyped(frames.tagged(frames.udp4(me.mac, you.mac, "10.77.1.99", you.address4), 7), 0x88A8),
        "tagged twice": frames.tagged(frames.tagged(frames.udp4(me.mac, you.mac, "10.77.1.99", you.address4))),
        "an 802.3 length": retyped(frames.udp4(me.mac, you.mac, me.address4, you.address4), 46),
        "a spanning tree's": retyped(frames.udp4(me.mac, "01:80:c2:00:00:00", me.address4, you.address4), 38),
        "another protocol": retyped(frames.udp4(me.mac, you.mac, me.address4, you.address4), 0x88CC),
        "another IPv6 source": frames.udp6(me.mac, you.mac, "fd00:77:1::99", you.address6),
        "another's link-local": frames.udp6(me.mac, you.mac, "fe80::bad", you.address6),
        "a datagram from ::": frames.udp6(me.mac, ALL_NODES_MAC, "::", ALL_NODES),
        "a DHCPv6 answer": frames.udp6(me.mac, you.mac, mine, frames.link_local(you.mac), (547, 546)),
        "a router's advertisement": frames.icmp6(me.mac, ALL_NODES_MAC, mine, ALL_NODES, router),
        "a hidden router's advertisement": frames.icmp6(me.mac, ALL_NODES_MAC, mine, ALL_NODES, router, hidden=True),
        "a redirect": frames.icmp6(me.mac, you.mac, mine, you.address6, frames.redirect(mine, "2001:db8::1")),
        "the gateway's NA": frames.icmp6(
            me.mac, you.mac, me.address6, you.address6, frames.advertised_neighbour(net.gateway6, me.mac)
        ),
        "a hidden NA of the gateway": frames.icmp6(
            me.mac, you.mac, me.address6, you.address6, frames.advertised_neighbour(net.gateway6, me.mac), hidden=True
        ),
        # the last one: from then on a bridge without guard gives the victim's frames to the attacker
        "the victim's MAC": frames.udp4(you.mac, BROADCAST, me.address4, you.address4),
    }


def retyped(frame: bytes, kind: int) -> bytes:
    return frame[:12] + struct.pack("!H", kind) + frame[14:]


def hardware(frame: bytes) -> bytes:
    """ARP's hardware type 6: Linux takes it on Ethernet as well (arp_rcv)."""
    return frame[:14] + struct.pack("!H", 6) + frame[16:]


def names(table: dict[str, bytes], passed: list[bytes]) -> set[str]:
    return {name for name, frame in table.items() if frame in passed}


def test_what_may_leave(scene: Scene) -> None:
    table = good(scene)
    assert names(table, scene.passes(*table.values())) == set(table)


def test_what_may_not_leave(scene: Scene) -> None:
    table = bad(scene)
    assert names(table, scene.passes(*table.values())) == set()


def test_it_is_the_guard_that_holds_them(scene: Scene) -> None:
    """The positive control: without the guard the bridge carries all of them."""
    table = bad(scene)
    firewalls.nft(f"flush chain bridge {rooms.TABLE} prerouting")
    assert names(table, scene.passes(*table.values())) == set(table)


def test_the_bridge_learns_no_other_mac(room: rooms.Room) -> None:
    """A frame to 01:80:c2:00:00:0X never comes to prerouting, and yet a bridge learns its sender: from then on the
    attacker would get the victim's frames. Ours does not. Without IPv6, so that nobody sends unasked."""
    scene = Scene(room, six=False)
    me, you = scene.attacker, scene.victim
    with you:
        frames.throw("eth0", frames.udp4(you.mac, BROADCAST, you.address4, "255.255.255.255"))
    poison = [
        retyped(frames.udp4(you.mac, f"01:80:c2:00:00:{last:02x}", me.address4, you.address4), 0x88CC)
        for last in range(16)
    ]
    scene.passes(*poison)
    assert scene.port_of(you.mac) == you.endpoint.veth
    worlds.ip(f"link set {scene.net.interface} type bridge no_linklocal_learn 0")
    scene.passes(*poison)
    assert scene.port_of(you.mac) == me.endpoint.veth, "the positive control"


def test_without_ipv6_nothing_of_it_passes(room: rooms.Room) -> None:
    """NET-07: a container that gives itself a link-local address talks to nobody with it."""
    scene = Scene(room, six=False)
    me, you = scene.attacker, scene.victim
    mine, yours = frames.link_local(me.mac), frames.link_local(you.mac)
    assert scene.passes(frames.udp6(me.mac, you.mac, mine, yours)) == []


def test_a_flood_of_macs(room: rooms.Room) -> None:
    """NET-16: the bridge's table of addresses holds one for each container, whatever comes."""
    scene = Scene(room, six=False)
    me, you = scene.attacker, scene.victim
    flood = [
        frames.udp4(f"02:42:0a:4d:{number >> 8:02x}:{number & 255:02x}", you.mac, me.address4, you.address4)
        for number in range(0x0200, 0x0600)
    ]

    def come() -> int:
        for begin in range(0, len(flood), 100):  # a listener's queue holds no more
            scene.passes(*flood[begin : begin + 100])
        return scene.known()

    assert come() <= 4
    firewalls.nft(f"flush chain bridge {rooms.TABLE} prerouting")
    assert come() > 1000, "the positive control"
