# SPDX-License-Identifier: Apache-2.0
"""`network reload`: what the database knows of networks is put back into the kernel: bridges, nftables, resolvers.

Somebody may have flushed nftables, or the host has been rebooted: the next command that needs the tables finds them
incomplete and comes here, in one transaction for the kernel. Of containers only those count that live or are just
being born; what dead ones hold is given back by whoever settles them. Must not import image.
"""

from __future__ import annotations

from minirt.engine import lifecycle, lock, network_db, reconcile, release, sockets
from minirt.errors import MinirtError
from minirt.model.network import BRIDGE
from minirt.network import bridge, firewall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.store import Engine


def reload(engine: Engine) -> None:
    """All of it, also what is there. Raises HostError with the name of the package that is missing, Conflict where
    somebody else's interface has a network's name: all else is done then. What dead containers hold is given back
    first, so that no resolver comes back for them."""
    for container in network_db.holders(engine.database):
        row = engine.database.by_id(container)
        if row is not None:
            reconcile.settle_if_free(engine, row)
    with release.alone(engine):
        failures = restore_locked(engine)
    release.refresh_names(engine, [network.id for network in network_db.networks(engine.database)])
    for container in network_db.holders(engine.database):
        row = engine.database.by_id(container)
        seen = reconcile.look(engine, row) if row is not None else None
        if seen is not None and seen.state is not None and seen.state.alive():
            sockets.revive(engine, container, seen.state.pid, seen.state.start_ticks)
    if failures:
        raise failures[0]


def restore(engine: Engine) -> None:
    """Bridges and nftables."""
    with release.alone(engine):
        restore_locked(engine)


def restore_locked(engine: Engine) -> list[MinirtError]:
    """As `restore`, by who holds the lock on networks alone. What is wrong with single networks, for who cares: a
    container that wants one of these finds out by itself."""
    failures = []
    database = engine.database
    networks = network_db.networks(database)
    living = {container for container in network_db.holders(database) if lives(engine, container)}
    for network in networks:
        if network.driver == BRIDGE:
            try:
                bridge.ensure(network, whole=True)
            except MinirtError as error:
                failures.append(error)
    endpoints = [one for one in network_db.endpoints(database) if one.container in living and one.veth]
    try:
        bridge.adopt(networks, endpoints)
    except MinirtError as error:
        failures.append(error)
    published = network_db.ports_by_container(database)
    ports = [port for container in living for port in published.get(container, ())]
    firewall.load(firewall.table_name(engine.roots.root), networks, endpoints, ports)
    return failures


def lives(engine: Engine, container: str) -> bool:
    """Whether it runs, or somebody is at work on it: perhaps at its birth."""
    row = engine.database.by_id(container)
    if row is None:
        return False
    if reconcile.look(engine, row).status in lifecycle.ALIVE:
        return True
    return lock.held(engine.roots.container(container)) or lock.held(engine.roots.run(container))
