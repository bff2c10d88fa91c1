# SPDX-License-Identifier: Apache-2.0
"""`push`: images of the store to their registry, told in Docker's words (docker-push(1))."""

from __future__ import annotations

from minirt.engine import events
from minirt.errors import InvalidValue, MinirtError, NotFound, RegistryError
from minirt.image import find as images
from minirt.image import names
from minirt.image import push as push_
from minirt.image.layout import Layout
from minirt.image.registry.refusal import Refusal
from minirt.image.registry.settings import Settings
from minirt.model import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.store import Engine
    from minirt.image.progress import Progress
    from minirt.image.push import Pushed
    from minirt.model.reference import Reference


def named(engine: Engine, text: str, every: bool) -> list[Reference]:
    """The tags to push: the one that `text` names, or all of its repository that are here."""
    name = reference.parse(text)
    if name.digest is not None:
        raise InvalidValue("cannot push a digest reference", "push a tag: NAME:TAG")
    if name.domain == "localhost":
        raise InvalidValue(
            f'"{text}" names no registry', "localhost takes a port: minirt tag IMAGE localhost:5000/NAME, and push that"
        )
    if not every:
        return [name.tagged()]
    if name.tag is not None:
        raise InvalidValue("tag can't be used with --all-tags/-a", "leave out the tag, or --all-tags")
    here = [reference.parse(one.name) for one in images.images(engine.roots.root) if one.name]
    found = [one for one in here if one.name == name.name and one.tag is not None and one.digest is None]
    if not found:
        raise _missing(name)
    return sorted(found, key=str)


def push(engine: Engine, name: Reference, progress: Progress) -> Pushed:
    """Raises NotFound, RegistryError, StoreError."""
    layout = Layout(engine.roots.root)
    descriptor = names.named(layout, str(name))
    if descriptor is None:
        raise _missing(name)
    try:
        pushed = push_.push(layout, descriptor, name, Settings(warn=progress.warn), progress)
    except (NotFound, RegistryError) as error:
        raise _told(error) from error
    events.of_image(engine, "push", name.short(), name.familiar)
    return pushed


def _missing(name: Reference) -> NotFound:
    return NotFound(
        f"An image does not exist locally with the tag: {name.familiar}",
        "minirt images lists them; minirt tag gives one this name",
    )


def _told(error: MinirtError) -> MinirtError:
    """Docker's words where the registry refuses the push."""
    if isinstance(error, Refusal) and error.status in (401, 403):
        return RegistryError(f"denied: requested access to the resource is denied: {error.message}", error.remedy)
    return error
