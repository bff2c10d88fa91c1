# SPDX-License-Identifier: Apache-2.0
"""`export`: a container's file system, as it is seen inside, as one archive (docker-export(1)).

Volumes and other mounts are not part of it, their mount points are. A running container is not stopped: what it
changes meanwhile may be in the archive or not. One that does not run is locked, so that nobody starts it.
"""

from __future__ import annotations

import contextlib

from minirt.engine import events, files, lifecycle, reconcile, store
from minirt.errors import Conflict
from minirt.image.pack import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirt.engine.store import Engine
    from minirt.image.sink import Sink


def export(engine: Engine, ref: str, sink: Sink, warn: Callable[[str], None]) -> None:
    """Raises NotFound, Conflict (removed meanwhile), StoreError (cannot be read), SinkError (cannot be written)."""
    with contextlib.ExitStack() as stack:
        row, held = engine.locked(ref)
        stack.callback(held.release)
        settled = reconcile.settle(engine, row)
        if settled is None:
            raise store.missing(ref)
        alive = settled.status in lifecycle.ALIVE
        state = reconcile.look(engine, settled).state if alive else None
        root = stack.enter_context(files.closing(files.merged(engine, settled, store.record(settled), state)))
        if alive:
            held.release()
        pack(root, sink, warn)
        events.of_container(engine, settled, "export")
        if engine.database.by_id(row.id) is None:
            raise Conflict(f"container {row.name} was removed while it was exported", "the archive is not complete")
