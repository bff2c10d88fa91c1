# SPDX-License-Identifier: Apache-2.0
"""One more interface in a namespace that lives, and one less. ip(8) inside and outside is the judge."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import exchange
import namespaces
import room as rooms
import world as worlds
from minirt.errors import Conflict, HostError, MinirtError, StepFailed
from minirt.model.network import MACVLAN, Endpoint
from minirt.network import bridge, firewall, live, netlink
from minirt.plan.network import Link
from test_paths import serving


def links() -> dict[str, dict[str, Any]]:
    """{name: what `ip -d address` says} of the current namespace."""
    said = subprocess.run(["ip", "-d", "-j", "address", "show"], capture_output=True, text=True, check=True).stdout
    return {one["ifname"]: one for one in json.loads(said) if one}


def placed(link: dict[str, Any]) -> list[str]:
    return [f"{one['local']}/{one['prefixlen']}" for one in link["addr_info"] if one["scope"] == "global"]


def second(room: rooms.Room, six: bool = False, veth: str = "vethabcdef0") -> tuple[Link, Endpoint]:
    """A place for eth1 on a network of its own."""
    net = room.add(rooms.network(2, six=six))
    mac = "02:42:0a:4d:02:09"
    pairs = (("10.77.2.9", 24), ("fd00:77:2::9", 64)) if six else (("10.77.2.9", 24),)
    gateways = (net.gateway4, net.gateway6) if six else (net.gateway4,)
    link = Link("bridge", "eth1", 101, mac, 1400, veth, bridge.ensure(net), pairs, gateways, "network connect")
    place6 = ("fd00:77:2::9", 64) if six else ("", 0)
    endpoint = Endpoint(net.id, "a" * 64, "eth1", 101, veth, mac, "10.77.2.9", 24, *place6)
    return link, endpoint


def test_attach_and_detach(room: rooms.Room) -> None:
    container = room.container(room.add(rooms.network(1)))
    link, endpoint = second(room)
    outside_before = set(links())
    with container:
        inside_before = set(links())
    here = os.readlink("/proc/self/ns/net")
    live.attach(container.pid, link)
    assert os.readlink("/proc/self/ns/net") == here, "the caller is where it was"
    with container:
        eth1 = links()["eth1"]
        assert subprocess.check_output(["ip", "-4", "route", "show", "default"], text=True).count("default") == 1
    assert (eth1["ifindex"], eth1["address"], eth1["mtu"]) == (101, link.mac, 1400)
    assert placed(eth1) == ["10.77.2.9/24"]
    veth = links()[link.veth]
    assert veth["master"] == rooms.network(2).interface
    assert veth["addr_info"] == []
    live.detach(container.pid, endpoint)
    with container:
        assert set(links()) == inside_before
    assert set(links()) == outside_before
    live.detach(container.pid, endpoint)


def test_no_descriptor_is_left(room: rooms.Room) -> None:
    container = room.container(room.add(rooms.network(1)))
    link, endpoint = second(room)
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        live.attach(container.pid, link)
        live.detach(container.pid, endpoint)
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("six", [False, True])
def test_ipv6_is_the_links_own(room: rooms.Room, six: bool) -> None:
    """In a container that has had none so far (default.disable_ipv6), and in one that has."""
    container = room.container(room.add(rooms.network(1)))
    with container:
        worlds.sysctl("net.ipv6.conf.default.disable_ipv6", "1" if six else "0")
    link, _ = second(room, six=six)
    live.attach(container.pid, link)
    with container:
        assert Path("/proc/sys/net/ipv6/conf/eth1/disable_ipv6").read_text() == ("0\n" if six else "1\n")
        assert placed(links()["eth1"]) == ["10.77.2.9/24", "fd00:77:2::9/64"][: 1 + six]
        assert ways_out() == ["10.77.1.1", "fd00:77:2::1"][: 1 + six], "IPv4's stays, IPv6 had none"


def ways_out() -> list[str]:
    """The gateways of the current namespace's default routes."""
    found = []
    for family in ("-4", "-6"):
        words = ["ip", family, "-j", "route", "show", "default"]
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        found += [one["gateway"] for one in json.loads(said or "[]")]
    return found


def test_another_way_out(room: rooms.Room) -> None:
    """When the network with the default route has gone, and only then."""
    container = room.container(room.add(rooms.network(1, six=True)))
    link, endpoint = second(room, six=True)
    live.attach(container.pid, link)
    live.lead_out(container.pid, endpoint, link.gateways)
    with container:
        assert ways_out() == ["10.77.1.1", "fd00:77:1::1"]
    live.detach(container.pid, container.endpoint)
    with container:
        assert ways_out() == []
    live.lead_out(container.pid, endpoint, link.gateways)
    with container:
        assert ways_out() == ["10.77.2.1", "fd00:77:2::1"]


