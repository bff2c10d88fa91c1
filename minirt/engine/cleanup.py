# SPDX-License-Identifier: Apache-2.0
"""What the monitor runs after a container's end when nobody else will: `minirt internal-cleanup ID`.

The container asked for --rm, or has addresses and ports to give back, and its caller is gone. Whoever holds the lock
meanwhile does the same.
"""

from __future__ import annotations

from minirt.engine import network_flags, reconcile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.options import RunOptions
    from minirt.engine.store import Engine


def is_wanted(options: RunOptions) -> bool:
    """Whether such a container's end is to be settled at once, not when the next command comes by."""
    return options.auto_remove or network_flags.mode(options)[0] == network_flags.BRIDGE


def cleanup(engine: Engine, identity: str) -> None:
    row = engine.database.by_id(identity)
    if row is not None:
        reconcile.settle_waiting(engine, row)
