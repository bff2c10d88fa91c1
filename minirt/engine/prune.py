# SPDX-License-Identifier: Apache-2.0
"""`container prune`, `image prune`, `system prune`: what nobody uses any more, in one go (docker-system-prune(1)).

Each returns what it removed and how many bytes that gave back. Containers go first: they keep images and volumes.
"""

from __future__ import annotations

from minirt.engine import lifecycle, moment, ps, reconcile, rmi, store, usage
from minirt.errors import Conflict, MinirtError, NotFound
from minirt.image import garbage, references
from minirt.image.layout import Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.engine.prune_filter import Filter
    from minirt.engine.store import Engine
    from minirt.image.manifest import Descriptor
    from minirt.image.references import Owner


def containers(engine: Engine, wanted: Filter) -> tuple[list[str], int]:
    """Removes those that do not run: (ids, bytes). Anonymous volumes stay, as with rm. What cannot be removed is
    left; `rm` says why."""
    removed, size = [], 0
    for one in ps.ps(engine, all=True):
        row = engine.database.by_id(one.id)
        if row is None or one.status not in (lifecycle.CREATED, lifecycle.EXITED):
            continue
        try:
            if not wanted.passes(row.created_ns, store.record(row).labels if wanted.labels or wanted.without else {}):
                continue
            found = usage.tree(f"{engine.roots.container(row.id)}/upper")
            _remove(engine, row.id)
        except (MinirtError, OSError):
            continue
        removed.append(row.id)
        size += found
    return removed, size


def _remove(engine: Engine, identity: str) -> None:
    """Unless it runs by now."""
    row, held = engine.locked(identity)
    with held:
        settled = reconcile.settle(engine, row)
        if settled is None:
            raise NotFound(identity)
        if settled.status not in (lifecycle.CREATED, lifecycle.EXITED):
            raise Conflict(identity)
        reconcile.discard(engine, settled, volumes=bool(settled.auto_remove))


def images(engine: Engine, every: bool, wanted: Filter) -> tuple[list[str], int]:
    """Removes images without a name, with `every` all that no container uses, and what broken-off pulls and loads
    have left: (lines as rmi has them, bytes)."""
    engine.roots.prepare()
    layout = Layout(engine.roots.root)
    lines: list[tuple[Owner, list[str]]] = []

    def change(there: list[Descriptor]) -> list[dict[str, Any]]:
        found = references.owners(layout, there)
        rows = engine.database.all() if engine.has_containers() else []
        used = {(row.image_id or "").removeprefix("sha256:") for row in rows}
        for owner in found:
            passes = wanted.passes(created_ns(owner.created), owner.labels)
            named = bool(owner.tags) or any(one.ref_name for one in owner.descriptors)  # also one pulled by digest
            if (every or not named) and passes and not owner.damaged and owner.id not in used:
                lines.append((owner, rmi.untagged(owner)))
                owner.kept = False
        return references.index(there, found)

    freed = garbage.collect(layout, lambda: rmi.layers_in_use(engine), change, abandoned=True)
    for owner, gone in lines:
        rmi.tell(engine, owner.id, len(gone), True)
    return [line for owner, gone in lines for line in gone + rmi.deleted(owner, freed)], freed.size


def created_ns(text: str) -> int:
    """When an image says that it was made; 0 where it does not, or in no known form."""
    try:
        return moment.parse(text) if text != moment.NEVER else 0
    except (ValueError, IndexError):
        return 0
