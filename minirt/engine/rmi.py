# SPDX-License-Identifier: Apache-2.0
"""`rmi`: take a name from an image, or remove the image, by Docker's rules (docker-rmi(1), moby's image_delete.go).

The rules are asked and the index is changed under the locks of the collection, so no container can come between. An
image that a stopped container uses can be removed by force: its layers stay as long as the container. That of a
running one stays, without names.
"""

from __future__ import annotations

from minirt.engine import events, lifecycle, reconcile
from minirt.errors import Conflict, MinirtError, StoreError
from minirt.image import garbage, references
from minirt.image.layout import Layout
from minirt.model import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.engine.store import Engine
    from minirt.image.manifest import Descriptor
    from minirt.image.references import Owner


class _User:
    """A container that was made from the image."""

    __slots__ = ("id", "running")

    def __init__(self, identity: str, running: bool) -> None:
        self.id = identity
        self.running = running


def rmi(engine: Engine, text: str, force: bool = False) -> list[str]:
    """What was done, one line each: "Untagged: …", "Deleted: …". Raises NotFound, Conflict, StoreError; nothing was
    changed then."""
    engine.roots.prepare()
    layout = Layout(engine.roots.root)
    lines: list[str] = []
    removed: list[Owner] = []
    touched = ""

    def change(there: list[Descriptor]) -> list[dict[str, Any]]:
        nonlocal touched
        found = references.owners(layout, there)
        owner, name = references.choose(found, text)
        touched = owner.id
        lines.extend(_remove(owner, name, text, users(engine, owner), force))
        if not owner.kept:
            removed.append(owner)
        return references.index(there, found)

    freed = garbage.collect(layout, lambda: layers_in_use(engine), change)
    tell(engine, touched, len(lines), bool(removed))
    for owner in removed:
        lines += deleted(owner, freed)
    return lines


def tell(engine: Engine, digest: str, names: int, gone: bool) -> None:
    """The events: one for each name that was taken from the image, and one for the image if it is gone."""
    for action in ["untag"] * names + ["delete"] * gone:
        events.of_image(engine, action, f"sha256:{digest}", f"sha256:{digest}")


def deleted(owner: Owner, freed: garbage.Freed) -> list[str]:
    """Docker's lines for an image that is gone: its id, then those of its layers that nobody else has, top first."""
    layers = [diff_id for diff_id in reversed(owner.diff_ids) if diff_id in freed.layers]
    return [f"Deleted: sha256:{digest}" for digest in [owner.id, *dict.fromkeys(layers)]]


def untagged(owner: Owner) -> list[str]:
    """Takes every name from it."""
    gone = owner.names
    owner.tags, owner.digests = [], []
    return [f"Untagged: {references.shown(name)}" for name in gone]


def users(engine: Engine, owner: Owner) -> list[_User]:
    """The containers of this image, running ones first."""
    found = []
    for row in engine.database.all() if engine.has_containers() else ():
        if (row.image_id or "").removeprefix("sha256:") == owner.id:
            found.append(_User(row.id, reconcile.look(engine, row).status in lifecycle.ALIVE))
    return sorted(found, key=lambda user: not user.running)


def layers_in_use(engine: Engine) -> set[str]:
    """The diff-ids of the layers that containers stand on. StoreError where that of one is not known."""
    found: set[str] = set()
    for name, options in engine.database.options() if engine.has_containers() else ():
        try:
            found.update(str(path).rpartition("/")[2] for path in json.loads(options)["layers"])
        except (MinirtError, KeyError, TypeError):
            raise StoreError(
                f"the stored options of container {name} are damaged: which layers it stands on is not known",
                f"remove it first: minirt rm -f {name}",
            ) from None
    return found


def _remove(owner: Owner, name: str, text: str, using: list[_User], force: bool) -> list[str]:
    """Docker's decisions. The owner is changed; `kept` says whether the image stays."""
    lines: list[str] = []
    if name:
        if not force and owner.in_one_repository() and using:
            raise Conflict(
                f'conflict: unable to remove repository reference "{text}" (must force) - container '
                f"{using[0].id[:12]} is using its referenced image {owner.id[:12]}",
                "remove the container first: minirt rm; or rmi -f",
            )
        lines = [f"Untagged: {references.shown(gone)}" for gone in owner.drop(name)]
        if owner.names:
            return lines
        if using and (using[0].running or not force):
            return lines  # it goes on without a name
    else:
        _refuse(owner, using, force)
        lines = untagged(owner)
    owner.kept = False
    return lines


def _refuse(owner: Owner, using: list[_User], force: bool) -> None:
    """An id was given: what speaks against removing the image with all its names."""
    short = owner.id[:12]
    if using and using[0].running:
        raise Conflict(
            f"conflict: unable to delete {short} (cannot be forced) - image is being used by running container "
            f"{using[0].id[:12]}",
            "stop and remove the container first",
        )
    if force:
        return
    if not owner.in_one_repository():
        raise Conflict(
            f"conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories",
            "remove it by its names, or use rmi -f",
        )
    if using:
        raise Conflict(
            f"conflict: unable to delete {short} (must be forced) - image is being used by stopped container "
            f"{using[0].id[:12]}",
            "remove the container first: minirt rm; or rmi -f",
        )
