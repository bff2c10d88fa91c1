# SPDX-License-Identifier: Apache-2.0
"""A container's places in its networks: taken when it starts, given back when it has ended (engine/release.py).

    shared lock { rows ── sockets ── nft elements } ── resolver ── hosts ── birth ── proxy

Rows come first: a `kill -9` at any later point leaves them, and `settle` gives back by them what there may be. All that
a birth needs of the host is there before it, so a taken port is refused before anything starts. Must not import image.
"""

from __future__ import annotations

import os
import time

from minirt.engine import (
    default_network,
    etc,
    events,
    leases,
    lifecycle,
    lock,
    network_db,
    network_flags,
    reconcile,
    release,
)
from minirt.engine import reload as reload_
from minirt.engine import sockets as sockets_
from minirt.errors import Conflict, InvalidValue, MinirtError
from minirt.model.network import BRIDGE, DEFAULT
from minirt.network import bridge, firewall
from minirt.plan import publish
from minirt.plan.network import Link
from minirt.plan.step import Plan
from minirt.runtime import stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from minirt.engine.db import Row
    from minirt.engine.network_flags import Wanted
    from minirt.engine.record import Record
    from minirt.engine.store import Engine
    from minirt.model.network import Endpoint, Network, Port
    from minirt.runtime.launch import Started

ATTEMPTS = 500
PROXY = "minirt:proxy"  # csrc/proxy.c
PATIENCE_S, PAUSE_S, SETTLE_S = 3.0, 0.01, 2.0
IPV6 = "/proc/sys/net/ipv6"

give = release.give


class Taken:
    """What a start holds of the network; a context manager. links: for the birth. plan: the host steps that were made
    already. If the block raises, all is given back; afterwards only the rows and nftables keep it, and the proxy that
    `serve` started."""

    __slots__ = ("container", "endpoints", "engine", "links", "networks", "patience", "plan", "ports", "sockets")

    def __init__(self, engine: Engine, container: str) -> None:
        self.engine = engine
        self.container = container
        self.networks: list[Network] = []
        self.endpoints: list[Endpoint] = []
        self.ports: list[Port] = []
        self.links: tuple[Link, ...] = ()
        self.plan = Plan(())
        self.sockets: list[sockets_.Bound] = []
        self.patience = time.monotonic() + PATIENCE_S

    def apply(self, spec: dict[str, Any]) -> None:
        """What the specification must say for these links: no IPv6 but on lo where no network has any (NET-07)."""
        if self.links and not any(network.subnet6 for network in self.networks) and os.path.isdir(IPV6):
            spec["linux"].setdefault("sysctl", {}).setdefault("net.ipv6.conf.default.disable_ipv6", "1")

    def serve(self, started: Started) -> None:
        """Hand the published ports' sockets to a proxy."""
        sockets_.serve(self.sockets, started.pid, started.start_ticks)

    def close(self) -> None:
        """Our own copies of the sockets."""
        while self.sockets:
            os.close(self.sockets.pop()[0])

    def __enter__(self) -> Taken:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """A container that was born all the same is ended: without what it leased it may not go on."""
        self.close()
        if kind is not None:
            stop.kill_and_wait(self.engine.roots.run(self.container), self.engine.cgroup(self.container))
            _undo(self.engine, self.container)


def take(engine: Engine, row: Row, record: Record) -> Taken:
    """Lease what the container's options ask for. The caller holds its lock, and it does not run.

    Raises NotFound (network), Conflict (address, port), InvalidValue, HostError (nft or dnsmasq missing), StepFailed;
    nothing is left then.
    """
    give(engine, row.id)  # what a start that was killed had taken
    taken = Taken(engine, row.id)
    wanted = network_flags.wanted(record.options)
    if not wanted:
        return taken
    published = network_flags.ports(
        record.options.publish, record.options.publish_all,
        network_flags.exposed(record.options.expose, record.config),
    )  # fmt: skip
    try:
        _take(taken, wanted, published)
        _flush_stale_flows(taken.ports)
        for network in taken.networks:
            if release.has_names(network):
                from minirt.engine import naming

                naming.refresh(engine, network)
        write_files(engine, row.id, record, list(zip(taken.networks, taken.endpoints, strict=True)))
    except BaseException:
        taken.close()
        _undo(engine, row.id)
        raise
    for network in taken.networks:
        events.about_network(engine, network, "connect", row.id)
    return taken


def _undo(engine: Engine, container: str) -> None:
    """Give back on the way out of a failure, which is the one to tell: what cannot be given back now is settled later,
    by the rows that are left."""
    try:
        give(engine, container)
    except (MinirtError, OSError):
        pass


def write_files(engine: Engine, container: str, record: Record, places: Sequence[tuple[Network, Endpoint]]) -> None:
    """hosts and resolv.conf, now that the addresses are known."""

    def around() -> dict[str, list[str]]:
        from minirt.engine import naming

        return naming.around(engine, container)

    etc.join(engine.roots.container(container), record.hostname, record.options, places, around)


