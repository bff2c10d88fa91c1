# SPDX-License-Identifier: Apache-2.0
"""The bridge of a network on this host: found in one question, made once (rtnetlink(7), ip-link(8)).

A bridge is ours by its alias, `minirt <network id>`, whatever it is called; one that was being made when its maker was
killed is known by its MAC, which follows from the id. Interfaces of others are never touched. Of a macvlan network
there is only the parent interface to be found. `ensure` is on the way of a `run`: pyroute2 (130 ms) is imported only
where something has to be made or removed.
"""

from __future__ import annotations

import os
from errno import EEXIST, ENODEV, EOPNOTSUPP, EPERM
from struct import Struct

from minirt.errors import Conflict, HostError, NotFound
from minirt.model.network import MACVLAN
from minirt.network import netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from minirt.model.network import Endpoint, Network

NAME_BYTES = 15  # IFNAMSIZ less its NUL
_IFINFO = Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
_GETLINK, _NO_STATISTICS = 18, 8  # RTM_GETLINK, RTEXT_FILTER_SKIP_STATS
_ADDRESS, _NAME, _LINKINFO, _ALIAS, _EXT_MASK, _KIND = 1, 3, 18, 20, 29, 1  # IFLA_*, IFLA_INFO_KIND
_UP = 1  # IFF_UP
_NEWLINK, _INFO_DATA, _OPTIONS, _NO_LINK_LOCAL_LEARN = 16, 2, 46, 1 << 0  # RTM_NEWLINK, IFLA_INFO_DATA,
# IFLA_BR_MULTI_BOOLOPT (linux/if_link.h), BR_BOOLOPT_NO_LL_LEARN (linux/if_bridge.h)


class Found:
    """An interface of this network namespace. kind: "bridge", "veth" …, "" for hardware."""

    __slots__ = ("address", "alias", "index", "kind", "up")

    def __init__(self, index: int, up: bool, kind: str, alias: str, address: bytes) -> None:
        self.index = index
        self.up = up
        self.kind = kind
        self.alias = alias
        self.address = address


def find(interface: str) -> Found | None:
    """The interface of this name, or None. HostError: the kernel does not say."""
    if not 0 < len(interface.encode()) <= NAME_BYTES:
        return None
    question = _IFINFO.pack(0, 0, 0, 0, 0) + netlink.attribute(_NAME, interface.encode() + b"\0")
    question += netlink.attribute(_EXT_MASK, _NO_STATISTICS.to_bytes(4, netlink.BYTE_ORDER))
    try:
        answer = netlink.ask(netlink.NETLINK_ROUTE, _GETLINK, question)[0]
    except OSError as error:
        if error.errno == ENODEV:
            return None
        why = os.strerror(error.errno or 0)
        raise HostError(f"cannot ask the kernel for {interface}: {why}", f"try it: ip link show {interface}") from error
    _, _, index, flags, _ = _IFINFO.unpack_from(answer)
    said = netlink.attributes(answer, _IFINFO.size)
    kind = netlink.attributes(said.get(_LINKINFO, b"")).get(_KIND, b"")
    return Found(index, bool(flags & _UP), _text(kind), _text(said.get(_ALIAS, b"")), said.get(_ADDRESS, b""))


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")


def alias(network: Network) -> str:
    return f"minirt {network.id}"


def mac(network: Network) -> str:
    """The bridge's own, always the same: without one a bridge changes it with its ports, under its neighbours' feet."""
    return "06:" + bytes.fromhex(network.id[:10]).hex(":")


def taken(interface: str) -> bool:
    """Whether an interface of this name is there, whosoever."""
    return find(interface) is not None


def parent_index(name: str) -> int:
    """The number of the host's interface that macvlan builds on. NotFound if it is not there."""
    found = find(name)
    if found is None:
        raise NotFound(f'no such interface: "{name}"', "see the interfaces of this host: ip link")
    return found.index


def ensure(network: Network, whole: bool = False) -> int:
    """The bridge's interface number. It is there, ours and up: one question. Otherwise it is made, or made good.

    `whole` looks at its addresses and settings in any case. Conflict: somebody else's interface has its name.
    HostError: this host cannot make one.
    """
    if network.driver == MACVLAN:
        return parent_index(network.interface)
    found = find(network.interface)
    if found is not None and found.up and not whole and found.alias == alias(network):
        return found.index
    return _make(network, found)


def remove(network: Network) -> None:
    """Take the bridge away, if it is ours, also one that somebody renamed. That it is gone already is fine, also when
    it went this moment."""
    if network.driver == MACVLAN:
        return
    found = find(network.interface)
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    with IPRoute() as route:
        ours = [index for index, _ in _known(route, network)]
        if found is not None and _is_ours(network, found):
            ours.append(found.index)
        for index in set(ours):
            try:
                route.link("del", index=index)
            except NetlinkError as error:
                if error.code != ENODEV:
                    raise HostError(f"cannot remove the bridge {network.interface}: {error.args[-1]}") from error


