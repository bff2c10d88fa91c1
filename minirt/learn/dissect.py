# SPDX-License-Identifier: Apache-2.0
"""`network dissect`: the way of a packet between a container and the world, put together from what the kernel says.

    eth0 ── veth ── bridge ── nft bridge table ── nft inet table ── route ── uplink          out
    uplink ── dnat ── forward ── bridge ── veth ── eth0;  or the proxy, from loopback        in, by a published port

Only the networks' names and the wanted ports come from the database; everything else is looked up at this moment
(learn/wires.py, learn/rules.py). It changes nothing. learn/picture.py draws it. Must not import cli.
"""

from __future__ import annotations

import os

from minirt.engine import lifecycle, naming, network_db, network_flags, reconcile, release
from minirt.errors import Conflict, InvalidValue
from minirt.learn import rules, wires
from minirt.network import addresses, firewall, foreign, port_owner, resolver, verdict
from minirt.network.verdict import Packet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.db import Row
    from minirt.engine.store import Engine
    from minirt.learn.rules import Listing, Passage
    from minirt.learn.wires import Space, Way, Wire
    from minirt.model.network import Network, Port

EXAMPLES = {"ip": "203.0.113.1", "ip6": "2001:db8::1"}
"""Where the drawn packet goes unless --to says otherwise: nowhere (RFC 5737, RFC 3849)."""
HTTPS = 443
FORWARDED, LOCAL, BRIDGED = "forwarded", "local", "bridged"
HOOKS = {
    FORWARDED: ("prerouting", "forward", "postrouting"),
    LOCAL: ("prerouting", "input"),
    BRIDGED: ("prerouting", "forward", "postrouting"),
}
BRIDGE_FILTERED = "/proc/sys/net/bridge/bridge-nf-call-iptables"
"""br_netfilter: "1" if what stays within a bridge passes the chains of ip and ip6, too."""


class Nic:
    """One interface of the container. wire: inside. network: its name, "" if minirt does not know it. host: the veth's
    end on the host, or macvlan's parent. bridge: what that end is plugged into. neighbours: who else is on the network,
    "name address". names: where its names are served, "" if they are not."""

    __slots__ = ("bridge", "host", "internal", "names", "neighbours", "network", "wire")

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.network = ""
        self.internal = False
        self.host: Wire | None = None
        self.bridge: Wire | None = None
        self.neighbours: list[str] = []
        self.names = ""


class Out:
    """The way of a new connection's first packet to `destination`. kind: "forwarded" into the world, "local" to the
    host itself, "bridged" to a neighbour on the same network. inside: what the container's routes say; way: what the
    host's say. uplink: the interface that it leaves by. passages: by hook, in the order of the way. source: its address
    inside; seen: outside. answer: what the forward chains do with what comes back. others: foreign chains on the
    forward hook, "family table chain"."""

    __slots__ = (
        "answer", "destination", "inside", "interface", "kind", "others", "passages", "seen", "source", "uplink", "way",
    )  # fmt: skip

    def __init__(self, destination: str, inside: Way) -> None:
        self.destination = destination
        self.kind = FORWARDED
        self.inside = inside
        self.interface = inside.interface
        self.source = ""
        self.seen = ""
        self.way: Way | None = None
        self.uplink: Wire | None = None
        self.passages: list[Passage] = []
        self.answer: list[Passage] = []
        self.others: dict[str, str] = {}


class Entrance:
    """A published port. elements: of which map, as the kernel has it. missing: maps that ought to have one.
    passages: of a connection from outside. proxy: who holds the socket on loopback, "minirt:proxy[123]"."""

    __slots__ = ("elements", "missing", "passages", "port", "proxy")

    def __init__(self, port: Port) -> None:
        self.port = port
        self.elements: dict[str, str] = {}
        self.missing: list[str] = []
        self.passages: list[Passage] = []
        self.proxy = ""


class Picture:
    """mode: "bridge", "none", "host", "container". shares: whose namespace it is, if another container's. tables: ours
    by family, None where there is none."""

    __slots__ = (
        "host", "id", "mode", "name", "namespace", "nics", "out", "pid", "ports", "routes", "shares", "table", "whole",
    )  # fmt: skip

    def __init__(self, row: Row, pid: int) -> None:
        self.id = row.id
        self.name = row.name
        self.pid = pid
        self.mode = ""
        self.shares = ""
        self.namespace = ""
        self.host = ""
        self.routes: list[str] = []
        self.nics: list[Nic] = []
        self.out: Out | None = None
        self.ports: list[Entrance] = []
        self.table = ""
        self.whole = True


def of_container(engine: Engine, ref: str, destination: str = "") -> Picture:
    """Raises NotFound, Conflict (it does not run), InvalidValue (no address), HostError (nft cannot be asked)."""
    family = _family(destination)
    row = engine.find(ref)
    seen = reconcile.look(engine, row)
    if seen.status not in lifecycle.ALIVE or seen.state is None:
        raise Conflict(
            f"container {row.name} is not running: it has no network namespace now", f"minirt start {row.name}"
        )
    descriptor = _open(engine, row)
    try:
        picture = Picture(row, seen.pid)
        mode, other = network_flags.mode(engine.options(row.id))
        picture.mode = mode
        picture.shares = engine.find(other).name if other else ""
        return _fill(engine, picture, descriptor, other or row.id, destination, family)
    finally:
        os.close(descriptor)