def _take(taken: Taken, wanted: Sequence[Wanted], published: Sequence[network_flags.WantedPort]) -> None:
    """Until it succeeds or nothing more can be done: what dead containers hold is given back, a port that a process
    has is passed over where another would do."""
    engine = taken.engine
    refused: set[tuple[str, int]] = set()
    settled: set[str] = set()
    for _ in range(ATTEMPTS):
        with ready(engine, wanted):
            try:
                places = _places(engine, wanted)
                taken.networks = [network for network, _ in places]
                taken.endpoints, taken.ports = network_db.lease(
                    engine.database, taken.container,
                    lambda places=places: leases.choose(  # type: ignore[misc]
                        engine.database, taken.container, places, published, refused
                    ),
                )  # fmt: skip
                taken.sockets, taken.plan = sockets_.take(engine, taken.endpoints, taken.ports)
                taken.links = links(places, taken.endpoints)
                return
            except leases.Held as error:
                held: leases.Held | None = error
            except sockets_.PortTaken as error:
                _retry(taken, published[taken.ports.index(error.port)], error, refused)
                held = None
        give(engine, taken.container)
        if held is None:
            continue
        if not _settle(engine, held.holders - settled):
            raise held
        settled |= held.holders
    raise Conflict("all ports are allocated", f"see {leases.EPHEMERAL} and ss -ltnup")


def _settle(engine: Engine, holders: set[str]) -> bool:
    """Whether any of these containers has given back what it held, because it does not run any more. Its own monitor
    may be at it this moment; but two that start may also wait for one another, so not for long."""
    freed = False
    for container in sorted(holders):
        row = engine.database.by_id(container)
        if row is not None and reconcile.look(engine, row).status not in lifecycle.ALIVE:
            try:
                reconcile.settle_waiting(engine, row, SETTLE_S)
            except Conflict:
                continue
        freed = freed or not network_db.is_holder(engine.database, container)
    return freed


def ready(engine: Engine, wanted: Sequence[Wanted]) -> lock.Lock:
    """The shared lock (a context manager), with our tables whole and, if it is wanted, the default network made."""
    table = firewall.table_name(engine.roots.root)
    if any(one.network == DEFAULT for one in wanted):
        default_network.ensure(engine)
    for _ in range(3):
        held = release.shared(engine)
        try:
            if firewall.present(table, engine.sockets):
                return held
        except BaseException:
            held.release()
            raise
        held.release()
        reload_.restore(engine)
    return release.shared(engine)


def _places(engine: Engine, wanted: Sequence[Wanted]) -> list[leases.Place]:
    found: list[leases.Place] = []
    for one in wanted:
        network = network_db.network_by(engine.database, one.network)
        if any(network.id == other.id for other, _ in found):
            raise InvalidValue(f'network "{network.name}" is specified multiple times', "name each network once")
        found.append((network, one))
    return found


def links(places: Sequence[leases.Place], endpoints: Sequence[Endpoint]) -> tuple[Link, ...]:
    """What a birth makes of them. Each family's default route leads through the first network that has a way out;
    the default network's IPv6 stays on the host."""
    found = []
    routed: set[int] = set()
    for (network, wanted), one in zip(places, endpoints, strict=True):
        gateways = []
        for family, gateway in ((4, network.gateway4), (6, "" if network.is_default else network.gateway6)):
            if gateway and not network.internal and family not in routed:
                routed.add(family)
                gateways.append(gateway)
        pairs = ((one.address4, one.prefix4), (one.address6, one.prefix6))
        found.append(
            Link(
                network.driver, one.interface, one.index, one.mac, network.mtu, one.veth, master(network),
                tuple(pair for pair in pairs if pair[0]), tuple(gateways), f"--network {wanted.network}",
                network.interface,
            )
        )  # fmt: skip
    return tuple(found)


def master(network: Network) -> int:
    """The ifindex on the host: the bridge, made if it is missing, or macvlan's parent."""
    return bridge.ensure(network) if network.driver == BRIDGE else bridge.parent_index(network.interface)


def _retry(
    taken: Taken, wanted: network_flags.WantedPort, error: sockets_.PortTaken, refused: set[tuple[str, int]]
) -> None:
    """Make ready for another try, or raise Conflict: another port would do, or it is the proxy of a container that has
    just ended, which goes with its monitor and needs a moment for it."""
    if leases.is_open(wanted):
        refused.add((error.port.protocol, error.port.host_port))
        return
    owner = error.owner()
    going = all(one.startswith(f"{PROXY}[") for one in owner.split(", ")) if owner else True
    if not going or time.monotonic() > taken.patience:
        raise error.explained(owner) from None
    time.sleep(PAUSE_S)


def pin(engine: Engine, endpoints: Sequence[Endpoint]) -> None:
    """Guard these in nftables. StepFailed."""
    plan = publish.take(firewall.table_name(engine.roots.root), [one for one in endpoints if one.veth], ())
    engine.sockets += release.carry_out(plan).values()


def _flush_stale_flows(ports: Sequence[Port]) -> None:
    datagrams = [port for port in ports if port.protocol == "udp"]
    if datagrams:
        from minirt.network import conntrack

        conntrack.flush(datagrams)
