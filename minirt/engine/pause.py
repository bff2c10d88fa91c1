# SPDX-License-Identifier: Apache-2.0
"""`pause` and `unpause`: every process of a container stops where it is, and goes on (docker-pause(1);
cgroup.freeze, cgroup-v2.rst). That file is the truth; the row follows it."""

from __future__ import annotations

from minirt.cgroup import freezer
from minirt.engine import events, lifecycle, reconcile, store
from minirt.errors import Conflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirt.engine.store import Engine


def pause(engine: Engine, ref: str) -> None:
    """Raises NotFound, Conflict (not running, already paused), HostError (a process that does not stop)."""
    _change(engine, ref, "pause", freezer.freeze)


def unpause(engine: Engine, ref: str) -> None:
    """Raises NotFound, Conflict (not paused)."""
    _change(engine, ref, "unpause", freezer.thaw)


def _change(engine: Engine, ref: str, verb: str, act: Callable[[str], None]) -> None:
    row, held = engine.locked(ref)
    with held:
        settled = reconcile.settle(engine, row)
        if settled is None:
            raise store.missing(ref)
        status = lifecycle.after(settled.status, verb, row.id, row.name)
        try:
            act(engine.cgroup(row.id))
        except FileNotFoundError:
            raise Conflict(f"container {row.id} is not running") from None
        engine.database.update(row.id, status=status)
        events.of_container(engine, row, verb)
