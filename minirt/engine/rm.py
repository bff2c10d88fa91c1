# SPDX-License-Identifier: Apache-2.0
"""`rm`: remove a container, its directory, and on request what it runs and its anonymous volumes (docker-rm(1))."""

from __future__ import annotations

from minirt.engine import lifecycle, reconcile
from minirt.runtime import state as states
from minirt.runtime import stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.store import Engine


def rm(engine: Engine, ref: str, force: bool = False, volumes: bool = False) -> None:
    """Raises NotFound; Conflict where it runs and `force` is not given; HostError where it cannot be killed."""
    row = engine.find(ref)
    if force:
        _kill(engine, row.id)
    row, held = engine.locked(row.id)
    with held:
        settled = reconcile.settle(engine, row)
        if settled is None:
            return  # it had ended and asked for --rm, or was half removed: now it is gone
        lifecycle.after(settled.status, "rm-f" if force else "rm", row.id, row.name)
        if settled.status in lifecycle.ALIVE:
            engine.database.update(row.id, status=lifecycle.REMOVING)
        reconcile.discard(engine, settled, volumes or bool(settled.auto_remove))


def _kill(engine: Engine, identity: str) -> None:
    """Without the lock: whoever holds it may be waiting for just this end (`restart`)."""
    state = states.read(engine.roots.run(identity))
    if state is not None and state.alive():
        stop.kill_all(state, engine.cgroup(identity))
