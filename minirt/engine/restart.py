# SPDX-License-Identifier: Apache-2.0
"""`restart`: stop and start, with nobody else at work in between (docker-restart(1))."""

from __future__ import annotations

import os

from minirt.engine import events, lifecycle, reconcile, restarting, store
from minirt.engine import start as start_
from minirt.engine import stop as stop_

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.store import Engine


def restart(engine: Engine, ref: str, timeout_s: float | None = None, signo: int | None = None) -> None:
    """Stop it if it runs, then start it. A container that asked for --rm survives this (Docker).

    Raises what stop and start raise.
    """
    row, held = engine.locked(ref)
    with held:
        seen = reconcile.look_locked(engine, row)
        lifecycle.after(seen.status, "restart", row.id, row.name)
        if seen.status in lifecycle.ALIVE:
            engine.database.update(row.id, status=lifecycle.RESTARTING)
            stop_.end(engine, row, seen, timeout_s, signo)
        settled = reconcile.settle(engine, row, keep=True)
        if settled is None:
            raise store.missing(ref)
        restarting.forget(engine, settled)
        os.close(start_.again(engine, settled).control)
        events.of_container(engine, settled, "restart")
