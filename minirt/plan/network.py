# SPDX-License-Identifier: Apache-2.0
"""The interfaces of a new network namespace: its loopback, and a link for each network that the container joins
(network_namespaces(7), netdevice(7), rtnetlink(7), veth(4)).

    caller   host-network, host-links     descriptors of its own network namespace, and a socket in there
    init     lo up; links                 a socket in the new namespace
             eth0 made there, up, its other end straight in the host's; that one onto the bridge, then up
             both asked about, so that they carry packets at once; addresses, default routes

A link dies with the namespace, and its other end with it. Numbers of interfaces are chosen here, 100 for eth0, so
that no request has to ask for them. Pure; must not import kernel.
"""

from __future__ import annotations

from minirt.plan import namespaces
from minirt.plan.build import NONE, Build
from minirt.plan.netlink import Byte, Index, Ip, Mac, Request, named
from minirt.plan.step import CWD, HOST, Fd, Flags

LINKS, HOST_LINKS, HOST_NETWORK = Fd("links"), Fd("host-links"), Fd("host-network")
NEW = "NLM_F_CREATE|NLM_F_EXCL"
_UP: dict[str, object] = {"ifi_flags": Flags("IFF_UP"), "ifi_change": Flags("IFF_UP")}
_HOST_ID = 0  # how the host's namespace is called in a new one (RTM_NEWNSID)
_NO_LINK_LOCAL = (("IFLA_AF_SPEC", (("AF_INET6", (("IFLA_INET6_ADDR_GEN_MODE", Byte("IN6_ADDR_GEN_MODE_NONE")),)),)),)


class Link:
    """One interface of the container.

    driver: "bridge" (a veth pair) or "macvlan". interface, index: its name and number inside ("eth0", 100). mac:
    "" for the kernel's choice. mtu: bytes, 0 for the kernel's choice. veth: the host's end, "" with macvlan.
    master: the number of the bridge on the host, or of macvlan's parent; bridge: its name, to be shown. addresses:
    (address, prefix length) of either family. gateways: of the default routes. pointer: the flag that asked for it.
    """

    __slots__ = (
        "driver", "interface", "index", "mac", "mtu", "veth", "master", "addresses", "gateways", "pointer", "bridge",
    )  # fmt: skip

    def __init__(
        self,
        driver: str,
        interface: str,
        index: int,
        mac: str,
        mtu: int,
        veth: str,
        master: int,
        addresses: tuple[tuple[str, int], ...] = (),
        gateways: tuple[str, ...] = (),
        pointer: str = "",
        bridge: str = "",
    ) -> None:
        self.driver = driver
        self.interface = interface
        self.index = index
        self.mac = mac
        self.mtu = mtu
        self.veth = veth
        self.master = master
        self.addresses = addresses
        self.gateways = gateways
        self.pointer = pointer
        self.bridge = bridge


def open_host(build: Build) -> None:
    """Host: what init will need of the namespace that it leaves."""
    if not _own(build) or not build.context.links:
        return
    pointer, kind = build.context.links[0].pointer, "network"
    build.add(
        "openat2", CWD, "/proc/self/ns/net", Flags("O_RDONLY|O_CLOEXEC"), NONE, NONE, out=HOST_NETWORK.name,
        actor=HOST, pointer=pointer, kind=kind,
    )  # fmt: skip
    if any(link.driver == "bridge" for link in build.context.links):
        _socket(build, HOST_LINKS.name, HOST, pointer)


def connect(build: Build) -> None:
    """Init: lo, and every link; nothing if the namespace is another container's or the host's."""
    pointer = _own(build)
    if not pointer:
        return
    domain, socket = Flags("AF_INET"), Flags("SOCK_DGRAM|SOCK_CLOEXEC")
    build.add("socket", domain, socket, NONE, out="interfaces", pointer=pointer, kind="network")
    build.add("ioctl_ifflags", Fd("interfaces"), "lo", Flags("IFF_UP"), pointer=pointer, kind="network")
    links = build.context.links
    if not links:
        return
    _socket(build, LINKS.name, "init", links[0].pointer)
    if any(link.driver == "macvlan" for link in links):
        ask(build, LINKS, name_the_host(), links[0].pointer)
    for link in links:
        for socket_, request in requests(link):
            ask(build, socket_, request, link.pointer)


def ask(build: Build, socket: Fd, request: Request, pointer: str) -> None:
    """One request, with the descriptor that it speaks of."""
    descriptor = named(request)
    arguments = (socket, request) if descriptor is None else (socket, descriptor, request)
    build.add("netlink", *arguments, pointer=pointer, kind="network")


def requests(link: Link) -> list[tuple[Fd, Request]]:
    """What makes one link, in order: the socket that each goes to, the container's or the host's."""
    made = _macvlan(link) if link.driver == "macvlan" else _veth(link)
    inside = Index(link.index, link.interface)
    made += [(LINKS, new_address(inside, address, prefix)) for address, prefix in link.addresses]
    made += [(LINKS, new_route(inside, gateway)) for gateway in link.gateways]
    return made


