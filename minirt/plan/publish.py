# SPDX-License-Identifier: Apache-2.0
"""What a container with an address has on the host: its entries in nftables' sets, and the sockets of its published
ports (nft(8); socket(2), bind(2), listen(2)).

    inet TABLE      ports4, ports6        protocol . port -> address . port, of every address of the host
                    ports4_at, ports6_at  protocol . address . port -> address . port, of one
                    own4, own6            address . protocol . port: who asks for a port of his own
    bridge TABLE    guarded               the host's ends of veth pairs
                    macs                  interface . MAC that may send
                    sources4, sources6    interface . MAC . address that may send

A port on a loopback address is in no map: only a proxy on the bound socket serves it. The rules that read the sets are
network/firewall.py's. Each socket is bound although packets from outside are rewritten before they could reach it: so
the port is taken for everybody else. All steps are the caller's. Pure; must not import kernel.
"""

from __future__ import annotations

from minirt.plan.netlink import Batch, Elements, Socket
from minirt.plan.step import HOST, Fd, Flags, Plan, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirt.model.network import Endpoint, Port

SOCKETS_MAX = 200  # in one plan, which has 512 slots
_FILTER = Fd("filter")
_TARGET4, _TARGET6 = ("ipv4_addr", "inet_service"), ("ipv6_addr", "inet_service")
# set or map: (family, key, data)
LAYOUTS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "guarded": ("bridge", ("ifname",), ()),
    "macs": ("bridge", ("ifname", "ether_addr"), ()),
    "sources4": ("bridge", ("ifname", "ether_addr", "ipv4_addr"), ()),
    "sources6": ("bridge", ("ifname", "ether_addr", "ipv6_addr"), ()),
    "ports4": ("inet", ("inet_proto", "inet_service"), _TARGET4),
    "ports4_at": ("inet", ("inet_proto", "ipv4_addr", "inet_service"), _TARGET4),
    "ports6": ("inet", ("inet_proto", "inet_service"), _TARGET6),
    "ports6_at": ("inet", ("inet_proto", "ipv6_addr", "inet_service"), _TARGET6),
    "own4": ("inet", ("ipv4_addr", "inet_proto", "inet_service"), ()),
    "own6": ("inet", ("ipv6_addr", "inet_proto", "inet_service"), ()),
}
_GONE = ("ENOENT",)
_PORTS_AT_ONCE = 500  # a transaction has to fit into what a socket may send, 208 kB unless sysctl says otherwise
_LOOPBACK = 1  # lo is the first interface of every network namespace
_BACKLOG = 4096  # the kernel takes net.core.somaxconn if that is less

Found = dict[str, list[tuple[str | int, ...]]]


def take(table: str, endpoints: Sequence[Endpoint], ports: Sequence[Port], bound: Sequence[Port] | None = None) -> Plan:
    """The sockets, in the slots "port-0" … in the order of `sockets`, then all elements in one transaction: a port that
    somebody else has is not taken from him even for a moment. On a host without IPv6 the slot of the second socket of
    a port of every address stays empty. bound: what is bound in place of `ports`."""
    steps: list[Step] = []
    for index, (port, family) in enumerate(sockets(ports if bound is None else bound)):
        steps += _bound(f"port-{index}", port, family)
    found = elements(endpoints, ports)
    if found:
        add = Batch(_elements("NFT_MSG_NEWSETELEM", table, name, values) for name, values in found.items())
        steps += [_socket_step(), _step("netlink", _FILTER, add)]
    return Plan(tuple(steps))


def give(table: str, endpoints: Sequence[Endpoint], ports: Sequence[Port], at_once: bool = False) -> Plan:
    """Every element out, some hundred ports at a time. at_once: in one transaction each, which is quickest; ENOENT if
    one element is not there, and then nothing of its transaction is done. Otherwise what is not there is fine: each is
    put in and taken out in one transaction, one for each set, and a set or a table may be gone. Never singly: a
    transaction that fails makes the kernel wait (8 ms), with thousands of ports a quarter of an hour."""
    steps = []
    for start in range(0, len(ports) or 1, _PORTS_AT_ONCE):
        found = elements(() if start else endpoints, ports[start : start + _PORTS_AT_ONCE])
        remove = [_elements("NFT_MSG_DELSETELEM", table, name, values) for name, values in found.items()]
        if at_once:
            steps += [_step("netlink", _FILTER, Batch(remove))] if remove else []
            continue
        add = [_elements("NFT_MSG_NEWSETELEM", table, name, values) for name, values in found.items()]
        steps += [_step("netlink", _FILTER, Batch(pair), tolerate=_GONE) for pair in zip(add, remove, strict=True)]
    return Plan((_socket_step(), *steps) if steps else ())


def sockets(ports: Sequence[Port]) -> list[tuple[Port, str]]:
    """(port, "4" or "6") for each socket: two of them for a port of every address."""
    return [(port, family) for port in ports for family in _families(port.host_address)]


