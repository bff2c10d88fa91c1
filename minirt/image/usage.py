# SPDX-License-Identifier: Apache-2.0
"""What images take on the disk: their blobs, as they came, and their layers, unpacked; shared ones once.

A layer counts as its tar stream uncompressed, which is what `images` shows too. Nothing here writes.
"""

from __future__ import annotations

import os

from minirt.image import garbage, records, references
from minirt.model.reference import is_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.image.layout import Layout
    from minirt.image.references import Owner


class Usage:
    """One image: `parts` are {("blob" | "layer", hex): bytes}, as far as they are there."""

    __slots__ = ("owner", "parts", "shared")

    def __init__(self, owner: Owner, parts: dict[tuple[str, str], int]) -> None:
        self.owner = owner
        self.parts = parts
        self.shared = 0

    @property
    def size(self) -> int:
        return sum(self.parts.values())


def images(layout: Layout) -> list[Usage]:
    """Every image, with how much of it others have too. Nothing where there is no store yet."""
    if not os.path.exists(layout.index_path):
        return []
    found = []
    for owner in references.owners(layout, layout.descriptors()):
        needed = garbage.reachable(layout, owner.descriptors)
        parts = {("blob", one): _blob(layout, one) for one in needed.blobs}
        parts.update({("layer", one): _layer(layout, one) for one in needed.layers})
        found.append(Usage(owner, {part: size for part, size in parts.items() if size >= 0}))
    counted: dict[tuple[str, str], int] = {}
    for usage in found:
        for part in usage.parts:
            counted[part] = counted.get(part, 0) + 1
    for usage in found:
        usage.shared = sum(size for part, size in usage.parts.items() if counted[part] > 1)
    return found


def everything(layout: Layout) -> dict[tuple[str, str], int]:
    """All that lies in the store, whether or not anything needs it."""
    if not os.path.exists(layout.index_path):
        return {}
    blobs = [name for name in os.listdir(os.path.dirname(layout.blob_path("x"))) if is_id(name)]
    layers = [name for name in os.listdir(layout.layers) if is_id(name)]
    found = {("blob", name): max(_blob(layout, name), 0) for name in blobs}
    found.update({("layer", name): max(_layer(layout, name), 0) for name in layers})
    return found


def _blob(layout: Layout, digest_hex: str) -> int:
    """-1 where it is missing."""
    try:
        return os.lstat(layout.blob_path(digest_hex)).st_size
    except OSError:
        return -1


def _layer(layout: Layout, diff_id: str) -> int:
    record = records.layer_record(layout, diff_id)
    return record.size if record is not None else -1
