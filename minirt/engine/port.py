# SPDX-License-Identifier: Apache-2.0
"""`port`: what a container that runs has published (docker-port(1))."""

from __future__ import annotations

from minirt.engine import lifecycle, network_db, publications, reconcile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.publications import Binding
    from minirt.engine.store import Engine


def port(engine: Engine, ref: str) -> list[Binding]:
    """By container port; none where it does not run. Raises NotFound."""
    row = engine.find(ref)
    if reconcile.look(engine, row).status not in lifecycle.ALIVE:
        return []
    return publications.bindings(network_db.ports(engine.database, row.id))
