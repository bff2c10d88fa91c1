# SPDX-License-Identifier: Apache-2.0
"""`load`: the images of an OCI archive or directory (image-layout.md), or of a docker archive, into the store.

All of them or none: everything is staged and verified first, and nothing that failed leaves a trace. The names
come with the archive and are checked by the grammar of references.
"""

from __future__ import annotations

import os

from minirt.errors import ImageError
from minirt.image import archive, config, document, manifest
from minirt.image.commit import Ready, commit
from minirt.image.expand import Limits
from minirt.image.layout import Layout
from minirt.image.staging import Layer, Staging
from minirt.image.stream import verified
from minirt.model import platform as platforms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.image.archive import Source

NESTED_LIMIT = 3


class Loaded:
    """One image that came in: its id, "sha256:…", and its names in full ("docker.io/library/x:latest")."""

    __slots__ = ("id", "names")

    def __init__(self, identity: str, names: list[str]) -> None:
        self.id = identity
        self.names = names


class Choice:
    """Which images are wanted: those for `platform` ("os/architecture[/variant]"), or for this machine. Where
    nothing was said and nothing is to choose from, an image for another machine comes in too, as by `pull`."""

    __slots__ = ("platform", "_said")

    def __init__(self, platform: str = "") -> None:
        machine = os.uname().machine
        self.platform = platforms.parse(platform or "linux", machine)
        self._said = bool(platform)

    def best(self, listed: list[manifest.Descriptor]) -> manifest.Descriptor | None:
        """Of descriptors of one image; one that states no platform suits any."""
        place = platforms.best(self.platform, [descriptor.document.get("platform") for descriptor in listed])
        return None if place is None else listed[place]

    def sole(self, listed: list[manifest.Descriptor], named: bool) -> manifest.Descriptor | None:
        """The one of an image that exists for another machine only: `save` writes such archives."""
        return listed[0] if named and len(listed) == 1 and not self._said else None

    def check(self, whole: dict[str, Any]) -> None:
        """What a configuration says counts only against a wish: an image for another machine can be looked at."""
        if self._said and platforms.best(self.platform, [whole]) is None:
            stated = "/".join(str(whole.get(name))[:40] for name in ("os", "architecture"))
            raise ImageError(
                f"the image is for {stated!a} and does not provide the specified platform ({self.platform})"
            )


def load(root: str, path: str, limits: Limits | None = None, platform: str = "") -> list[Loaded]:
    """Loads every image at `path` that suits this machine, or `platform`; "-" is standard input."""
    choice = Choice(platform)
    layout = Layout(root)
    layout.create()
    with Staging(layout, limits) as staging, archive.opened(path, staging.path, staging.limits) as source:
        if "index.json" in source and "oci-layout" in source:  # Docker's own archive may be both: digests stay
            images = stage(staging, source, choice)
        elif "manifest.json" in source:
            from minirt.image import docker_archive

            images = docker_archive.stage(staging, source, choice)
        else:
            raise ImageError(
                f"{path!r} holds no image: neither index.json nor manifest.json",
                "load reads an OCI archive, an OCI directory or a docker archive",
            )
        commit(staging, images)
    return [Loaded(f"sha256:{ready.image.config.hex}", ready.names) for ready in images]


def stage(staging: Staging, source: Source, choice: Choice) -> list[Ready]:
    """Stages the images of an OCI layout."""
    version = document.parse(source.read("oci-layout"), "oci-layout").get("imageLayoutVersion")
    if version != "1.0.0":
        raise ImageError(f"the image layout is of version {ascii(version)[:40]}, not 1.0.0")
    index = document.parse(source.read("index.json"), "index.json")
    listed = manifest.descriptors(index, "manifests", "index.json")
    found: dict[str, Ready] = {}
    for names, several in _by_name(listed):
        descriptor = choice.best(several) or choice.sole(several, bool(names) or len(listed) == 1)
        if descriptor is None:
            continue
        ready = _stage_image(staging, source, descriptor, choice, NESTED_LIMIT)
        known = found.setdefault(ready.descriptor.hex, ready)
        known.names += [name for name in names if name not in known.names]
    if not found:
        raise ImageError(f"there is no image for {choice.platform} among the {len(listed)} in index.json")
    return list(found.values())


def _by_name(listed: list[manifest.Descriptor]) -> list[tuple[list[str], list[manifest.Descriptor]]]:
    """Descriptors that share a name are one image for several platforms; those without one stand alone."""
    found: dict[str, tuple[list[str], list[manifest.Descriptor]]] = {}
    for place, descriptor in enumerate(listed):
        names = manifest.names_of(descriptor)
        found.setdefault(names[0] if names else f"/{place}", (names, []))[1].append(descriptor)
    return list(found.values())


def _stage_image(
    staging: Staging, source: Source, descriptor: manifest.Descriptor, choice: Choice, depth: int
) -> Ready:
    what = f"manifest {descriptor.digest[:19]}"
    found = _document(staging, source, descriptor, what)
    if manifest.is_index(found, descriptor.media_type, what):
        if not depth:
            raise ImageError(f"hostile image: indexes are nested deeper than {NESTED_LIMIT}")
        inner = choice.best(manifest.descriptors(found, "manifests", what))
        if inner is None:
            raise ImageError(f"{what} has no image for {choice.platform}")
        return _stage_image(staging, source, inner, choice, depth - 1)
    image = manifest.read(found, what)
    whole = _document(staging, source, image.config, "image config")
    choice.check(whole)
    diff_ids = config.layers(whole, len(image.layers))
    staging.add_local([_layer(source, blob, diff_id) for blob, diff_id in zip(image.layers, diff_ids, strict=True)])
    media_type = descriptor.media_type or manifest.OCI_MANIFEST
    plain = {"mediaType": media_type, "digest": descriptor.digest, "size": descriptor.size}
    return Ready(manifest.Descriptor(plain, what), image, [], diff_ids)


def _document(staging: Staging, source: Source, descriptor: manifest.Descriptor, what: str) -> dict[str, Any]:
    """A document, verified against its descriptor and staged."""
    if descriptor.size > document.SIZE_LIMIT:
        raise ImageError(f"{what} is larger than the limit of {document.SIZE_LIMIT} bytes")
    chunks = source.chunks(_blob_name(descriptor))
    data = b"".join(verified(chunks, descriptor.hex, descriptor.size, what))
    found = document.parse(data, what)
    staging.add_document(data)
    return found


def _layer(source: Source, blob: manifest.Descriptor, diff_id: str) -> Layer:
    return Layer(blob, diff_id, lambda offset: source.chunks(_blob_name(blob)))


def _blob_name(descriptor: manifest.Descriptor) -> str:
    return f"blobs/sha256/{descriptor.hex}"
