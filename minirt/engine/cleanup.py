# SPDX-License-Identifier: Apache-2.0
"""What the monitor runs after a container's end when nobody else will: `minirt internal-cleanup ID`.

The container asked for --rm, has addresses and ports to give back or a restart policy, and its caller is gone. Whoever
holds the lock meanwhile does the same. A waiter (csrc/waiter.c) executes the same command when its time has come: then
it is on record in run/waiter, and restarts the container.
"""

from __future__ import annotations

import os

from minirt.engine import lifecycle, lock, network_flags, pending, reconcile
from minirt.errors import MinirtError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.db import Row
    from minirt.engine.options import RunOptions
    from minirt.engine.store import Engine


def is_wanted(options: RunOptions) -> bool:
    """Whether such a container's end is to be settled at once, not when the next command comes by."""
    return options.auto_remove or bool(options.restart) or network_flags.mode(options)[0] == network_flags.BRIDGE


def cleanup(engine: Engine, identity: str) -> None:
    held = lock.acquire(engine.roots.container(identity))
    if held is None:
        return
    with held:
        row = engine.database.by_id(identity)
        ours = row is not None and pending.is_ours(engine.roots.run(identity))
        settled = reconcile.settle(engine, row) if row is not None else None
        if ours and settled is not None and settled.status == lifecycle.RESTARTING:
            _restart(engine, settled)


def _restart(engine: Engine, row: Row) -> None:
    """Its turn has come. Where that fails another waiter is set off, as the row then says."""
    from minirt.engine import start

    try:
        os.close(start.again(engine, row).control)
    except (MinirtError, OSError):
        current = engine.database.by_id(row.id)
        if current is not None and current.status == lifecycle.RESTARTING:
            pending.set_off(engine, row.id, current.delay_ms or 0)
        raise
