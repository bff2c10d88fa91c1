# SPDX-License-Identifier: Apache-2.0
"""Who is called what on a user network: each container's name, short id, aliases there and hostname (Docker).

The network's resolver is told; so are the hosts files of those whom no single resolver can tell all (engine/etc.py).
Looked up and handed over under one lock for each network, so that of two starts at the same time neither forgets the
other. Must not import plan or kernel.
"""

from __future__ import annotations

from minirt.engine import etc, lock, network_db
from minirt.network import resolver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.store import Engine
    from minirt.model.network import Network


def directory(engine: Engine, network: Network) -> str:
    """The resolver's files."""
    return f"{engine.roots.networks}/{network.id}"


def refresh(engine: Engine, network: Network) -> None:
    """The network's resolver runs and knows who is there; without containers it does not run. HostError where dnsmasq
    is missing or cannot start."""
    path = directory(engine, network)
    with lock.share(path, alone=True):
        there = network_db.named(engine.database, network.id)
        if there:
            resolver.ensure(path, network, names(there))
        else:
            resolver.stop(path)
        for container, *_ in there:
            _tell(engine, container)


def _tell(engine: Engine, container: str) -> None:
    etc.neighbours(engine.roots.container(container), lambda: around(engine, container))


def around(engine: Engine, container: str) -> dict[str, list[str]]:
    """{address: names} on all the user networks that a container is on."""
    found: dict[str, list[str]] = {}
    for one in network_db.endpoints(engine.database, container):
        network = network_db.find(engine.database, one.network)
        if network is not None and not network.is_default:
            found |= names(network_db.named(engine.database, network.id))
    return found


def names(there: list[network_db.Named]) -> dict[str, list[str]]:
    """{address: names}, the container's own first: an address leads back to it. An alias may lead to several."""
    found: dict[str, list[str]] = {}
    for container, name, hostname, aliases, *addresses in there:
        known = [name or container[:12], container[:12], *aliases, *([hostname] if hostname else [])]
        for address in addresses:
            if address:
                found[address] = list(dict.fromkeys(known))
    return found
