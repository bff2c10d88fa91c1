# SPDX-License-Identifier: Apache-2.0
"""`system check`: whether the store of images and the records of containers are whole, and with --repair their
repair. What is damaged is named; everything else goes on working."""

from __future__ import annotations

import os

from minirt.engine import lifecycle, reconcile, rmi, store
from minirt.errors import MinirtError
from minirt.image.check import Checked, check
from minirt.image.layout import Layout
from minirt.image.repair import repair
from minirt.runtime import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.store import Engine


def examine(engine: Engine) -> Checked:
    """All that is wrong. StoreError only where the database cannot be opened at all."""
    engine.roots.prepare()
    found = check(Layout(engine.roots.root))
    for problem in engine.database.problems():
        found.fault("database", engine.roots.database, problem, "restore it from a copy")
    for listed in engine.database.all():
        row = engine.database.by_id(listed.id)
        if row is None:
            continue
        name = f"{row.name} ({row.id[:12]})"
        remedy = f"remove it: minirt rm -f {row.name}"
        try:
            layers = store.record(row).layers
            bundle.read_spec(engine.roots.container(row.id))
        except (MinirtError, OSError) as error:
            why = error.message if isinstance(error, MinirtError) else str(error.strerror)
            found.fault("container", name, why, remedy)
            continue
        for layer in layers:
            if not os.path.isdir(str(layer)):
                digits = str(layer).rpartition("/")[2]
                found.fault("container", name, f"stands on the layer sha256:{digits[:12]}, which is missing", remedy)
    return found


def mend(engine: Engine, found: Checked) -> list[str]:
    """What was done, one line each."""
    return repair(Layout(engine.roots.root), found, lambda: rmi.layers_in_use(engine), lambda: _busy(engine))


def _busy(engine: Engine) -> set[str]:
    """The diff-ids that running containers stand on."""
    found: set[str] = set()
    for listed in engine.database.all():
        row = engine.database.by_id(listed.id)
        if row is not None and reconcile.look(engine, row).status in lifecycle.ALIVE:
            found.update(str(path).rpartition("/")[2] for path in store.record(row).layers)
    return found
