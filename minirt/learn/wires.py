# SPDX-License-Identifier: Apache-2.0
"""One network namespace as the kernel shows it: its interfaces, which of them are two ends of one wire, its routes.

Everything by rtnetlink(7) through pyroute2, asked from inside the namespace (setns(2), network_namespaces(7)): no file
of the container is opened, no program runs in it. What a container calls its interfaces is its own affair, and hostile.
"""

from __future__ import annotations

import os
import socket

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from minirt.kernel import call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PORT_STATES = ("disabled", "listening", "learning", "forwarding", "blocking")
"""linux/if_bridge.h, BR_STATE_…"""
RTN_LOCAL = 2  # linux/rtnetlink.h
KEPT = 128
"""A namespace of the container's own may hold any number of interfaces, addresses and routes."""


class Wire:
    """One interface. kind: "veth", "bridge", "macvlan" …, "" for hardware and lo. peer: the ifindex of its other end,
    or of what it is made on; 0 for none. elsewhere: that one is in another namespace. master: the ifindex of its
    bridge, with port: its number there, and state. addresses: "172.17.0.2/16", without those that the kernel made."""

    __slots__ = (
        "addresses", "alias", "elsewhere", "index", "kind", "mac", "master", "mtu", "name", "peer", "port", "state",
        "up",
    )  # fmt: skip

    def __init__(self, message: Any) -> None:
        info = message.get_attr("IFLA_LINKINFO")
        data = info.get_attr("IFLA_INFO_SLAVE_DATA") if info else None
        if info is not None and info.get_attr("IFLA_INFO_SLAVE_KIND") != "bridge":
            data = None
        self.index = int(message["index"])
        self.name = str(message.get_attr("IFLA_IFNAME"))
        self.kind = str(info.get_attr("IFLA_INFO_KIND") or "") if info else ""
        self.mac = str(message.get_attr("IFLA_ADDRESS") or "")
        self.mtu = int(message.get_attr("IFLA_MTU") or 0)
        self.up = message["state"] == "up"
        self.alias = str(message.get_attr("IFLA_IFALIAS") or "")
        self.master = int(message.get_attr("IFLA_MASTER") or 0)
        self.peer = int(message.get_attr("IFLA_LINK") or 0)
        self.elsewhere = message.get_attr("IFLA_LINK_NETNSID") is not None
        self.port = int(data.get_attr("IFLA_BRPORT_NO") or 0) if data is not None else 0
        number = data.get_attr("IFLA_BRPORT_STATE") if data is not None else None
        self.state = PORT_STATES[number] if number is not None and number < len(PORT_STATES) else ""
        self.addresses: list[str] = []


class Way:
    """Where the kernel would send a packet. interface: "" if nowhere, and reason says why; gateway: "" if it is a
    neighbour; source: the address that it would have. local: it is one of the namespace's own addresses."""

    __slots__ = ("gateway", "interface", "local", "reason", "source")

    def __init__(
        self, interface: str = "", gateway: str = "", source: str = "", reason: str = "", local: bool = False
    ) -> None:
        self.interface = interface
        self.gateway = gateway
        self.source = source
        self.reason = reason
        self.local = local


class Space:
    """A network namespace. name: "net:[4026532456]", as the links in /proc/PID/ns have it. routes: the main table's, as
    ip-route(8) writes them."""

    __slots__ = ("name", "routes", "ways", "wires")

    def __init__(self, name: str) -> None:
        self.name = name
        self.wires: dict[int, Wire] = {}
        self.routes: list[str] = []
        self.ways: dict[str, Way] = {}

    def named(self, name: str) -> Wire | None:
        return next((wire for wire in self.wires.values() if wire.name == name), None)


def space(descriptor: int, destinations: tuple[str, ...] = ()) -> Space:
    """The namespace behind a descriptor; this thread enters it, asks, and comes back. ways: to `destinations`."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        call.setns(descriptor, "CLONE_NEWNET")
        try:
            with IPRoute() as netlink:
                return _look(netlink, f"net:[{os.fstat(descriptor).st_ino}]", destinations)
        finally:
            call.setns(own, "CLONE_NEWNET")
    finally:
        os.close(own)


def here(destinations: tuple[str, ...] = ()) -> Space:
    """The namespace of this process: the host's."""
    with IPRoute() as netlink:
        return _look(netlink, f"net:[{os.stat('/proc/self/ns/net').st_ino}]", destinations)


def forwarded(destination: str, source: str, through: Wire, wires: Space) -> Way:
    """Where the host would send on what comes from `source` by the interface `through`."""
    with IPRoute() as netlink:
        return _way(netlink, wires, dst=destination, src=source, iif=through.index)


def _look(netlink: IPRoute, name: str, destinations: tuple[str, ...]) -> Space:
    found = Space(name)
    for message in list(netlink.get_links())[:KEPT]:
        found.wires[message["index"]] = Wire(message)
    for message in netlink.get_addr():
        wire = found.wires.get(message["index"])
        address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        if wire is not None and len(wire.addresses) < KEPT and not address.startswith("fe80:"):
            wire.addresses.append(f"{address}/{message['prefixlen']}")
    for family in (socket.AF_INET, socket.AF_INET6):
        for message in list(netlink.get_routes(family=family, table=254))[:KEPT]:
            text = _route(found, message)
            if text and not text.startswith(("fe80:", "ff00:", "multicast")):
                found.routes.append(text)
    for destination in destinations:
        found.ways[destination] = _way(netlink, found, dst=destination)
    return found


def _route(found: Space, message: Any) -> str:
    """A route in the words of ip-route(8)."""
    destination = message.get_attr("RTA_DST")
    text = f"{destination}/{message['dst_len']}" if destination else "default"
    if destination and message["dst_len"] == (32 if message["family"] == socket.AF_INET else 128):
        text = str(destination)
    if gateway := message.get_attr("RTA_GATEWAY"):
        text += f" via {gateway}"
    if (index := message.get_attr("RTA_OIF")) in found.wires:
        text += f" dev {found.wires[index].name}"
    if source := message.get_attr("RTA_PREFSRC"):
        text += f" src {source}"
    return text


def _way(netlink: IPRoute, found: Space, **wanted: object) -> Way:
    try:
        (message, *_) = netlink.route("get", **wanted)
    except NetlinkError as error:
        return Way(reason=os.strerror(error.code))
    wire = found.wires.get(message.get_attr("RTA_OIF"))
    gateway, source = message.get_attr("RTA_GATEWAY") or "", message.get_attr("RTA_PREFSRC") or ""
    local = message["type"] == RTN_LOCAL
    return Way(wire.name if wire else "", str(gateway), str(source), "" if wire else "no interface", local)
