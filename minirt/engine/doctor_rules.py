# SPDX-License-Identifier: Apache-2.0
"""What minirt itself keeps in the kernel for networks, held against its database: rules, elements, bridges, resolvers.

Somebody may have flushed nftables, removed a bridge or killed a resolver; the next start puts back what it needs, and
`minirt network reload` everything. And whether this kernel can do it at all: that is tried in a network namespace which
ends with the child that made it. Nothing is changed. Must not be imported on the way to a container.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

from minirt.engine import naming, network_db, release, reload
from minirt.engine.finding import OK, WARN, Finding
from minirt.engine.store import Engine
from minirt.errors import MinirtError
from minirt.model.network import BRIDGE, Endpoint, Network, Port
from minirt.network import bridge, firewall, foreign, resolver, ruleset

RELOAD = "minirt network reload"
UNCOMPARED = "sources6"
"""nft prints its addresses as numbers, in a way of its own."""
KERNEL = "run a distribution's kernel, or load its module: modprobe"


def abilities() -> Iterator[Finding]:
    """Bridges, veth pairs, macvlan and our own tables, made in a namespace of their own."""
    said = _tried()
    for kind in ("bridge", "veth", "macvlan"):
        lost = "networks of the driver macvlan" if kind == "macvlan" else "every network but macvlan"
        error = said.get(kind, "cannot be tried: pyroute2 is missing or broken")
        if error:
            yield Finding(kind, WARN, f"{error}; needed for {lost}", f"{KERNEL} {kind}")
        else:
            yield Finding(kind, OK, "works")
    if error := said.get("nftables", ""):
        yield Finding("nftables", WARN, error, f"{KERNEL} nf_tables nft_chain_nat nft_fib_inet nft_masq")
    elif "nftables" in said:
        yield Finding("nftables", OK, "takes our rules")


def _tried() -> dict[str, str]:
    """{what: "" or what the kernel says}, from a child that leaves this network namespace."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.write(theirs, json.dumps(_try()).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    found: dict[str, str] = json.loads(data or b"{}")
    return found


def _try() -> dict[str, str]:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    from minirt.kernel import call

    call.unshare("CLONE_NEWNET")
    found: dict[str, str] = {}
    with IPRoute() as netlink:
        wanted: tuple[tuple[str, dict[str, object]], ...] = (
            ("bridge", {"ifname": "probe0"}),
            ("veth", {"ifname": "probe1", "peer": "probe2"}),
            ("macvlan", {"ifname": "probe3", "link": 0}),
        )
        for kind, options in wanted:
            if kind == "macvlan":
                options["link"] = netlink.link_lookup(ifname="probe1")[0] if not found["veth"] else 1
            try:
                netlink.link("add", kind=kind, **options)
                found[kind] = ""
            except NetlinkError as error:
                found[kind] = os.strerror(error.code)
    try:
        firewall.load("minirt", (), (), ())
        found["nftables"] = ""
    except MinirtError as error:
        found["nftables"] = error.message
    return found


class Kept:
    """What the database says should be there. endpoints, ports: of containers that live."""

    __slots__ = ("endpoints", "networks", "ports")

    def __init__(self, networks: list[Network], endpoints: list[Endpoint], ports: list[Port]) -> None:
        self.networks = networks
        self.endpoints = endpoints
        self.ports = ports

    def used(self) -> list[Network]:
        """Networks in which a container lives."""
        inhabited = {one.network for one in self.endpoints}
        return [network for network in self.networks if network.id in inhabited and network.driver == BRIDGE]


def kept(engine: Engine) -> Kept:
    database = engine.database
    living = {container for container in network_db.holders(database) if reload.lives(engine, container)}
    endpoints = [one for one in network_db.endpoints(database) if one.container in living]
    published = network_db.ports_by_container(database)
    return Kept(
        network_db.networks(database), endpoints, [port for one in sorted(living) for port in published.get(one, ())]
    )


def standing(engine: Engine) -> Iterator[Finding]:
    """Whether what living containers need is there. The caller has seen that there is an nft."""
    wanted = kept(engine)
    used = wanted.used()
    if not used:
        yield Finding("networks", OK, f"{len(wanted.networks)} known, no container on any that needs rules")
        return
    table = firewall.table_name(engine.roots.root)
    faults = [] if firewall.present(table) else [f"the rules of table {table} are gone or changed"]
    if not faults:
        faults = list(_elements(table, wanted))
    faults += [fault for network in used for fault in _place(engine, network)]
    for fault in faults:
        yield Finding("networks", WARN, fault, RELOAD)
    if not faults:
        count = len({one.container for one in wanted.endpoints})
        yield Finding("networks", OK, f"rules, bridges and resolvers of {count} running containers are in place")


def _place(engine: Engine, network: Network) -> Iterator[str]:
    """Faults of a bridge and its resolver."""
    found = bridge.find(network.interface)
    if found is None:
        yield f'the bridge {network.interface} of the network "{network.name}" is gone: start its containers again'
    elif found.alias != bridge.alias(network):
        yield f'{network.interface}, the bridge of the network "{network.name}", has been replaced by somebody else\'s'
    elif not found.up:
        yield f'the bridge {network.interface} of the network "{network.name}" is down'
    elif release.has_names(network) and not resolver.alive(naming.directory(engine, network)):
        yield f'nobody answers for names on the network "{network.name}"'


def _elements(table: str, wanted: Kept) -> Iterator[str]:
    """Sets and maps that lack something, or hold what belongs to nobody."""
    try:
        objects = [entry for family in ("inet", "bridge") for entry in foreign.listing("table", family, table)]
    except MinirtError:
        yield f"the table {table} cannot be listed"
        return
    real = {
        body["name"]: {_plain(entry) for entry in body.get("elem", [])}
        for entry in objects
        for kind, body in entry.items()
        if kind in ("set", "map")
    }
    pinned = [one for one in wanted.endpoints if one.veth]
    for name, members in ruleset.elements(wanted.networks, pinned, wanted.ports).items():
        expected = {(key.replace('"', ""), data) for key, data in members.items()}
        lacking = expected - real.get(name, set())
        if lacking and name != UNCOMPARED:
            yield f"{name} of table {table} lacks {len(lacking)} of {len(expected)} elements: {min(lacking)[0]}"


def _plain(entry: object) -> tuple[str, str]:
    """(key, data) of an element as the listing has it."""
    if isinstance(entry, list):
        return foreign.words(entry[0]), foreign.words(entry[1])
    return foreign.words(entry), ""