def _family(destination: str) -> str:
    if not destination:
        return ""
    try:
        bits, _ = addresses.parse(destination)
    except ValueError:
        raise InvalidValue(f'"{destination}" is not an IP address', "write --to 203.0.113.1") from None
    return "ip" if bits == 32 else "ip6"


def _open(engine: Engine, row: Row) -> int:
    """The network namespace of what is still the container after it has been opened."""
    state = reconcile.look(engine, row).state
    if state is not None:
        try:
            descriptor = os.open(f"/proc/{state.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            descriptor = -1
        if descriptor >= 0 and state.alive():
            return descriptor
        if descriptor >= 0:
            os.close(descriptor)
    raise Conflict(f"container {row.name} has just ended", f"minirt start {row.name}")


def _fill(engine: Engine, picture: Picture, descriptor: int, owner: str, destination: str, family: str) -> Picture:
    wanted = (destination,) if destination else (EXAMPLES["ip"], EXAMPLES["ip6"])
    inside = wires.space(descriptor, wanted)
    host = wires.here((*wanted, *EXAMPLES.values()))
    picture.namespace, picture.host, picture.routes = inside.name, host.name, inside.routes
    picture.table = firewall.table_name(engine.roots.root)
    if inside.name == host.name:
        return _on_host(picture, host, wanted)
    networks = {network.interface: network for network in network_db.networks(engine.database)}
    picture.nics = [_nic(engine, wire, host, networks, owner) for wire in inside.wires.values() if wire.name != "lo"]
    tables = {name: rules.listing(name, picture.table) for name in ("bridge", "inet")}
    picture.whole = all(tables.values()) or all(nic.bridge is None for nic in picture.nics)
    way = next((inside.ways[one] for one in wanted if inside.ways[one].interface), inside.ways[wanted[0]])
    target = next(one for one in wanted if inside.ways[one] is way)
    picture.out = _out(engine, picture, host, tables, way, target)
    for port in network_db.ports(engine.database, owner):
        picture.ports.append(_way_in(picture, port, host, tables["inet"]))
    return picture


def _on_host(picture: Picture, host: Space, wanted: tuple[str, ...]) -> Picture:
    way = host.ways[wanted[0]]
    picture.out = Out(wanted[0], way)
    picture.out.way, picture.out.uplink = way, host.named(way.interface)
    return picture


def _nic(engine: Engine, wire: Wire, host: Space, networks: dict[str, Network], owner: str) -> Nic:
    nic = Nic(wire)
    end = host.wires.get(wire.peer) if wire.elsewhere else None
    if end is not None and (wire.kind != "veth" or (end.kind == "veth" and end.peer == wire.index)):
        nic.host = end
        nic.bridge = host.wires.get(end.master)
    place = nic.bridge or (nic.host if wire.kind == "macvlan" else None)
    network = networks.get(place.name) if place else None
    if network is not None:
        nic.network, nic.internal = network.name, network.internal
        for one in network_db.endpoints(engine.database, network=network.id):
            other = engine.database.by_id(one.container)
            if one.container != owner and other is not None:
                nic.neighbours.append(f"{other.name} {one.address4 or one.address6}")
        if release.has_names(network):
            alive = resolver.alive(naming.directory(engine, network))
            gateway = network.gateway4 or network.gateway6
            nic.names = f"{gateway}, port 53: dnsmasq" if alive else f"{gateway}, port 53: nobody"
    return nic


# The way out


def _out(
    engine: Engine, picture: Picture, host: Space, tables: dict[str, Listing | None], inside: Way, destination: str
) -> Out:
    out = Out(destination, inside)
    nic = next((one for one in picture.nics if one.wire.name == inside.interface), None)
    if nic is None or nic.host is None:
        return out
    family = "ip6" if ":" in destination else "ip"
    out.source = inside.source or next(iter(_of_family(nic.wire, family)), "")
    if nic.bridge is None:  # macvlan: onto the wire at once, past the host's rules
        out.uplink, out.seen = nic.host, out.source
        return out
    out.way = wires.forwarded(destination, out.source, nic.bridge, host)
    out.uplink = host.named(out.way.interface)
    inet, bridge = tables["inet"], tables["bridge"]
    if out.way.local:
        out.kind, out.uplink = LOCAL, nic.bridge
    elif out.uplink is nic.bridge:
        out.kind, out.uplink = BRIDGED, _port_of(engine, nic, host, destination)
    packet = _first(nic, out, family)
    if bridge is not None:
        framed = _first(nic, out, family)
        framed.iif = nic.host.name
        out.passages += bridge.passages("prerouting", framed)
    if inet is not None and (out.kind != BRIDGED or _is_filtered()):
        for hook in HOOKS[out.kind]:
            if out.passages and out.passages[-1].verdict == verdict.DROP:
                break
            out.passages += inet.passages(hook, packet)
    if inet is not None and out.kind == FORWARDED:
        back = Packet(out.way.interface, nic.bridge.name, "established", family=family, protocol="tcp", port=HTTPS)
        back.source, back.destination = destination, out.source
        if all(one.verdict == verdict.ACCEPT for one in out.passages):
            out.answer = inet.passages("forward", back)
        out.others = _others(packet)
    out.seen = _seen(out, host, destination)
    return out


def _is_filtered() -> bool:
    try:
        with open(BRIDGE_FILTERED) as file:
            return file.read().strip() == "1"
    except OSError:
        return False


def _port_of(engine: Engine, nic: Nic, host: Space, address: str) -> Wire | None:
    """The bridge's port behind which an address of the same network is; None: nobody has it, or not by minirt."""
    assert nic.bridge is not None
    for one in network_db.endpoints(engine.database):
        wire = host.named(one.veth) if address in (one.address4, one.address6) else None
        if wire is not None and wire.master == nic.bridge.index:
            return wire
    return None


def _first(nic: Nic, out: Out, family: str) -> Packet:
    """A new connection to a web server."""
    assert nic.bridge is not None and out.way is not None
    oif = "" if out.kind == LOCAL else out.way.interface
    return Packet(
        nic.bridge.name, oif, "new", protocol="tcp", port=HTTPS, family=family, source=out.source,
        destination=out.destination, mac=nic.wire.mac, local=out.kind == LOCAL,
    )  # fmt: skip


def _of_family(wire: Wire, family: str) -> list[str]:
    return [one.partition("/")[0] for one in wire.addresses if (":" in one) == (family == "ip6")]


def _seen(out: Out, host: Space, destination: str) -> str:
    """The source address that the world sees: the host's own where a rule on the way masquerades."""
    masquerades = any(
        rule.matched and rule.text.endswith("masquerade") for passage in out.passages for rule in passage.rules
    )
    return (host.ways[destination].source if masquerades else "") or out.source


def _others(packet: Packet) -> dict[str, str]:
    """What chains of other firewalls on the forward hook do with the packet: {"ip filter FORWARD": "drops"}."""
    found = {}
    for table in foreign.tables():
        for chain in table.chains.values():
            if chain.hook != "forward" or chain.kind != "filter" or table.family not in (packet.family, "inet"):
                continue
            judgement = verdict.judge(table, chain, packet)
            word = "accepts" if judgement.verdict == verdict.ACCEPT else "drops" if judgement.certain else "may drop"
            found[f"{table.family} {table.name} {chain.name}"] = f"{word} ({judgement.by})"
    return found


# The way in


def _way_in(picture: Picture, port: Port, host: Space, inet: Listing | None) -> Entrance:
    found = Entrance(port)
    six = ":" in port.host_address
    wild = port.host_address in ("", "0.0.0.0", "::")
    for family, target in (("4", port.target4), ("6", port.target6)):
        if not target or port.is_loopback or (port.host_address and six != (family == "6")):
            continue
        name = f"ports{family}" if wild else f"ports{family}_at"
        at = "" if wild else f"{port.host_address} . "
        element = inet.element(name, f"{port.protocol} . {at}{port.host_port}") if inet else ""
        if element:
            found.elements[name] = element
        else:
            found.missing.append(name)
    if found.elements and inet is not None:
        found.passages = _arrival(picture, port, host, inet)
    found.proxy = port_owner.find(port.protocol, port.host_port)
    return found


def _arrival(picture: Picture, port: Port, host: Space, inet: Listing) -> list[Passage]:
    """The hooks that a connection from outside passes."""
    family = "ip" if port.target4 and ":" not in port.host_address else "ip6"
    uplink = host.named(host.ways[EXAMPLES[family]].interface)
    own = port.host_address or next(iter(_of_family(uplink, family)), "") if uplink else port.host_address
    packet = Packet(
        uplink.name if uplink else "", "", "new", protocol=port.protocol, port=port.host_port, family=family,
        source=EXAMPLES[family], destination=own, local=True,
    )  # fmt: skip
    target = port.target4 if family == "ip" else port.target6
    bridge = _bridge_of(picture, target)
    forwarded = Packet(
        packet.iif, bridge, "new", "dnat", protocol=port.protocol, port=port.container_port, family=family,
        source=packet.source, destination=target,
    )  # fmt: skip
    return [*inet.passages("prerouting", packet, "nat"), *inet.passages("forward", forwarded)]


def _bridge_of(picture: Picture, address: str) -> str:
    for nic in picture.nics:
        if nic.bridge is not None and any(one.partition("/")[0] == address for one in nic.wire.addresses):
            return nic.bridge.name
    return ""


def document(value: object) -> object:
    """For --json: every value by the names of its fields."""
    slots = getattr(type(value), "__slots__", None)
    if slots:
        return {name: document(getattr(value, name)) for name in slots}
    if isinstance(value, dict):
        return {str(key): document(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [document(item) for item in value]
    return value