def test_packets_pass(room: rooms.Room) -> None:
    container = room.container(room.add(rooms.network(1)))
    link, endpoint = second(room)
    peer = room.container(room.networks[1])
    room.containers.append(rooms.Container(room.networks[1], endpoint, link, container.namespace, container.pid))
    room.load()
    live.attach(container.pid, link)
    with serving(peer, "peer", 80), container:
        assert exchange.ask(peer.address4, 80) == ("peer", "10.77.2.9", b"")


@pytest.mark.parametrize("fault", ["name", "address", "bridge", "number"])
def test_nothing_is_left_of_a_failure(room: rooms.Room, fault: str) -> None:
    container = room.container(room.add(rooms.network(1)))
    link, _ = second(room)
    if fault == "name":
        link.interface = "eth0"
    elif fault == "number":
        link.index = 100
    elif fault == "bridge":
        link.master = 4000
    else:
        link.addresses = (*link.addresses, *link.addresses)
    outside = set(links())
    with container:
        inside = set(links())
    with pytest.raises(StepFailed) as failed:
        live.attach(container.pid, link)
    assert "netlink" in str(failed.value)
    assert set(links()) == outside
    with container:
        assert set(links()) == inside


def test_the_container_has_renamed_it(room: rooms.Room) -> None:
    container = room.container(room.add(rooms.network(1)))
    link, endpoint = second(room)
    live.attach(container.pid, link)
    with container:
        worlds.ip("link set eth1 down", "link set eth1 name mine")
    live.detach(container.pid, endpoint)
    assert link.veth not in links()
    with container:
        assert "mine" not in links()


def test_a_container_that_is_gone(room: rooms.Room) -> None:
    link, endpoint = second(room)
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(Conflict, match="ended meanwhile"):
        live.attach(ended.pid, link)
    live.detach(ended.pid, endpoint)


def test_the_hosts_own_network_is_left_alone(room: rooms.Room) -> None:
    link, _ = second(room)
    before = set(links())
    with pytest.raises(Conflict, match="host's network"):
        live.attach(os.getpid(), link)
    assert set(links()) == before


@pytest.mark.parametrize("known", [False, True])
def test_macvlan(here: namespaces.Namespace, room: rooms.Room, known: bool) -> None:
    """The parent is the host's interface also where number 0 is another namespace's in the container."""
    container = room.container(room.add(rooms.network(1)))
    worlds.ip("link add parent type veth peer name far", "link set parent up", "link set far up")
    link = Link(MACVLAN, "eth1", 101, "02:42:c0:00:02:09", 0, "", bridge.parent_index("parent"), (("192.0.2.9", 24),))
    endpoint = Endpoint("f" * 64, "a" * 64, "eth1", 101, "", link.mac, "192.0.2.9", 24)
    with namespaces.new() as other, container:
        if known:
            told = subprocess.run(["ip", "netns", "list-id"], capture_output=True, text=True, check=True)
            assert "nsid 0" in told.stdout, "veth has given the host's a number"
        else:
            worlds.ip(f"link add extra type veth peer name away netns {other.path}")
    live.attach(container.pid, link)
    with container:
        eth1 = links()["eth1"]
        assert (eth1["ifindex"], eth1["address"], placed(eth1)) == (101, link.mac, ["192.0.2.9/24"])
        assert eth1["linkinfo"]["info_kind"] == "macvlan"
    live.detach(container.pid, endpoint)
    with container:
        assert "eth1" not in links()
    live.detach(container.pid, endpoint)


def test_an_address_that_is_none(room: rooms.Room) -> None:
    container = room.container(room.add(rooms.network(1)))
    link, _ = second(room)
    link.addresses = (("10.77.2.300", 24),)
    with pytest.raises(MinirtError):
        live.attach(container.pid, link)
    assert link.veth not in links()


def test_an_error_beside_the_steps_is_said(room: rooms.Room, monkeypatch: pytest.MonkeyPatch) -> None:
    container = room.container(room.add(rooms.network(1)))
    link, endpoint = second(room)

    def fails(*_: object) -> None:
        raise OSError(105, "no buffers")

    monkeypatch.setattr(netlink, "exchange", fails)
    monkeypatch.setattr(netlink, "ask", fails)
    with pytest.raises(HostError, match="cannot remove the container's interface: No buffer space"):
        live.detach(container.pid, endpoint)
    with pytest.raises(HostError, match="cannot ask the kernel for"):
        bridge.ensure(room.networks[0])
    assert not firewall.present(rooms.TABLE)
    assert link.veth not in links()
