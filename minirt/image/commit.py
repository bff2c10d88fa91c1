# SPDX-License-Identifier: Apache-2.0
"""The moment at which staged images become real: one lock, renames, then index.json (rename(2), syncfs(2)).

Everything staged is on disk before the first rename, and the index is written last: after a power cut an image is
there with all it needs, or it is not there. A layer or blob that somebody else brought meanwhile is the same one.
"""

from __future__ import annotations

import errno
import os

from minirt.errors import StoreError
from minirt.image import manifest, names, records
from minirt.image.inherit import inherit
from minirt.image.layout import sync_directory
from minirt.image.staging import Staging
from minirt.kernel import call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Ready:
    """An image whose blobs and layers are staged or stored: its manifest and the names that it gets."""

    __slots__ = ("descriptor", "image", "names", "diff_ids")

    def __init__(
        self, descriptor: manifest.Descriptor, image: manifest.Manifest, names: list[str], diff_ids: list[str]
    ) -> None:
        self.descriptor = descriptor
        self.image = image
        self.names = names
        self.diff_ids = diff_ids


def commit(staging: Staging, images: list[Ready]) -> None:
    """Moves what is staged into the store and enters the images into the index, each under its names."""
    layout = staging.layout
    try:
        for ready in images:
            inherit(staging, ready.diff_ids)
        for diff_id in staging.changed:
            staging.write_record(diff_id)
        _sync(staging)
        with layout.locked():
            _check_complete(staging, images)
            for digest in sorted(staging.blobs):
                os.rename(staging.blob_path(digest), layout.blob_path(digest))
            for diff_id in sorted(staging.changed):
                _move_layer(staging, diff_id)
                os.rename(staging.record_path(diff_id), records.layer_path(layout, diff_id))
            for path in (os.path.dirname(layout.blob_path("x")), layout.layers, layout.records):
                sync_directory(path)
            layout.write_descriptors(_entered(layout.descriptors(), images))
            records.refresh(layout)
    except OSError as error:
        raise StoreError(
            f"write to the store {layout.root!r}: {os.strerror(error.errno or errno.EIO)}",
            "see df and df -i of the store",
        ) from error


def _sync(staging: Staging) -> None:
    """All of the file system rather than ten thousand files, one by one."""
    fd = os.open(staging.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        call.syncfs(fd)
    finally:
        os.close(fd)


def _check_complete(staging: Staging, images: list[Ready]) -> None:
    """What was not staged because the store had it must still be there: something may have been removed since."""
    for ready in images:
        needed = [ready.descriptor, ready.image.config, *ready.image.layers]
        there = all(
            blob.hex in staging.blobs or staging.layout.has_blob(blob.hex, blob.size) for blob in needed
        ) and all(os.path.isdir(staging.layer_path(diff_id)) for diff_id in ready.diff_ids)
        if not there:
            raise StoreError("something else removed a layer from the store meanwhile", "try again")


def _move_layer(staging: Staging, diff_id: str) -> None:
    source, target = staging.layer_path(diff_id), staging.layout.layer_path(diff_id)
    if source == target:
        return
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise


def _entered(there: list[manifest.Descriptor], images: list[Ready]) -> list[dict[str, Any]]:
    """The index with the new images in it. A name that another image had is taken from it; the image stays."""
    taken = {name for ready in images for name in ready.names}
    entries: list[tuple[manifest.Descriptor, str]] = []
    for old in there:
        entries.append((old, "" if names.canonical(old.ref_name) in taken else old.ref_name))
    for ready in images:
        entries += [(ready.descriptor, name) for name in ready.names or [""]]
    named = {descriptor.hex for descriptor, name in entries if name}
    documents: dict[tuple[str, str], dict[str, Any]] = {}
    for descriptor, name in entries:
        if name or descriptor.hex not in named:
            documents[descriptor.hex, name] = names.renamed(descriptor.document, name)
    return list(documents.values())
