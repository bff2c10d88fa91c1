# SPDX-License-Identifier: Apache-2.0
"""An image of the store with its documents: for those who write it out again or build upon it.

`find` gives what `run` needs; this reads the layout's own documents, verified by their digests. Must not be
imported by the everyday verbs.
"""

from __future__ import annotations

import contextlib

from minirt.errors import ImageError, InvalidValue, NotFound
from minirt.image import config, find, manifest, records
from minirt.image.layout import Layout
from minirt.model.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Stored:
    """`descriptor` of the manifest, `image` what it says, `config` the whole configuration document, `diff_ids` its
    layers, `names` under which the caller wants it, in full."""

    __slots__ = ("descriptor", "image", "config", "diff_ids", "names")

    def __init__(self, descriptor: manifest.Descriptor, image: manifest.Manifest, whole: dict[str, Any]) -> None:
        self.descriptor = descriptor
        self.image = image
        self.config = whole
        self.diff_ids = config.check(whole)
        self.names: list[str] = []


def by_identity(layout: Layout, identity: str) -> Stored:
    """The image of that id, "sha256:…". NotFound where its documents are not here (any more)."""
    likely = [listed.digest for listed in find.images(layout.root) if listed.id == identity]
    for descriptor in sorted(layout.descriptors(), key=lambda one: one.digest not in likely):
        with contextlib.suppress(ImageError, OSError):
            stored = _read(layout, descriptor)
            if stored.image.config.digest == identity:
                return stored
    raise NotFound(f"no such image: {identity}", "minirt images lists those that are here; load or pull it again")


def by_names(layout: Layout, texts: list[str]) -> list[Stored]:
    """What a user calls `texts`: each image once, with the names under which it was asked for. As in Docker a
    repository without a tag means all its tags, and an id no name at all."""
    found: dict[str, Stored] = {}
    for text in texts:
        for identity, name in _meant(layout, text):
            if identity not in found:
                found[identity] = by_identity(layout, identity)
            if name and name not in found[identity].names:
                found[identity].names.append(name)
    return list(found.values())


def _meant(layout: Layout, text: str) -> list[tuple[str, str]]:
    """(id, name) of each image that `text` means; the name is "" where it was asked for by id or digest."""
    try:
        wanted = parse(text)
    except InvalidValue:
        wanted = None
    if wanted is not None and wanted.tag is None and wanted.digest is None:
        named = [(one.id, one.name) for one in find.images(layout.root) if one.name]
        tags = [(identity, name) for identity, name in named if parse(name).name == wanted.name]
        if tags:
            return tags
    image = find.find(layout.root, text)
    asked = wanted is not None and wanted.digest is None and str(wanted.tagged()) == image.name
    return [(image.id, image.name if asked else "")]


def _read(layout: Layout, descriptor: manifest.Descriptor) -> Stored:
    whole = layout.document(descriptor, f"manifest {descriptor.digest[:19]}")
    if manifest.is_index(whole, descriptor.media_type, "manifest"):
        descriptor = records.chosen(whole, "index")
        whole = layout.document(descriptor, f"manifest {descriptor.digest[:19]}")
    image = manifest.read(whole, "manifest")
    return Stored(descriptor, image, layout.document(image.config, "image config"))
