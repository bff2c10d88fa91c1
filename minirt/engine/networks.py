# SPDX-License-Identifier: Apache-2.0
"""`network`: making, finding and removing networks (docker-network(1)).

A network is a row; its bridge and its part of the nftables tables are made of the row and can be made again. So the
row comes first and goes last: what a `kill -9` leaves is a row whose network works, or nothing. Whoever makes or
removes one holds the lock on networks alone, so that no container is on its way into it.
"""

from __future__ import annotations

import time

from minirt.engine import default_network, erase, events, names, network_db, reconcile, release
from minirt.errors import Conflict, InvalidValue, MinirtError, NotFound
from minirt.model.network import BRIDGE, DEFAULT, Network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.network_config import Request
    from minirt.engine.prune_filter import Filter
    from minirt.engine.store import Engine

SPECIAL = ("host", "none")
PREDEFINED = (DEFAULT, "default", *SPECIAL)


def create(engine: Engine, request: Request) -> Network:
    """Raises InvalidValue, Conflict (its name, its subnet), HostError (what the host lacks); nothing is left then."""
    from minirt.engine import network_config
    from minirt.network import pool

    made = network_config.network(request, names.new_id(), time.time_ns())
    with release.alone(engine):
        there = network_db.networks(engine.database)
        if any(one.name == made.name for one in there):
            raise Conflict(f"network with name {made.name} already exists", f"minirt network rm {made.name}")
        used = [subnet for one in there for subnet in (one.subnet4, one.subnet6) if subnet]
        for subnet in (made.subnet4, made.subnet6):
            if subnet:
                pool.check(subnet, used, made.driver == BRIDGE)
        _choose_subnets(made, used, request.ipv6)
        _establish(engine, made)
    events.of_network(engine, made, "create")
    return made


def _choose_subnets(made: Network, used: list[str], ipv6: bool) -> None:
    from minirt.network import pool

    if not made.subnet4:
        made.subnet4 = pool.subnet4(used)
        made.gateway4 = made.subnet4.rpartition(".")[0] + ".1"
    if ipv6 and not made.subnet6:
        made.subnet6 = pool.subnet6()
        made.gateway6 = made.subnet6.partition("/")[0] + "1"


def _establish(engine: Engine, made: Network) -> None:
    """The row, the bridge, the firewall: all of them, or none."""
    from minirt.engine import reload
    from minirt.network import bridge

    if made.driver != BRIDGE:
        bridge.parent_index(made.interface)
        network_db.insert_network(engine.database, made)
        return
    if bridge.taken(made.interface):
        raise Conflict(
            f"the interface {made.interface} is there and no network of minirt's",
            f"see what it is: ip link show {made.interface}",
        )
    network_db.insert_network(engine.database, made)
    try:
        bridge.ensure(made)
        reload.restore_locked(engine)
    except BaseException:
        bridge.remove(made)
        network_db.delete_network(engine.database, made.id)
        raise


def remove(engine: Engine, ref: str) -> None:
    """Raises NotFound, or Conflict while a container that runs is on it."""
    if ref in PREDEFINED:
        shown = DEFAULT if ref == "default" else ref
        raise InvalidValue(f"{shown} is a pre-defined network and cannot be removed", "others: minirt network ls")
    found = network_db.network_by(engine.database, ref)
    settle_holders(engine, found.id)
    with release.alone(engine):
        found = network_db.network_by(engine.database, found.id)
        if found.is_default:
            raise InvalidValue("bridge is a pre-defined network and cannot be removed", "others: minirt network ls")
        there = network_db.endpoints(engine.database, network=found.id)
        if there:
            raise Conflict(
                f"error while removing network: network {found.name} has active endpoints "
                f"({', '.join(_shown(engine, one.container) for one in there)})",
                f"stop them, or minirt network disconnect {found.name} CONTAINER",
            )
        _demolish(engine, found)


def _shown(engine: Engine, identity: str) -> str:
    row = engine.database.by_id(identity)
    return f'name:"{row.name if row else ""}" id:"{identity[:12]}"'


def _demolish(engine: Engine, network: Network) -> None:
    """Its bridge, its row, its part of the tables. An nft that is gone by now keeps no network from going."""
    from minirt.engine import naming, reload
    from minirt.network import bridge, resolver

    place = naming.directory(engine, network)
    resolver.stop(place)
    erase.tree(place)
    if network.driver == BRIDGE:
        bridge.remove(network)
    network_db.delete_network(engine.database, network.id)
    events.of_network(engine, network, "destroy")
    if network.driver == BRIDGE:
        try:
            reload.restore_locked(engine)
        except MinirtError:
            pass  # what is left in the sets names an interface that is gone; whoever loads them next drops it


def settle_holders(engine: Engine, identity: str) -> None:
    """Containers that have ended unnoticed give back what they have leased of the network."""
    for one in network_db.endpoints(engine.database, network=identity):
        row = engine.database.by_id(one.container)
        if row is not None:
            reconcile.settle_if_free(engine, row)


def prune(engine: Engine, wanted: Filter) -> list[str]:
    """Removes the networks on which no container runs: their names."""
    removed = []
    for network in listed(engine):
        if network.is_default or not wanted.passes(network.created_ns, network.labels):
            continue
        try:
            remove(engine, network.id)
        except (Conflict, NotFound):
            continue
        removed.append(network.name)
    return removed


def listed(engine: Engine) -> list[Network]:
    """Those with a row, and the default one also before its first use; by name. host and none are no rows."""
    found = network_db.networks(engine.database)
    if not any(one.is_default for one in found):
        found.append(default_network.unmade(engine))
    return sorted(found, key=lambda one: one.name)


def find(engine: Engine, ref: str) -> Network:
    """As network_by, and the default one also before its first use. Raises NotFound, Conflict."""
    try:
        return network_db.network_by(engine.database, ref)
    except NotFound:
        unmade = default_network.unmade(engine)
        if ref in (DEFAULT, "default") or (len(ref) >= 4 and unmade.id.startswith(ref)):
            return unmade
        raise
