# SPDX-License-Identifier: Apache-2.0
"""What the monitor runs after a container's end when nobody else will: `minirt internal-cleanup ID`.

The container asked for --rm and its caller is gone. Whoever holds the lock meanwhile does the same.
"""

from __future__ import annotations

from minirt.engine import reconcile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.store import Engine


def cleanup(engine: Engine, identity: str) -> None:
    row = engine.database.by_id(identity)
    if row is not None:
        reconcile.settle_waiting(engine, row)