def name_the_host() -> Request:
    """The host's namespace gets a number in the new one, by which a request there can speak of it."""
    return Request("RTM_NEWNSID", "0", {}, (("NETNSA_NSID", _HOST_ID), ("NETNSA_FD", HOST_NETWORK)))


def new_address(interface: Index, address: str, prefix: int) -> Request:
    """A v6 address needs no duplicate address detection: the engine has leased it, and nobody waits a second for
    what is known (IFA_F_NODAD in rtnetlink(7))."""
    header: dict[str, object] = {
        "ifa_family": Flags("AF_INET6" if ":" in address else "AF_INET"),
        "ifa_prefixlen": prefix,
        "ifa_index": interface,
    }
    more: tuple[tuple[str, object], ...] = ()
    if ":" in address:
        more = (("IFA_FLAGS", Flags("IFA_F_NODAD")),)
    elif prefix < 31:
        more = (("IFA_BROADCAST", Ip(_broadcast(address, prefix))),)
    attributes = (("IFA_LOCAL", Ip(address)), ("IFA_ADDRESS", Ip(address)), *more)
    return Request("RTM_NEWADDR", NEW, header, attributes)


def new_route(interface: Index, gateway: str) -> Request:
    """The default route of the gateway's family."""
    header: dict[str, object] = {
        "rtm_family": Flags("AF_INET6" if ":" in gateway else "AF_INET"),
        "rtm_table": Flags("RT_TABLE_MAIN"),
        "rtm_protocol": Flags("RTPROT_BOOT"),
        "rtm_scope": Flags("RT_SCOPE_UNIVERSE"),
        "rtm_type": Flags("RTN_UNICAST"),
    }
    return Request("RTM_NEWROUTE", NEW, header, (("RTA_GATEWAY", Ip(gateway)), ("RTA_OIF", interface)))


def _veth(link: Link) -> list[tuple[Fd, Request]]:
    """The pair is made inside, because the number of the inner end is ours to choose only there. The outer end must
    get no link-local address, and be on the bridge, before it is up: one request would bring it up first.

    Then each end is asked about: that makes the kernel act upon the carrier that both have now (linkwatch_sync_dev,
    Linux 6.8). Left to itself it does so a little later, loses what is sent meanwhile, and ARP waits for a second
    before it tries again: seen with every sixth container, and every fourth where many are born at a time."""
    peer = (("IFLA_IFNAME", link.veth), ("IFLA_NET_NS_FD", HOST_NETWORK), *_mtu(link))
    kind = (("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", (("VETH_INFO_PEER", peer),)))
    name = ("IFLA_IFNAME", link.veth)
    return [
        (LINKS, _new_link(link, ("IFLA_LINKINFO", kind))),
        (HOST_LINKS, Request("RTM_NEWLINK", "0", {}, (name, ("IFLA_MASTER", _master(link)), *_NO_LINK_LOCAL))),
        (HOST_LINKS, Request("RTM_NEWLINK", "0", _UP, (name,))),
        (HOST_LINKS, Request("RTM_GETLINK", "0", {}, (name,))),
        (LINKS, Request("RTM_GETLINK", "0", {"ifi_index": Index(link.index, link.interface)})),
    ]


def _macvlan(link: Link) -> list[tuple[Fd, Request]]:
    """Made inside as well, upon an interface of the host's namespace."""
    mode = (("IFLA_MACVLAN_MODE", Flags("MACVLAN_MODE_BRIDGE")),)
    kind = (("IFLA_INFO_KIND", "macvlan"), ("IFLA_INFO_DATA", mode))
    parent = (("IFLA_LINK", _master(link)), ("IFLA_LINK_NETNSID", _HOST_ID))
    return [(LINKS, _new_link(link, *parent, ("IFLA_LINKINFO", kind)))]


def _new_link(link: Link, *more: tuple[str, object]) -> Request:
    mac = (("IFLA_ADDRESS", Mac(link.mac)),) if link.mac else ()
    attributes = (("IFLA_IFNAME", link.interface), *mac, *_mtu(link), *more)
    return Request("RTM_NEWLINK", NEW, {"ifi_index": link.index, **_UP}, attributes)


def _mtu(link: Link) -> tuple[tuple[str, object], ...]:
    return (("IFLA_MTU", link.mtu),) if link.mtu else ()


def _master(link: Link) -> object:
    return Index(link.master, link.bridge) if link.bridge else link.master


def _own(build: Build) -> str:
    """What asked for a network namespace of the container's own; "": nothing did."""
    path, pointer = namespaces.asked(build).get("network", ("", ""))
    return "" if path else pointer


def _socket(build: Build, slot: str, actor: str, pointer: str) -> None:
    domain, kind = Flags("AF_NETLINK"), Flags("SOCK_RAW|SOCK_CLOEXEC")
    build.add("socket", domain, kind, Flags("NETLINK_ROUTE"), out=slot, actor=actor, pointer=pointer, kind="network")


def _broadcast(address: str, prefix: int) -> str:
    """The last address of the subnet: 172.17.255.255 of 172.17.0.2/16."""
    number = 0
    for part in address.split("."):
        number = number << 8 | int(part)
    number |= (1 << 32 - prefix) - 1
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
