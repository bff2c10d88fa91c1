# SPDX-License-Identifier: Apache-2.0
"""What the resolver of a user network answers: each container's name, short id and aliases there (Docker).

Looked up and handed over under one lock for each network, so that of two starts at the same time neither forgets the
other. Must not import plan or kernel.
"""

from __future__ import annotations

from minirt.engine import leases, lock, network_db, release
from minirt.network import resolver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.store import Engine
    from minirt.model.network import Network


def directory(engine: Engine, network: Network) -> str:
    """The resolver's files."""
    return f"{release.folder(engine)}/{network.id}"


def refresh(engine: Engine, network: Network) -> None:
    """The network's resolver runs and knows who is there; without containers it does not run. HostError where dnsmasq
    is missing or cannot start."""
    path = directory(engine, network)
    with lock.share(path, alone=True):
        names = known(engine, network)
        if names:
            resolver.ensure(path, network, names)
        else:
            resolver.stop(path)


def known(engine: Engine, network: Network) -> dict[str, list[str]]:
    """{address: names}. An alias may lead to several."""
    found: dict[str, list[str]] = {}
    for one in network_db.endpoints(engine.database, network=network.id):
        names = [leases.name_of(engine.database, one.container), one.container[:12]]
        names += [alias for alias in one.aliases if alias not in names]
        for address in (one.address4, one.address6):
            if address:
                found[address] = list(names)
    return found