def adopt(networks: Iterable[Network], endpoints: Iterable[Endpoint]) -> None:
    """The host's ends of containers' links that are on no bridge, since theirs was deleted and made again, go onto it.
    HostError."""
    places = {network.id: network.interface for network in networks if network.driver != MACVLAN}
    wanted = {one.veth: places[one.network] for one in endpoints if one.veth and one.network in places}
    if not wanted:
        return
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    with IPRoute() as route:
        for message in route.get_links():
            name = message.get_attr("IFLA_IFNAME")
            master = find(wanted[name]) if name in wanted and not message.get_attr("IFLA_MASTER") else None
            if master is None:
                continue
            try:
                route.link("set", index=message["index"], master=master.index)
            except NetlinkError as error:
                if error.code != ENODEV:
                    raise HostError(f"cannot put {name} onto {wanted[name]}: {error.args[-1]}") from error


def _known(route: Any, network: Network) -> list[tuple[int, str]]:
    """(number, name) of every bridge with this network's alias, whatever it is called."""
    return [
        (message["index"], message.get_attr("IFLA_IFNAME"))
        for message in route.get_links()
        if message.get_attr("IFLA_IFALIAS") == alias(network)
    ]


def _is_ours(network: Network, found: Found) -> bool:
    half_made = not found.alias and found.address.hex(":") == mac(network)
    return found.kind == "bridge" and (found.alias == alias(network) or half_made)


def _make(network: Network, found: Found | None) -> int:
    """Make it, or what of it is missing: alias, settings, addresses, up; what is right already stays as it is."""
    if found is not None and not _is_ours(network, found):
        raise Conflict(
            f'the interface "{network.interface}" is not the bridge of network {network.name}: it is not minirt\'s',
            f"give it another name: ip link set {network.interface} name NAME",
        )
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    with IPRoute() as route:
        try:
            if found is not None:
                _furnish(route, network, found.index)
                return found.index
            _refuse_renamed(route, network)
            index, mine = _new(route, network)
            try:
                _furnish(route, network, index)
            except BaseException:
                if mine:
                    route.link("del", index=index)
                raise
        except NetlinkError as error:
            raise _explained(network, error.code, str(error.args[-1])) from error
        except OSError as error:
            raise _explained(network, error.errno or 0, os.strerror(error.errno or 0)) from error
    return index


def _new(route: Any, network: Network) -> tuple[int, bool]:
    """The bare bridge, down, and whether it was made here: another minirt may have been faster."""
    from pyroute2.netlink.exceptions import NetlinkError

    mine = True
    try:
        route.link("add", ifname=network.interface, kind="bridge", address=mac(network))
    except NetlinkError as error:
        if error.code != EEXIST:
            raise
        mine = False
    found = find(network.interface)
    if found is None or not _is_ours(network, found):
        raise Conflict(f'the interface "{network.interface}" is not minirt\'s', "ip link shows whose it may be")
    return found.index, mine


def _furnish(route: Any, network: Network, index: int) -> None:
    from minirt.network import sysctl

    route.link("set", index=index, ifalias=alias(network))
    if network.mtu:
        route.link("set", index=index, mtu=network.mtu)
    _learn_less(index)
    sysctl.bridge(network.interface, bool(network.subnet6))
    _add_addresses(route, network, index)
    route.link("set", index=index, state="up")
    if network.internal:
        return
    if network.subnet4:
        sysctl.forward4()
    if network.subnet6 and not network.is_default:
        sysctl.forward6()


def _learn_less(index: int) -> None:
    """Frames to 01:80:c2:00:00:0X (LLDP and its like) come by no rule of nftables', and the bridge must not learn their
    sender's MAC: it may be another container's, whose frames would then go to the sender."""
    option = Struct("=II").pack(_NO_LINK_LOCAL_LEARN, _NO_LINK_LOCAL_LEARN)
    info = netlink.nested(
        _LINKINFO,
        netlink.attribute(_KIND, b"bridge\0"),
        netlink.nested(_INFO_DATA, netlink.attribute(_OPTIONS, option)),
    )
    netlink.ask(netlink.NETLINK_ROUTE, _NEWLINK, _IFINFO.pack(0, 0, index, 0, 0) + info)


def _add_addresses(route: Any, network: Network, index: int) -> None:
    """The gateway's, without duplicate address detection: that waits for a first port, and names are served there."""
    from pyroute2.netlink.exceptions import NetlinkError

    from minirt.network.addresses import prefix

    for gateway, subnet in ((network.gateway4, network.subnet4), (network.gateway6, network.subnet6)):
        if gateway:
            more = {"flags": 0x02} if ":" in gateway else {}  # IFA_F_NODAD
            try:
                route.addr("add", index=index, address=gateway, prefixlen=prefix(subnet), **more)
            except NetlinkError as error:
                if error.code != EEXIST:
                    raise


def _refuse_renamed(route: Any, network: Network) -> None:
    """Somebody gave our bridge another name: a second one with its addresses would take its packets away."""
    for _, name in _known(route, network):
        if name != network.interface:
            raise Conflict(
                f'the bridge of network {network.name} was renamed from "{network.interface}" to "{name}"',
                f"give it its name back: ip link set {name} down; ip link set {name} name {network.interface}",
            )


def _explained(network: Network, errno: int, said: str) -> HostError:
    remedy = {
        EPERM: "networks need root and the capability NET_ADMIN",
        EOPNOTSUPP: "this kernel has no bridges, or its module cannot be loaded: modprobe bridge",
    }.get(errno, "")
    return HostError(f"cannot make the bridge {network.interface}: {said}", remedy)
