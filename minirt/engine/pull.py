# SPDX-License-Identifier: Apache-2.0
"""`pull`, and the pull that `run` and `create` begin with where an image is missing (docker-pull(1)).

What the registry answers is told in Docker's words here. A name at "localhost" without a port is nobody's registry:
such images are made on this host.
"""

from __future__ import annotations

from minirt.engine import events
from minirt.errors import InvalidValue, NoSuchImage, NotFound, RegistryError
from minirt.image import pull as pull_
from minirt.image.registry.refusal import Refusal
from minirt.image.registry.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.store import Engine
    from minirt.errors import MinirtError
    from minirt.image.progress import Progress
    from minirt.image.pull import Pulled
    from minirt.model.reference import Reference


def meant(text: str) -> Reference:
    """A name as Docker reads it, or as registries.conf has it where it is a short one with an alias."""
    return Settings().reference(text)


def named(text: str) -> Reference:
    """What `pull` may be asked for. InvalidValue for a malformed name, NotFound for one that no registry has."""
    name = meant(text)
    if name.domain == "localhost":
        raise NoSuchImage(
            f"no such image: {text}", "localhost without a port is no registry: write localhost:5000/… for one"
        )
    return name


def pull(engine: Engine, name: Reference, platform: str | None, progress: Progress) -> Pulled:
    """Raises NotFound, RegistryError, ImageError, StoreError; nothing has changed then."""
    engine.roots.prepare()
    name = name.tagged()
    try:
        pulled = pull_.pull(engine.roots.root, name, Settings(warn=progress.warn), platform, progress)
    except (NotFound, RegistryError) as error:
        raise _told(name, error) from error
    events.of_image(engine, "pull", name.short(), name.familiar)
    return pulled


def tags(name: Reference, progress: Progress) -> list[str]:
    """For --all-tags. A name with a tag of its own is refused."""
    if name.tag is not None or name.digest is not None:
        raise InvalidValue("tag can't be used with --all-tags/-a", "leave out the tag, or --all-tags")
    try:
        return sorted(pull_.tags(name, Settings(warn=progress.warn)))
    except (NotFound, RegistryError) as error:
        raise _told(name, error) from error


def _told(name: Reference, error: MinirtError) -> MinirtError:
    """Docker's words for a refusal; everything else as it is."""
    denied = isinstance(error, Refusal) and error.status in (401, 403)
    if denied or (isinstance(error, NotFound) and "NAME_UNKNOWN" in error.message):
        kind = type(error) if not isinstance(error, Refusal) else RegistryError
        return kind(
            f"pull access denied for {name.familiar}, repository does not exist or may require 'minirt login': "
            f"{error.message}",
            error.remedy or "check the name; minirt login for what is private",
        )
    if isinstance(error, NotFound) and "is not in the registry" in error.message:
        return NotFound(f"manifest for {name.short()} not found: manifest unknown", "check the name and the tag")
    return error