def elements(endpoints: Sequence[Endpoint], ports: Sequence[Port]) -> Found:
    """{set: elements}, key and data of each one behind the other; only sets that get any."""
    found: Found = {}
    for endpoint in endpoints:
        if endpoint.veth:
            _guards(endpoint, found)
    for port in ports:
        if not port.is_loopback:
            _targets(port, found)
    for name in ("own4", "own6"):
        if name in found:
            found[name] = list(dict.fromkeys(found[name]))  # one port of two host addresses
    return found


def link_local(mac: str) -> str:
    """The address that the kernel makes of a MAC address (RFC 4291, appendix A)."""
    byte = [int(part, 16) for part in mac.split(":")]
    words = ((byte[0] ^ 2) << 8 | byte[1], byte[2] << 8 | 0xFF, 0xFE << 8 | byte[3], byte[4] << 8 | byte[5])
    return "fe80::" + ":".join(f"{word:x}" for word in words)


def _guards(endpoint: Endpoint, found: Found) -> None:
    place = (endpoint.veth, endpoint.mac)
    found.setdefault("guarded", []).append((endpoint.veth,))
    found.setdefault("macs", []).append(place)
    if endpoint.address4:
        found.setdefault("sources4", []).append((*place, endpoint.address4))
    if endpoint.address6:
        own = (*place, endpoint.address6), (*place, link_local(endpoint.mac))
        found.setdefault("sources6", []).extend(own)


def _targets(port: Port, found: Found) -> None:
    for family in _families(port.host_address):
        target = port.target4 if family == "4" else port.target6
        if not target:
            continue
        if port.host_address in ("", "0.0.0.0", "::"):
            value = (port.protocol, port.host_port, target, port.container_port)
            found.setdefault(f"ports{family}", []).append(value)
        else:
            at = (port.protocol, port.host_address, port.host_port, target, port.container_port)
            found.setdefault(f"ports{family}_at", []).append(at)
        found.setdefault(f"own{family}", []).append((target, port.protocol, port.host_port))


def _families(host_address: str) -> str:
    return "46" if not host_address else "6" if ":" in host_address else "4"


def _elements(type_: str, table: str, name: str, values: list[tuple[str | int, ...]]) -> Elements:
    family, key, data = LAYOUTS[name]
    if type_ == "NFT_MSG_DELSETELEM":
        values, data = [value[: len(key)] for value in values], ()
    return Elements(type_, family, table, name, key, data, tuple(values))


def _socket_step() -> Step:
    kind = Flags("SOCK_RAW|SOCK_CLOEXEC")
    return _step("socket", Flags("AF_NETLINK"), kind, Flags("NETLINK_NETFILTER"), out=_FILTER.name)


def _bound(slot: str, port: Port, family: str) -> list[Step]:
    """A socket that holds the port. SO_REUSEADDR: connections of an earlier server that are still closing are no
    hindrance, one that listens is; with UDP it would let two share the port. SO_BINDTOIFINDEX: what is published on
    loopback hears lo alone, also on a host that routes 127.0.0.0/8 (route_localnet; NET-01)."""
    tcp, wild = port.protocol == "tcp", not port.host_address
    pointer = f"--publish {port.host_port}/{port.protocol}"
    lost = ("EBADF",) if wild and family == "6" else ()  # no socket, since the host has no IPv6
    address = port.host_address or ("0.0.0.0" if family == "4" else "::")
    kind = Flags("SOCK_STREAM|SOCK_CLOEXEC" if tcp else "SOCK_DGRAM|SOCK_CLOEXEC")
    domain = Flags("AF_INET" if family == "4" else "AF_INET6")
    fd, steps = Fd(slot), []

    def add(op: str, *args: object, out: str = "", tolerate: tuple[str, ...] = lost) -> None:
        steps.append(_step(op, *args, out=out, pointer=pointer, tolerate=tolerate))

    add("socket", domain, kind, Flags("0"), out=slot, tolerate=("EAFNOSUPPORT",) if lost else ())
    if tcp:
        add("setsockopt", fd, Flags("SOL_SOCKET"), Flags("SO_REUSEADDR"), 1)
    if family == "6":
        add("setsockopt", fd, Flags("IPPROTO_IPV6"), Flags("IPV6_V6ONLY"), 1)
    if port.is_loopback:
        add("setsockopt", fd, Flags("SOL_SOCKET"), Flags("SO_BINDTOIFINDEX"), _LOOPBACK)
    add("bind", fd, Socket(address, port.host_port))
    if tcp:
        add("listen", fd, _BACKLOG)
    return steps


def _step(op: str, *args: object, out: str = "", pointer: str = "--network", tolerate: tuple[str, ...] = ()) -> Step:
    outs = (out,) if out else ()
    return Step(op, *args, out=outs, actor=HOST, pointer=pointer, kind="network", tolerate=tolerate)  # type: ignore[arg-type]
