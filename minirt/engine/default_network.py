# SPDX-License-Identifier: Apache-2.0
"""The default network: made when a container first wants it, and then it stays (docker0 of Docker, minirt0 here)."""

from __future__ import annotations

import time

from minirt.engine import network_db, release
from minirt.engine.paths import ROOT
from minirt.errors import MinirtError
from minirt.model.network import BRIDGE, DEFAULT, Network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.store import Engine

INTERFACE = "minirt0"


def ensure(engine: Engine) -> None:
    """It is in the database; its bridge comes with the first container."""
    if network_db.network_named(engine.database, DEFAULT) is not None:
        return
    from minirt.engine import reload
    from minirt.network import addresses, bridge, pool

    with release.alone(engine):
        known = network_db.networks(engine.database)
        if any(network.name == DEFAULT for network in known):
            return
        network = unmade(engine)
        network.created_ns = time.time_ns()
        network.subnet4 = pool.subnet4([one.subnet4 for one in known if one.subnet4])
        network.gateway4 = addresses.first_free(network.subnet4, "", "", set()) or ""
        if pool.has_ipv6():
            network.subnet6 = pool.subnet6()
            network.gateway6 = addresses.first_free(network.subnet6, "", "", set()) or ""
        bridge.remove(network)  # of a store that was removed by hand: it had other addresses
        network_db.insert_network(engine.database, network)
        try:
            bridge.ensure(network)
            reload.restore_locked(engine)
        except MinirtError:
            network_db.delete_network(engine.database, network.id)
            raise


def unmade(engine: Engine) -> Network:
    """What is known of it before its first use. Its id follows from the root: it is the same before and after, and a
    bridge that is left of a store which somebody removed is known as this one's."""
    import hashlib

    identity = hashlib.sha256(f"minirt {engine.roots.root}".encode("utf-8", "surrogateescape")).hexdigest()
    interface = INTERFACE if engine.roots.root == ROOT else f"mr-{identity[:12]}"
    return Network(identity, DEFAULT, BRIDGE, interface)
